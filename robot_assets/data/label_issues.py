"""Issues with images and labels of a source."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from robot_assets.core.errors import DataError

LISTED = 20
"""Maximum number of issues in an error message; the others are counted."""


@dataclass(frozen=True, order=True)
class LabelIssue:
    """One bad item of a source.

    Attributes:
        place: The file, with the line or field if there is one.
        found: The fault.
        fix: How to correct it.
    """

    place: str
    found: str
    fix: str

    def __str__(self) -> str:
        return f"{self.place}: {self.found}; {self.fix}"


class BadItem(Exception):
    """Raised by the reader of one item; the loop over the items collects ``issue``."""

    def __init__(self, place: str, found: str, fix: str) -> None:
        super().__init__(place, found, fix)
        self.issue = LabelIssue(place, found, fix)


def first_issues(issues: Sequence[LabelIssue]) -> str:
    """The first issues, one per line, and the number of others."""
    lines = [f"\n    {issue}" for issue in sorted(issues)[:LISTED]]
    more = len(issues) - LISTED
    return "".join(lines) + (f"\n    and {more} more" if more > 0 else "")


def printable(name: str) -> str:
    """Return a file name with bytes that are not UTF-8 escaped."""
    escaped = "".join(f"\\x{ord(c) - 0xDC00:02x}" if 0xDC80 <= ord(c) <= 0xDCFF else c for c in name)
    return escaped.encode("utf-8", "backslashreplace").decode("utf-8")


@contextmanager
def explaining_disk_errors(out: Path) -> Iterator[None]:
    """Turn an ``OSError`` in the block that writes ``out`` into a ``DataError`` with a fix.

    Raises:
        DataError: The disk is full, or a file cannot be read or written.
    """
    try:
        yield
    except OSError as error:
        where = f" at {error.filename}" if error.filename else ""
        raise DataError(
            f"writing {out} failed: {error.strerror or error}{where}",
            needed="free disk space, and permission to read the source and to write the result",
            fix=f"free some space or correct the permissions of {out.parent}, then run the same command again; "
            "no partial result was left",
        ) from error
