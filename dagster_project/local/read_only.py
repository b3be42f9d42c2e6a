"""Instances in folders that cannot be written: a read-only mount, or a checkout of another user.

SQLite cannot open a database in WAL mode there, so that a reading command works on a copy of the few files that it
reads. A command that records something is refused before it does any work.
"""

from __future__ import annotations

import os
import shlex
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import yaml

from dagster_project.local.home import InstanceError

DATABASES = ("history/runs/index.db", "history/runs.db", "schedules/schedules.db")
"""The SQLite files of an instance that commands read; a run has another one, which only its own log needs."""

_OTHER_STORAGE = ("storage", "run_storage", "event_log_storage", "schedule_storage")


def is_read_only(home: Path) -> bool:
    """Whether an instance keeps its history in ``home`` and cannot write there."""
    present = next(path for path in (home, *home.parents) if path.exists())
    folders = [present, *(folder for folder in _folders(home) if folder.is_dir())]
    return not all(os.access(folder, os.W_OK) for folder in folders) and not _has_other_storage(home)


def refuse_read_only(home: Path, root: Path) -> NoReturn:
    """Raise for a command that has to record something."""
    copy = f"~/{shlex.quote(root.name)}"
    raise InstanceError(
        f"the instance {home} is read-only, so that nothing can be recorded in it",
        needed="a folder that this user may write to, on a file system that is not mounted read-only",
        fix=f"cp -a {shlex.quote(str(root))} {copy} && cd {copy}   # continues in a copy; plan and audit work here",
    )


@contextmanager
def copy_of_instance(home: Path) -> Iterator[Path]:
    """A temporary copy of the configuration and history of an instance."""
    with tempfile.TemporaryDirectory(prefix="robot-assets-instance-") as folder:
        copy = Path(folder)
        for name in ("dagster.yaml", *DATABASES):
            for suffix in ("", "-wal"):
                _copy(home / f"{name}{suffix}", copy / f"{name}{suffix}")
        yield copy


def _copy(source: Path, destination: Path) -> None:
    if source.is_file():
        destination.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, destination)


def _folders(home: Path) -> list[Path]:
    return [(home / name).parent for name in DATABASES]


def _has_other_storage(home: Path) -> bool:
    """Whether the configuration keeps the history elsewhere, such as in PostgreSQL. False when it cannot be read."""
    try:
        settings = yaml.safe_load((home / "dagster.yaml").read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return False
    return isinstance(settings, dict) and any(name in settings for name in _OTHER_STORAGE)
