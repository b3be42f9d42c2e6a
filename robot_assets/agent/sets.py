"""The releases on a robot: complete, verified folders, and the link to the one that serves."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from robot_assets.agent.state import CURRENT, DOWNLOADS, SETS, set_id
from robot_assets.core.errors import RobotAssetsError
from robot_assets.core.publishing import make_durable
from robot_assets.release.bundle import BUNDLE_FILE, Bundle, parse_bundle

_NEW_LINK = f".{CURRENT}.part"


class Sets:
    """The folders of releases.

    Args:
        state: The state folder.
    """

    def __init__(self, state: Path) -> None:
        self._state = state

    def folder(self, release: str) -> Path:
        """Where a complete release is."""
        return self._state / SETS / set_id(release)

    def download(self, release: str) -> Path:
        """Where a release is while it is downloaded."""
        return self._state / DOWNLOADS / set_id(release)

    def has(self, release: str) -> bool:
        """Whether the release is here, complete: a folder gets its name by one rename when it is."""
        return (self.folder(release) / BUNDLE_FILE).is_file()

    def bundle(self, release: str) -> Bundle:
        """``bundle.json`` of a release that is here.

        Raises:
            RobotAssetsError: It is damaged.
            OSError: It cannot be read.
        """
        return parse_bundle((self.folder(release) / BUNDLE_FILE).read_bytes())

    def ids(self) -> list[str]:
        """The releases that are here, by the names of their folders."""
        return _names(self._state / SETS)

    def add(self, release: str) -> None:
        """Give a downloaded release its name; its files are durable already.

        Raises:
            OSError: The disk refuses.
        """
        folder = self.folder(release)
        folder.parent.mkdir(parents=True, exist_ok=True)
        os.rename(self.download(release), folder)
        make_durable([folder.parent, folder.parent.parent])

    def demote(self, release: str) -> None:
        """Make a damaged release a download again: its intact files are kept, the others are read again.

        Raises:
            OSError: The disk refuses.
        """
        download = self.download(release)
        shutil.rmtree(download, ignore_errors=True)
        download.parent.mkdir(parents=True, exist_ok=True)
        os.rename(self.folder(release), download)
        make_durable([download.parent, self._state / SETS])

    def damage(self, release: str) -> str | None:
        """What is wrong with the files of a release; None: each has the size and sha256 that ``bundle.json`` says."""
        folder = self.folder(release)
        try:
            bundle = self.bundle(release)
            for file in bundle.files:
                if (folder / file.path).stat().st_size != file.size or sha256_of(folder / file.path) != file.sha256:
                    return f"{file.path} has other bytes than its release"
        except OSError as error:
            return f"{error.filename or folder} cannot be read: {error.strerror}"
        except RobotAssetsError as error:
            return error.found
        return None

    @property
    def linked(self) -> str | None:
        """Name of the folder that ``current`` points at; None: there is no such link, or it points elsewhere."""
        try:
            target = os.readlink(self._state / CURRENT)
        except OSError:
            return None
        folder, _, name = target.rpartition("/")
        return name if folder == SETS else None

    @property
    def switched_at(self) -> float:
        """When ``current`` was replaced, seconds since the epoch; 0: there is none."""
        try:
            return os.lstat(self._state / CURRENT).st_mtime
        except OSError:
            return 0.0

    def switch(self, release: str | None) -> None:
        """Make ``current`` point at a release, by one rename; None: remove it. Does nothing where it is so already.

        Raises:
            OSError: The disk refuses; ``current`` is what it was.
        """
        current = self._state / CURRENT
        if release is None:
            current.unlink(missing_ok=True)
        elif self.linked != set_id(release):
            new = self._state / _NEW_LINK
            new.unlink(missing_ok=True)
            new.symlink_to(Path(SETS) / set_id(release))
            os.replace(new, current)
        make_durable([self._state])

    def evict(self, keep: Iterable[str]) -> None:
        """Remove all releases and downloads but those to keep.

        A folder loses its name before its files: what is removed is never taken for a complete release.

        Raises:
            OSError: The disk refuses.
        """
        kept = {set_id(release) for release in keep}
        for parent in (self._state / SETS, self._state / DOWNLOADS):
            for name in _names(parent):
                if name in kept:
                    continue
                doomed = self._state / DOWNLOADS / f".{name}.removed"
                doomed.parent.mkdir(parents=True, exist_ok=True)
                shutil.rmtree(doomed, ignore_errors=True)
                os.rename(parent / name, doomed)
        _remove_hidden(self._state / DOWNLOADS)

    def reusable(self, but: str) -> dict[str, Path]:
        """Files of the releases that are here, by sha256: what a release shares with them is not downloaded again."""
        found: dict[str, Path] = {}
        for name in self.ids():
            if name != set_id(but) and (bundle := self._readable_bundle(name)):
                found |= {file.sha256: self.folder(name) / file.path for file in bundle.files}
        return found

    def _readable_bundle(self, name: str) -> Bundle | None:
        try:
            return self.bundle(name)
        except (OSError, RobotAssetsError):
            return None


def sha256_of(path: Path) -> str:
    """sha256 of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _names(parent: Path) -> list[str]:
    """The names of the folders of releases in a folder."""
    try:
        return sorted(name for name in os.listdir(parent) if not name.startswith("."))
    except FileNotFoundError:
        return []


def _remove_hidden(parent: Path) -> None:
    for name in os.listdir(parent) if parent.is_dir() else ():
        if name.startswith("."):
            shutil.rmtree(parent / name, ignore_errors=True)
