"""The commands of ``robot-assets`` that need Dagster, one a module; entry points in pyproject.toml add them.

The modules import Dagster inside the functions: ``robot-assets --help`` imports each of them.
"""
