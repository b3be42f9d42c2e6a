"""Damaged instances: which file is damaged, what is lost without it, and the command that moves it away.

The header of each SQLite file is read before Dagster opens it. Damage further inside makes a query fail; then the files
are checked one by one, so that the error names the right one.
"""

from __future__ import annotations

import contextlib
import errno
import shlex
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from dagster_project.local.home import InstanceError
from dagster_project.local.read_only import DATABASES
from robot_assets.core.errors import RobotAssetsError
from robot_assets.core.os_errors import mount_of, sqlite_error

_MAGIC = b"SQLite format 3\x00"
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NO_SPACE = ("is full", "disk I/O error")
_DAMAGE = ("malformed", "not a database", "is encrypted", "no such table", "no such column", "unsupported file")

_LOSSES = {
    "history/runs/index.db": "the history of all assets is lost: each counts as never built; the store keeps its bytes",
    "history/runs.db": "the list of runs is lost; the history of the assets stays",
    "schedules/schedules.db": "the ticks of the sensors are lost; the history of the assets stays",
}


def require_readable_files(home: Path) -> None:
    """Refuse a configuration that is not a YAML mapping, and databases that are none.

    Raises:
        InstanceError: A file is damaged.
    """
    _require_configuration(home / "dagster.yaml")
    for name in DATABASES:
        path = home / name
        head = _head(path) if path.exists() else b""
        if head and head != _MAGIC:
            raise _damaged(home, name, "it is not an SQLite database")
        if not head and path.exists() and _has_run_logs(home):
            raise _damaged(home, name, "it is empty, and there are logs of runs beside it")


def _head(path: Path) -> bytes:
    with explaining_damage(path.parent, opening=True), path.open("rb") as file:
        return file.read(len(_MAGIC))


def _has_run_logs(home: Path) -> bool:
    """Whether runs were recorded; a database that another process is creating right now is empty, too."""
    return any(path.name != "index.db" for path in (home / "history" / "runs").glob("*.db"))


@contextmanager
def explaining_damage(home: Path, *, opening: bool = False) -> Iterator[None]:
    """Turn what Dagster, SQLAlchemy and the operating system raise about an instance into errors with a fix.

    Args:
        home: The folder of the instance.
        opening: Whether the block only opens it, so that every error in it is about the instance.

    Raises:
        InstanceError: What is wrong, and the fix.
    """
    try:
        yield
    except RobotAssetsError:
        raise
    except Exception as error:
        found = _explained(home, error, opening)
        if found is None:
            raise
        raise found from error


def _explained(home: Path, error: Exception, opening: bool) -> InstanceError | None:
    if (cause := _database_error(error)) is not None:
        return _of_database(home, cause)
    if not opening:
        return None
    if isinstance(error, OSError):
        return _of_system(home, error)
    return _of_configuration(home / "dagster.yaml", error)


def _database_error(error: BaseException) -> BaseException | None:
    """The error of the database driver among an error and its causes."""
    from sqlalchemy.exc import DBAPIError

    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, DBAPIError):
            return seen.orig or seen
        if isinstance(seen, sqlite3.Error):
            return seen
        seen = seen.__cause__ or seen.__context__
    return None


def _of_database(home: Path, error: BaseException) -> InstanceError:
    if not isinstance(error, sqlite3.Error):
        return InstanceError(
            f"the database of the instance {home} does not answer: {_one_line(error)}",
            needed=f"the database that {home / 'dagster.yaml'} names",
            fix="start the database, or correct `storage` in that file, then run the same command again",
        )
    if any(words in str(error) for words in _DAMAGE):
        damaged = next((name for name in DATABASES if not _is_sound(home / name)), None)
        return _damaged(home, damaged, _one_line(error)) if damaged else _damaged_somewhere(home, _one_line(error))
    found = None if any(words in str(error) for words in _NO_SPACE) else sqlite_error(error, home)
    return InstanceError(found.found, needed=found.needed, fix=found.fix) if found else _no_space(home, str(error))


def _is_sound(path: Path) -> bool:
    if not path.exists():
        return True
    try:
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            return connection.execute("PRAGMA quick_check(1)").fetchone() == ("ok",)
    except sqlite3.Error:
        return False


def _damaged(home: Path, name: str, reason: str) -> InstanceError:
    aside = shlex.quote(str(home / "damaged"))
    return InstanceError(
        f"{home / name} is damaged: {reason}",
        needed="the file as Dagster wrote it: restore it from a backup, or begin without it",
        fix=f"mkdir -p {aside} && mv {shlex.quote(str(home / name))}* {aside}   # {_LOSSES[name]}",
    )


def _damaged_somewhere(home: Path, reason: str) -> InstanceError:
    return InstanceError(
        f"the instance {home} is damaged: {reason}",
        needed="its files as Dagster wrote them: restore them from a backup, or begin with a new instance",
        fix=f"mv {shlex.quote(str(home))} {shlex.quote(f'{home}.damaged')}   # {_LOSSES['history/runs/index.db']}",
    )


def _of_system(home: Path, error: OSError) -> InstanceError:
    place = error.filename or str(home)
    if error.errno in _FULL:
        return _no_space(home, str(error.strerror))
    return InstanceError(
        f"{place} cannot be used: {error.strerror or _one_line(error)}",
        needed=f"a folder at {home} that this user may read and write, with the files of the instance",
        fix=f"ls -ld {shlex.quote(str(place))}   # shows what is there; move it away, or correct its owner and rights",
    )


def _no_space(home: Path, reason: str) -> InstanceError:
    disk = mount_of(home)
    return InstanceError(
        f"no space left on {disk}, the disk of the instance {home}: {reason}",
        needed="free space for the event log",
        fix=f"df -h {shlex.quote(disk)}   # free some space on that disk, then run the same command again",
    )


def _require_configuration(path: Path) -> None:
    with explaining_damage(path.parent, opening=True):
        settings = yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else None
    if settings is not None and not isinstance(settings, dict):
        raise _bad_configuration(path, "it is not a mapping")


def _of_configuration(path: Path, error: Exception) -> InstanceError:
    if isinstance(error, UnicodeDecodeError):
        return _bad_configuration(path, "it is not UTF-8 text")
    mark = getattr(error, "problem_mark", None)
    if isinstance(error, yaml.YAMLError):
        line = f" in line {mark.line + 1}" if mark else ""
        return _bad_configuration(path, f"it is not YAML{line}")
    return _bad_configuration(path, _mistake(error))


def _mistake(error: Exception) -> str:
    """The first mistake that Dagster has found in a configuration."""
    first = next(iter(getattr(error, "errors", None) or ()), None)
    if first is None:
        return _one_line(error)
    data = first.error_data
    keys = [*getattr(data, "field_names", ()), *filter(None, [getattr(data, "field_name", None)])]
    levels = [getattr(level, "field_name", None) for level in first.stack.entries]
    place = ".".join(filter(None, levels)) or "the document"
    if not keys:
        return f"{place} has no valid value"
    return f"{place} {'lacks' if 'Missing' in type(data).__name__ else 'has the unknown key'} {', '.join(keys)}"


def _bad_configuration(path: Path, reason: str) -> InstanceError:
    file = shlex.quote(str(path))
    return InstanceError(
        f"{path} cannot be used: {reason}",
        needed="the configuration of a Dagster instance: https://docs.dagster.io/deployment/oss/dagster-yaml",
        fix=f"mv {file} {file}.damaged   # the next command writes the default; the history stays",
    )


def _one_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
