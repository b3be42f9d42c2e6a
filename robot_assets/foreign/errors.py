"""The errors about a graph that was made elsewhere: every problem at once, each with its node, tensor or file."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from robot_assets.core.errors import ExportError
from robot_assets.core.text import escaped, plural

_SHOWN = 12


def added(origin: str) -> str:
    """The command that adds the file called ``origin`` once it was exported again."""
    return f"dvc add {shlex.quote(origin)}"


def without_these(origin: str) -> str:
    """The fix for nodes and tensors that an export script has to avoid."""
    return f"change the export script so that the graph has none of these; export it again, then: {added(origin)}"


def refused(origin: str, problems: Sequence[str], *, needed: str, fix: str) -> ExportError:
    """The error for some problems of the graph called ``origin``."""
    more = [f"and {len(problems) - _SHOWN} more"] if len(problems) > _SHOWN else []
    if len(problems) == 1:
        found = f"{origin}: {problems[0]}"
    else:
        found = f"{origin} has {plural(len(problems), 'problem')}:\n    " + "\n    ".join([*problems[:_SHOWN], *more])
    return ExportError(escaped(found), needed=needed, fix=escaped(fix), details={"problems": list(problems)})
