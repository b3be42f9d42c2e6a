"""What is wrong with one item of a source, and when it is too much to go on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from robot_assets.core.errors import DataError

LISTED = 20
"""So many findings are spelled out in an error; the rest is a count."""


@dataclass(frozen=True, order=True)
class Finding:
    """One bad item.

    Attributes:
        place: The file, with the line or the field where there is one.
        found: What is wrong there.
        fix: What a person does about it.
    """

    place: str
    found: str
    fix: str

    def __str__(self) -> str:
        return f"{self.place}: {self.found}; {self.fix}"


class BadItem(Exception):
    """Raised while one item is read, and turned into its :class:`Finding` by the loop over the items."""

    def __init__(self, place: str, found: str, fix: str) -> None:
        super().__init__(place, found, fix)
        self.finding = Finding(place, found, fix)


def listing(findings: Sequence[Finding]) -> str:
    """The first findings, one a line, and how many more there are."""
    lines = [f"\n    {finding}" for finding in sorted(findings)[:LISTED]]
    more = len(findings) - LISTED
    return "".join(lines) + (f"\n    and {more} more" if more > 0 else "")


def plural(count: int, noun: str) -> str:
    """``3 images``, ``1 image``."""
    return f"{count} {noun}" + ("" if count == 1 else "s")


def shown(name: str) -> str:
    """A file name that can be printed: bytes that are not UTF-8 appear as escapes."""
    escaped = "".join(f"\\x{ord(c) - 0xDC00:02x}" if 0xDC80 <= ord(c) <= 0xDCFF else c for c in name)
    return escaped.encode("utf-8", "backslashreplace").decode("utf-8")


@contextmanager
def disk_trouble_named(out: Path) -> Iterator[None]:
    """Turn what the disk refuses while ``out`` is made into an error that says so.

    Raises:
        DataError: The disk is full, a file cannot be read or written, ...
    """
    try:
        yield
    except OSError as error:
        where = f" at {error.filename}" if error.filename else ""
        raise DataError(
            f"{out} was not made: {error.strerror or error}{where}",
            needed="room on the disk, and the right to read the source and to write the result",
            fix=f"free some space or mend the permissions of {out.parent}, then run the same command again; "
            "nothing half-written was left",
        ) from error
