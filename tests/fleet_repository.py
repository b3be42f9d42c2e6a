"""A distribution repository in a folder with small releases of bytes, and python-tuf as the robot that reads it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

from tuf.api.exceptions import DownloadHTTPError
from tuf.ngclient import FetcherInterface, Updater

from robot_assets.fleet.assignments import Assignments
from robot_assets.fleet.files import Files
from robot_assets.fleet.layout import assignments_target, release_target
from robot_assets.fleet.repository import Repository

GROUP = "yard"
NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)


def write_release(folder: Path, content: bytes = b"engine", group: str = GROUP) -> str:
    """Write a consistent release of one model; return its data version."""
    parts = {"mower/engine.onnx": content, "mower/reference.npz": b"answers of " + content}
    for path, part in parts.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(part)
    files = [{"path": path, "sha256": hashlib.sha256(p).hexdigest(), "size": len(p)} for path, p in parts.items()]
    version = hashlib.md5(content).hexdigest() + ".dir"
    model = {
        "asset": "mower/engine/cpu",
        "version": version,
        "folder": "mower",
        "task": "detection",
        "decoder": "fcos",
        "budgets": {},
        "tolerance_share": 0.01,
    }
    bundle = {
        "format": 1,
        "group": group,
        "target": "cpu",
        "platform": {},
        "platform_fingerprint": "f" * 32,
        "models": {"mower": model},
        "files": files,
    }
    (folder / "bundle.json").write_text(json.dumps(bundle, sort_keys=True))
    return version


@dataclass
class Yard:
    """A repository and its writer.

    Attributes:
        folder: Of this test.
        url: Of the repository.
    """

    folder: Path
    url: str

    @cached_property
    def repository(self) -> Repository:
        return Repository(Files(self.url), self.folder / "keys", self.folder / "root.json")

    @property
    def metadata(self) -> Path:
        return Path(self.url) / "metadata"

    def release(self, content: bytes = b"engine", group: str = GROUP, now: datetime = NOW) -> str:
        """Publish a release; return its data version."""
        folder = self.folder / "releases" / hashlib.md5(content + group.encode()).hexdigest()
        version = write_release(folder, content, group)
        self.repository.publish_release(group, version, folder, now=now)
        return version

    def assignments(self, version: str | None, *install: str, group: str = GROUP, at: datetime = NOW) -> Assignments:
        sha256 = self.repository.bundle_sha256(group, version) if version else None
        return Assignments(
            group=group, release=version, bundle_sha256=sha256, install=install, issued_at=at.isoformat()
        )

    def assign(self, version: str | None, *install: str, group: str = GROUP, now: datetime = NOW) -> bool:
        """Publish who may have a release."""
        return self.repository.publish_assignments(self.assignments(version, *install, group=group, at=now), now)


def new_yard(folder: Path, url: str = "") -> Yard:
    """A repository that was made just now."""
    yard = Yard(folder, url or str(folder / "repository"))
    Repository.create(Files(yard.url), folder / "keys", folder / "root.json", now=NOW)
    return yard


class _Folder(FetcherInterface):
    """Downloads from a folder; counts requests and bytes."""

    def __init__(self) -> None:
        self.requests: list[str] = []
        self.size_bytes = 0

    def _fetch(self, url: str) -> Iterator[bytes]:
        self.requests.append(url.rpartition("/")[2])
        try:
            content = Path(url.removeprefix("file://")).read_bytes()
        except FileNotFoundError:
            raise DownloadHTTPError("not there", 404) from None
        self.size_bytes += len(content)
        yield content


class Client:
    """A robot with nothing but the root: python-tuf's own client, with what it has seen before."""

    def __init__(self, repository: Path, root: bytes, memory: Path) -> None:
        self.repository = repository
        self.root = root
        self.memory = memory
        self.fetcher = _Folder()
        memory.mkdir(parents=True, exist_ok=True)

    def assignments(self, group: str = GROUP) -> Assignments:
        """What is assigned to the group, verified."""
        return Assignments.model_validate_json(self._download(assignments_target(group)))

    def bundle(self, version: str, group: str = GROUP) -> bytes:
        """The ``bundle.json`` of a release, verified."""
        return self._download(release_target(group, version))

    def knows(self, version: str, group: str = GROUP) -> bool:
        """Whether a release can be installed."""
        return self._updater().get_targetinfo(release_target(group, version)) is not None

    def poll(self) -> None:
        """See whether there is anything new."""
        self._updater().refresh()

    def _download(self, target: str) -> bytes:
        updater = self._updater()
        found = updater.get_targetinfo(target)
        if found is None:
            raise LookupError(target)
        return Path(updater.download_target(found)).read_bytes()

    def _updater(self) -> Updater:
        base = f"file://{self.repository}"
        memory = str(self.memory)
        return Updater(memory, f"{base}/metadata", memory, f"{base}/targets", fetcher=self.fetcher, bootstrap=self.root)


def client(yard: Yard, name: str = "robot") -> Client:
    """A robot that trusts the first root; of equal names equal ones."""
    first = Path(yard.url) / "metadata" / "1.root.json"
    return Client(Path(yard.url), first.read_bytes(), yard.folder / "robots" / name)


class Interrupted(Exception):
    """The process was killed here."""


class Killed(Files):
    """Files of a process that is killed at its n-th change, before or after it took effect."""

    def __init__(self, url: str, at: int, *, after: bool) -> None:
        super().__init__(url)
        self.left = at
        self.after = after

    def _change(self, operation: Callable[..., object], *arguments: object) -> object:
        self.left -= 1
        if self.left < 0 and not self.after:
            raise Interrupted
        done = operation(*arguments)
        if self.left < 0:
            raise Interrupted
        return done

    def write(self, path: str, content: bytes) -> None:
        self._change(super().write, path, content)

    def write_new(self, path: str, content: bytes) -> bool:
        return bool(self._change(super().write_new, path, content))

    def upload(self, source: Path, path: str) -> None:
        self._change(super().upload, source, path)

    def remove(self, path: str) -> None:
        self._change(super().remove, path)
