"""The rules of ``data import --sessions``: how images are grouped into recording sessions."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from robot_assets.core.errors import DataError
from robot_assets.core.paths import expanded
from robot_assets.data.importing.sessions.table import read_table

FORMS = ("folder", "name:REGEX", "exif-time:GAP", "file:CSV", "one-per-image")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}

_EXAMPLES = {
    "folder": "folder",
    "name": r"'name:^(.+)_\d+$'",
    "exif-time": "exif-time:5m",
    "file": "file:sessions.csv",
    "one-per-image": "one-per-image",
}


@dataclass(frozen=True)
class SessionRule:
    """How images are grouped into sessions.

    Attributes:
        kind: "folder", "name", "exif-time", "file" or "one-per-image".
        text: The rule as it was typed.
        pattern: For "name": its group ``session``, or its first group, is the session.
        gap_s: For "exif-time": a longer time without an image starts a session.
        table: For "file": path of the CSV file.
        rows: For "file": path -> session.
    """

    kind: str
    text: str
    pattern: re.Pattern[str] | None = None
    gap_s: float = 0.0
    table: Path | None = None
    rows: Mapping[str, str] = field(default_factory=dict)


FOLDER = SessionRule("folder", "folder")


def parse_rule(text: str) -> SessionRule:
    """Parse what ``--sessions`` takes.

    Raises:
        DataError: An unknown rule, an invalid regular expression or gap, or an unreadable CSV file.
    """
    kind, colon, value = text.partition(":")
    if text in ("folder", "one-per-image"):
        return SessionRule(text, text)
    if kind == "name" and value:
        return SessionRule(kind, text, pattern=_pattern(value))
    if kind == "exif-time" and value:
        return SessionRule(kind, text, gap_s=_gap(value))
    if kind == "file" and value:
        path = _path(value)
        return SessionRule(kind, text, table=path, rows=read_table(path))
    raise _unknown(text, kind, bool(colon))


def _pattern(text: str) -> re.Pattern[str]:
    try:
        pattern = re.compile(text)
    except (re.error, OverflowError, RecursionError) as error:
        raise DataError(
            f"--sessions: {text!r} is not a regular expression: {error}",
            needed=r"a regular expression of Python's re, such as name:^(.+)_\d+$",
            fix="correct the expression; quote it in the shell",
        ) from None
    if not pattern.groups:
        raise DataError(
            f"--sessions: {text!r} has no group",
            needed="parentheses around the part of the name that is the session",
            fix=f"use name:({text}) when the whole match is the session",
        )
    return pattern


def _path(text: str) -> Path:
    """The path of the table: a shell expands ``~`` and variables at the begin of a word only."""
    try:
        return Path(expanded(text))
    except ValueError as error:
        raise DataError(
            f"--sessions file: {error}",
            needed="the path of a CSV file",
            fix="use --sessions file:sessions.csv",
        ) from None


def _gap(text: str) -> float:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(ms|s|min|m|h|d)", text.strip())
    seconds = float(match[1]) * _SECONDS[match[2]] if match else 0.0
    if not 0 < seconds < 1e9:
        raise DataError(
            f"--sessions: the gap is {text!r}",
            needed="a number above 0 with its unit: 90s, 5m or 2h",
            fix="use --sessions exif-time:5m",
        )
    return seconds


def _unknown(text: str, kind: str, has_value: bool) -> DataError:
    """The error about a rule that is none, with the near miss."""
    forms = {form.partition(":")[0]: form for form in FORMS}
    near = difflib.get_close_matches(kind, forms, n=1, cutoff=0.5)
    if kind in forms:
        found = f"--sessions {text!r}: {kind} takes no value" if has_value and ":" not in forms[kind] else ""
        found = found or f"--sessions {text!r}: {forms[kind].partition(':')[2]} is missing"
    else:
        found = f"--sessions {text!r} is unknown" + (f"; did you mean {forms[near[0]]}?" if near else "")
    return DataError(
        found, needed=", ".join(FORMS), fix=f"use --sessions {_EXAMPLES.get((near or [kind])[0], 'folder')}"
    )
