"""A CSV file that assigns images to recording sessions: columns ``path`` and ``session``, with or without a header."""

from __future__ import annotations

import csv
import io
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path

from robot_assets.core.errors import DataError
from robot_assets.core.label_issues import printable

_PATH_TITLES = ("path", "file", "file_name", "filename", "image", "name")
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")
"""Byte order marks: a spreadsheet writes "Unicode text" so."""
_SAVE = "save it as UTF-8 (Excel: CSV UTF-8), or convert it: iconv -f CP949 -t UTF-8"
_EXAMPLE = "rows such as day1/000.jpg,morning"


def read_table(path: Path) -> dict[str, str]:
    """Path as written, with ``/`` -> session.

    Raises:
        DataError: No such file, not a CSV file in UTF-8, or a contradictory row.
    """
    rows = _rows(path)
    at_path, at_session = 0, 1
    if rows and (columns := _header(rows[0][1])):
        at_path, at_session = columns
        del rows[0]
    table: dict[str, str] = {}
    for line, row in rows:
        if len(row) <= max(at_path, at_session) or not row[at_path].strip() or not row[at_session].strip():
            raise _bad(path, line, f"{printable(','.join(row))!r} is not a path and a session")
        name, session = normalized(row[at_path]), row[at_session].strip()
        if table.setdefault(name, session) != session:
            raise _bad(path, line, f"{printable(name)} is in session {session!r}, and in {table[name]!r} above")
    if not table:
        raise DataError(f"{path} has no row", needed=_EXAMPLE, fix=f"write the sessions of the images to {path}")
    return table


def sessions_of(files: Mapping[str, Path], table: Mapping[str, str], source: str) -> tuple[dict[str, str], list[str]]:
    """Session of each image that the table names, and the rows that name no image.

    A row may have the path below the source, a longer one, or the file name alone where only one image has it.

    Args:
        files: Path of each image below images/ of the raw data -> its path on the disk.
        table: As :func:`read_table` returns it.
        source: Name of the table, for errors.

    Raises:
        DataError: A row fits several images.
    """
    names = {normalized(name): name for name in files}
    tails = _by_tail(files)
    sessions: dict[str, str] = {}
    unknown: list[str] = []
    for row, session in table.items():
        fitting = [names[row]] if row in names else tails.get(row, [])
        if len(fitting) > 1:
            raise DataError(
                f"{source}: {printable(row)} fits {len(fitting)} images: {', '.join(map(printable, fitting[:3]))}",
                needed="rows that name one image each",
                fix=f"write the path of the image into {source}, not its file name alone",
            )
        if not fitting:
            unknown.append(row)
        elif sessions.setdefault(fitting[0], session) != session:
            raise DataError(
                f"{source}: {printable(fitting[0])} is in the sessions {sessions[fitting[0]]!r} and {session!r}",
                needed="one session for each image",
                fix=f"remove one of the two rows from {source}",
            )
    return sessions, unknown


def normalized(name: str) -> str:
    """A path as tables write it: ``/`` between folders, no ``./`` in front, composed Unicode."""
    return unicodedata.normalize("NFC", name.strip().replace("\\", "/").removeprefix("./"))


def _by_tail(files: Mapping[str, Path]) -> dict[str, list[str]]:
    """The last parts of each path, and whole absolute paths -> images."""
    tails: dict[str, list[str]] = {}
    for name, path in files.items():
        whole = normalized(path.absolute().as_posix())
        parts = whole.split("/")
        for start in range(len(parts)):
            tails.setdefault("/".join(parts[start:]), []).append(name)
    return tails


def _rows(path: Path) -> list[tuple[int, list[str]]]:
    """The rows that are not empty, with their line numbers."""
    try:
        encoded = path.read_bytes()
        text = encoded.decode("utf-16" if encoded.startswith(_UTF_16) else "utf-8-sig")
    except OSError as error:
        raise DataError(
            f"{path} cannot be read: {(error.strerror or str(error)).lower()}",
            needed=f"a CSV file with the columns path and session: {_EXAMPLE}",
            fix="correct the path in --sessions file:CSV",
        ) from None
    except UnicodeDecodeError:
        raise DataError(f"{path} is not UTF-8 text", needed="a CSV file in UTF-8", fix=_SAVE) from None
    delimiter = max(",;\t", key=text.partition("\n")[0].count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        return [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise _bad(path, reader.line_num, str(error)) from None


def _header(row: Sequence[str]) -> tuple[int, int] | None:
    """Columns of the path and of the session; None when the row is no header."""
    titles = [title.strip().lower() for title in row]
    paths = [titles.index(title) for title in _PATH_TITLES if title in titles]
    return (paths[0], titles.index("session")) if paths and "session" in titles else None


def _bad(path: Path, line: int, found: str) -> DataError:
    return DataError(f"{path}:{line}: {found}", needed=_EXAMPLE, fix=f"correct line {line} of {path}")
