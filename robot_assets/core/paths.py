"""Paths that people write: what a shell would have expanded is expanded, or refused by name."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
from pathlib import Path, PurePosixPath

from robot_assets.core.text import escaped

_VARIABLE = re.compile(r"\$(?:\{([^}]*)\}|(\w+)|(.?))")


def expanded(path: str) -> str:
    """``path`` with a leading ``~`` or ``~USER`` and every ``$VARIABLE`` replaced; also after ``file://``.

    Raises:
        ValueError: There is no such user, or the variable is not set; with its name.
    """
    scheme = "file://" if path.startswith("file://") else ""
    rest = _VARIABLE.sub(_value_of, path.removeprefix(scheme))
    if not rest.startswith("~"):
        return scheme + rest
    home = os.path.expanduser(rest)
    if home.startswith("~"):
        raise ValueError(f"{path!r}: no user {rest[1:].partition('/')[0]!r} on this machine; needed a path")
    return scheme + home


def has_shell_syntax(path: str) -> bool:
    """Whether a shell would expand ``path``."""
    return path.startswith(("~", "file://~")) or "$" in path


def pointer_inside(path: str) -> str:
    """``path`` where it is that of a ``.dvc`` pointer inside the project.

    Raises:
        ValueError: It is absolute, leads out of the project, has another suffix, or syntax of a shell.
    """
    parts = PurePosixPath(path)
    if parts.is_absolute() or ".." in parts.parts or parts.suffix != ".dvc" or has_shell_syntax(path):
        raise ValueError("needed a relative path inside the project that ends in .dvc")
    return path


def shown_path(path: Path) -> str:
    """``path`` for a command line: relative where it is below the working directory, quoted where a shell needs it."""
    with contextlib.suppress(ValueError, OSError):
        path = path.relative_to(Path.cwd())
    text = str(path)
    return shlex.quote(text) if text.isprintable() else f"$'{escaped(text).replace(chr(39), chr(92) + chr(39))}'"


def _value_of(match: re.Match[str]) -> str:
    name = match[1] if match[1] is not None else match[2]
    if not name or not re.fullmatch(r"[A-Za-z_]\w*", name):
        raise ValueError(f"{match.string!r}: {match[0]!r} is not a variable; needed $NAME or ${{NAME}}")
    value = os.environ.get(name)
    if not value:
        raise ValueError(f"{match.string!r}: the variable {name} is not set; set it, or write the path out")
    return value
