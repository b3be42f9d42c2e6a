"""The commands of ``robot-assets`` that need Dagster, one a module; entry points in pyproject.toml add them.

The modules import Dagster inside the functions: ``robot-assets --help`` imports each of them.
"""

from dagster_project.commands.errors import translated
from robot_assets.core.translation import add_translator

add_translator(translated)
