"""Code versions by what a stage can reach.

The unit is the definition: from the entry points of a stage, names are followed to functions, classes, constants and
the module-level statements that run when their modules are imported. docs/code_versions.md has the whole rule.

``syntax`` and ``scopes`` read a statement, ``outline`` reads a file, ``files`` finds files, ``resolver`` finds the
definition that a name means, ``reach`` follows names from definition to definition, ``versions`` makes the versions.
"""

from robot_assets.lineage.code.versions import CODE_RULE, Code, Entries, load, running_code

__all__ = ["CODE_RULE", "Code", "Entries", "load", "running_code"]
