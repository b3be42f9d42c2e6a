"""Issues with images and labels of a source."""

from __future__ import annotations

import errno
import re
import shlex
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from robot_assets.core.errors import DataError
from robot_assets.core.os_errors import mount_of
from robot_assets.core.text import listed

LISTED = 20
"""Maximum number of lines of issues in an error message; the others are counted."""
PLACES = 3
"""Maximum number of places in one of these lines."""
CAUSE, ITEM, CONSEQUENCE = 0, 1, 2
"""Ranks of issues: a cause comes before the items, and before what only follows from it."""
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_SURROGATE_BYTES = re.compile("[\udc80-\udcff]")


@dataclass(frozen=True, eq=True)
class LabelIssue:
    """One bad item of a source. Its texts are printable: what a terminal would obey or hide is escaped.

    Attributes:
        place: The file, with the line or field if there is one.
        found: The fault.
        fix: How to correct it.
        rank: ``CAUSE``, ``ITEM`` or ``CONSEQUENCE``; issues are ordered by it first.
    """

    place: str
    found: str
    fix: str
    rank: int = field(default=ITEM, compare=False)

    def __post_init__(self) -> None:
        for name in ("place", "found", "fix"):
            object.__setattr__(self, name, printable(getattr(self, name)))

    def __lt__(self, other: LabelIssue) -> bool:
        return (self.rank, self.place, self.found, self.fix) < (other.rank, other.place, other.found, other.fix)

    def __str__(self) -> str:
        return f"{self.place}: {self.found}; {self.fix}"

    def as_json(self) -> dict[str, str]:
        """For a list of issues in a file, or on standard output."""
        return {"place": self.place, "found": self.found, "fix": self.fix}


class BadItem(Exception):
    """Raised by the reader of one item; the loop over the items collects ``issue``."""

    def __init__(self, place: str, found: str, fix: str) -> None:
        super().__init__(place, found, fix)
        self.issue = LabelIssue(place, found, fix)


def grouped(issues: Iterable[LabelIssue]) -> list[tuple[str, str, str]]:
    """Issues with the same fault and fix as one: (first places and the number of others, found, fix).

    Causes come first, then the fault with the most places.
    """
    groups: defaultdict[tuple[int, str, str], list[str]] = defaultdict(list)
    for issue in sorted(issues):
        groups[issue.rank, issue.found, issue.fix].append(issue.place)
    ordered = sorted(groups.items(), key=lambda group: (group[0][0], -len(group[1]), group[1][0]))
    return [(listed(places, PLACES), found, fix) for (_, found, fix), places in ordered]


def first_issues(issues: Sequence[LabelIssue]) -> str:
    """The first groups of issues, one per line, and the number of issues in the others."""
    groups = grouped(issues)
    lines = [f"\n    {places}: {found}; {fix}" for places, found, fix in groups[:LISTED]]
    shown = {(found, fix) for _, found, fix in groups[:LISTED]}
    more = sum((issue.found, issue.fix) not in shown for issue in issues)
    return "".join(lines) + (f"\n    and {more} more" if more else "")


def printable(text: str) -> str:
    r"""Return outside text with everything escaped that a terminal would obey or hide.

    Bytes that are not UTF-8 become ``\xe9``; control characters, invisible ones and those that change the direction of
    writing become ``\x1b`` or ``\u202e``. Letters of any script are kept.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else _escaped(c) for c in text)


def _escaped(character: str) -> str:
    if _SURROGATE_BYTES.match(character):
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")


@contextmanager
def explaining_disk_errors(out: Path) -> Iterator[None]:
    """Turn an ``OSError`` in the block that reads a source and writes ``out`` into a ``DataError`` with a fix.

    Raises:
        DataError: The disk is full, a file cannot be read or written, or a file is where a folder should be.
    """
    _refuse_files(out)
    try:
        yield
    except OSError as error:
        raise _explained(error, out) from error


def _refuse_files(out: Path) -> None:
    """A file in place of ``out`` would be replaced; one above it is in the way."""
    file = next((path for path in (out, *out.parents) if path.exists() and not path.is_dir()), None)
    if file is not None:
        shown = shlex.quote(printable(str(file)))
        raise DataError(
            f"{printable(str(file))} is a file where a folder should be",
            needed=f"{printable(str(out))} as a folder, or not there yet",
            fix=f"mv {shown} {shown}.old   # then run the same command again",
        )


def _explained(error: OSError, out: Path) -> DataError:
    reason, folder = error.strerror or str(error), printable(str(out.parent))
    place = _path_of(error)
    where = f" at {printable(str(place))}" if place else ""
    if error.errno in _FULL:
        disk = printable(mount_of(out))
        return DataError(
            f"no space left on {disk}: writing {printable(str(out))} failed{where} ({reason})",
            needed="free space, quota and file size limit for the whole result",
            fix=f"df -h {shlex.quote(disk)}   # free some space, then run the same command again; "
            "no partial result was left",
        )
    if place is not None and out.parent.absolute() not in (place.absolute(), *place.absolute().parents):
        return DataError(
            f"reading {printable(str(place))} failed: {reason}",
            needed="permission to read the source, and an intact disk",
            fix=f"ls -ld {shlex.quote(printable(str(place)))}   # correct it, then run the same command again; "
            "no partial result was left",
        )
    return DataError(
        f"writing {printable(str(out))} failed: {reason}{where}",
        needed=f"permission to write into {folder}, and an intact disk",
        fix=f"ls -ld {shlex.quote(folder)}   # correct it, then run the same command again; no partial result was left",
    )


def _path_of(error: OSError) -> Path | None:
    return Path(error.filename) if isinstance(error.filename, str) else None
