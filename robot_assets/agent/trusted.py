"""What the distribution repository says, verified: TUF (python-tuf), and what is demanded beyond it.

- The time is the later one of the clock and the time that is known to have passed: a clock at 1970 does not revive
  expired metadata.
- Versions never decrease, also when the folder of trusted metadata was lost: the highest ones are in ``state.json``.
- Assignments count only from the role ``assignments``, and releases only from the role ``releases``, as ``targets``
  delegates them: neither key replaces the other one.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError
from tuf.api import exceptions
from tuf.api.metadata import Metadata, Root, Signed, Snapshot, TargetFile, Targets, Timestamp
from tuf.ngclient import FetcherInterface, Updater, UpdaterConfig

from robot_assets.agent.spec import RobotSpec
from robot_assets.agent.state import TUF, SeenVersion
from robot_assets.agent.transport import Missing, TooLong, Transport, get
from robot_assets.core.errors import RobotAssetsError
from robot_assets.core.publishing import make_durable
from robot_assets.core.validation import mistakes
from robot_assets.fleet.assignments import Assignments
from robot_assets.fleet.errors import AgentError
from robot_assets.fleet.layout import (
    ASSIGNMENTS_ROLE,
    METADATA,
    RELEASES_ROLE,
    TARGETS,
    assignments_target,
    release_target,
)
from robot_assets.lineage.spec import QuietSpec
from robot_assets.release.bundle import BUNDLE_FILE, BUNDLE_SIZE_MAX

ROOT_SIZE_MAX = 64_000
TARGETS_SIZE_MAX = 2_000_000
ASSIGNMENTS_SIZE_MAX = 2_000_000
_CONFIG = UpdaterConfig(
    max_root_rotations=64,
    max_delegations=4,
    root_max_length=ROOT_SIZE_MAX,
    timestamp_max_length=16_000,
    snapshot_max_length=200_000,
    targets_max_length=TARGETS_SIZE_MAX,
    prefix_targets_with_hash=True,
)
Result = TypeVar("Result")
_TOP = (Root.type, Timestamp.type, Snapshot.type, Targets.type)


class Untrusted(AgentError):
    """What the repository shows is not signed as it has to be, is older than what was seen, or has expired."""


@dataclass(frozen=True)
class Known:
    """What a robot knows from earlier looks.

    Attributes:
        versions: Highest version of each role.
        time: Time that is known to have passed, ISO 8601; empty: none.
    """

    versions: Mapping[str, SeenVersion]
    time: str


@dataclass(frozen=True)
class Look:
    """What the repository says now.

    Attributes:
        assignments: For the group; None: nothing is assigned yet.
        content: The bytes of the assignments.
        versions: Highest versions of metadata, by role.
        known_time: Time that is known to have passed.
        expires: When each role expires that was read.
    """

    assignments: Assignments | None
    content: bytes
    versions: Mapping[str, SeenVersion]
    known_time: str
    expires: Mapping[str, datetime]


class Fetcher(FetcherInterface):
    """Lets python-tuf read through a Transport.

    Attributes:
        where: The file that was read last.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self.where = transport.name

    def _fetch(self, url: str) -> Iterator[bytes]:
        return self._chunks(url)

    def _chunks(self, url: str) -> Iterator[bytes]:
        self.where = f"{self._transport.name}/{url}"
        try:
            yield from self._transport.read_from(url, 0)
        except Missing as error:
            raise exceptions.DownloadHTTPError(error.found, error.status) from error
        except RobotAssetsError as error:
            raise exceptions.DownloadError(error.found) from error


class TrustedRepository:
    """The distribution repository, as one robot reads it.

    Args:
        robot: The robot.
        transport: Where the repository is.
    """

    def __init__(self, robot: RobotSpec, transport: Transport) -> None:
        self._robot = robot
        self._transport = transport
        self._fetcher = Fetcher(transport)
        self._folder = robot.state / TUF
        self._last: tuple[bytes, Look] | None = None

    def look(self, known: Known, now: datetime, kept: bytes) -> Look:
        """Read what is assigned. With nothing new, two requests: the next root, which is not there, and the timestamp.

        Args:
            known: What the robot knows from earlier looks.
            now: The clock.
            kept: The assignments of the last look: not read again when they are the same.

        Raises:
            Untrusted: The metadata is not acceptable.
            AgentError: The repository cannot be read.
            OSError: The metadata cannot be stored.
        """
        return self._repairing(lambda: self._look(known, now, kept))

    def _look(self, known: Known, now: datetime, kept: bytes) -> Look:
        updater = self._refreshed(now)
        present = self._present()
        if self._last and self._last[0] == present:
            _check_expiry(self._last[1].expires, later(known.time, now), now)
            return self._last[1]
        look = self._read(updater, known, now, kept)
        make_durable([path for path in self._folder.rglob("*") if path.is_file() and not path.is_symlink()])
        make_durable([self._folder])
        self._last = (present, look)
        return look

    def bundle(
        self, release: str, sha256: str, known: Known, now: datetime, kept: bytes = b""
    ) -> tuple[bytes, SeenVersion]:
        """``bundle.json`` of a release that both roles name, and the version of the role ``releases`` that has it.

        Args:
            release: Data version that is assigned.
            sha256: sha256 of ``bundle.json`` that is assigned.
            known: What the robot knows from earlier looks.
            now: The clock.
            kept: Bytes that may be those of ``bundle.json``: not read again when they are.

        Raises:
            Untrusted: The role ``releases`` does not name the same bytes.
            AgentError: The repository cannot be read.
        """
        return self._repairing(lambda: self._bundle(release, sha256, known, now, kept))

    def _bundle(self, release: str, sha256: str, known: Known, now: datetime, kept: bytes) -> tuple[bytes, SeenVersion]:
        target = release_target(self._robot.group, release)
        updater = self._refreshed(now)
        with _translated(self._fetcher, now):
            info = _delegated(updater, self._folder, target, RELEASES_ROLE)
        signed = self._signed(RELEASES_ROLE)
        versions = self._checked(signed, known, now)
        if info is None:
            raise _untrusted(f"release {release} is assigned, and the role {RELEASES_ROLE} does not have it")
        if info.hashes.get("sha256") != sha256:
            raise _untrusted(
                f"release {release} is assigned with another {BUNDLE_FILE} than the role {RELEASES_ROLE} has"
            )
        return self._target(info, BUNDLE_SIZE_MAX, kept), versions[RELEASES_ROLE]

    def _read(self, updater: Updater, known: Known, now: datetime, kept: bytes) -> Look:
        """Read the assignments of the refreshed metadata, and check what python-tuf does not."""
        target = assignments_target(self._robot.group)
        with _translated(self._fetcher, now):
            info = _delegated(updater, self._folder, target, ASSIGNMENTS_ROLE)
        signed = self._signed(ASSIGNMENTS_ROLE)
        versions = self._checked(signed, known, now)
        expires = {role: one.expires for role, one in signed.items()}
        content = b"" if info is None else self._target(info, ASSIGNMENTS_SIZE_MAX, kept)
        assignments = parse_assignments(content, self._robot.group) if content else None
        return Look(
            assignments=assignments,
            content=content,
            versions={**known.versions, **versions},
            known_time=_known_time(known.time, assignments, expires),
            expires=expires,
        )

    def _checked(self, signed: Mapping[str, Signed], known: Known, now: datetime) -> dict[str, SeenVersion]:
        """The versions of the metadata, none of which is older than what was seen or has expired."""
        start = hashlib.sha256(read_root(self._robot.root)).hexdigest()
        versions = _versions(signed, start)
        _check_versions(versions, known.versions)
        _check_expiry({role: one.expires for role, one in signed.items()}, later(known.time, now), now)
        return versions

    def _repairing(self, work: Callable[[], Result]) -> Result:
        """Do what reads and replaces the trusted metadata; where its folder is damaged, once more without it.

        What protects from a rollback remains: the root of robot.yaml and the versions in ``state.json``.
        """
        try:
            return work()
        except (IsADirectoryError, NotADirectoryError, FileExistsError):
            if self._folder.is_dir() and not self._folder.is_symlink():
                shutil.rmtree(self._folder)
            else:
                self._folder.unlink()
            return work()

    def _refreshed(self, now: datetime) -> Updater:
        with _translated(self._fetcher, now):
            updater = self._updater()
            updater.refresh()
            return updater

    def _updater(self) -> Updater:
        self._folder.mkdir(parents=True, exist_ok=True)
        if self._last is None:
            self._remove_leftovers()
        return Updater(
            metadata_dir=str(self._folder),
            metadata_base_url=f"{METADATA}/",
            fetcher=self._fetcher,
            config=_CONFIG,
            bootstrap=read_root(self._robot.root),
        )

    def _remove_leftovers(self) -> None:
        """Remove the temporary files of python-tuf in a process that was killed."""
        for path in self._folder.glob("tmp*"):
            if path.is_file() and not path.is_symlink():
                path.unlink()

    def _present(self) -> bytes:
        """Changes with every change of metadata: the timestamp names the snapshot, and that the rest."""
        return (self._folder / "root.json").read_bytes() + (self._folder / "timestamp.json").read_bytes()

    def _signed(self, role: str) -> dict[str, Signed]:
        """The metadata that python-tuf has just verified and stored, by role: the top level and one delegation."""
        return {name: _stored(self._folder, name) for name in (*_TOP, role)}

    def _target(self, info: TargetFile, size_max: int, kept: bytes) -> bytes:
        """The bytes of a target, verified: those that are here, else those of the repository."""
        if len(kept) == info.length and hashlib.sha256(kept).hexdigest() == info.hashes.get("sha256"):
            return kept
        if info.length > size_max:
            raise _untrusted(f"{info.path} has {info.length} bytes; at most {size_max} are read")
        folder, _, name = info.path.rpartition("/")
        digest = info.hashes.get("sha256", "")
        content = get(self._transport, f"{TARGETS}/{folder}/{digest}.{name}", info.length)
        if len(content) != info.length or hashlib.sha256(content).hexdigest() != digest:
            raise _untrusted(f"{info.path} has other bytes than its metadata says")
        return content


def parse_assignments(content: bytes, group: str) -> Assignments:
    """The assignments of a group.

    Raises:
        Untrusted: They are of another group, or not valid.
    """
    try:
        found = Assignments.model_validate_json(content)
        window_of(found)
    except ValidationError as error:
        raise _untrusted(f"{assignments_target(group)} is not valid: {'; '.join(mistakes(error)[:3])}") from None
    if found.group != group:
        raise _untrusted(f"{assignments_target(group)} is for the group {found.group!r}")
    return found


def window_of(assignments: Assignments) -> QuietSpec | None:
    """The daily window in which robots switch; None: at any time."""
    return None if assignments.window is None else QuietSpec.model_validate(assignments.window)


def read_root(path: Path) -> bytes:
    """The root metadata that the robot starts to trust.

    Raises:
        AgentError: There is none, or it is none.
    """
    try:
        with path.open("rb") as stream:
            content = stream.read(ROOT_SIZE_MAX + 1)
        Metadata[Root].from_bytes(content)
    except OSError as error:
        raise _no_root(path, f"cannot be read: {error.strerror}") from None
    except exceptions.RepositoryError:
        raise _no_root(path, "is not root metadata of TUF") from None
    return content


def later(known_time: str, now: datetime) -> datetime:
    """The later one of the clock and a time that is known to have passed."""
    return max(now, parsed_time(known_time)) if known_time else now


def parsed_time(text: str) -> datetime:
    """A time in ISO 8601; one without a zone is in UTC."""
    time = datetime.fromisoformat(text)
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _delegated(updater: Updater, folder: Path, target: str, role: str) -> TargetFile | None:
    """A target, only if ``targets`` delegates it to the one role, and this role has it."""
    found = updater.get_targetinfo(target)
    top = _stored(folder, Targets.type)
    delegations = top.delegations if isinstance(top, Targets) else None
    roles = [name for name, _ in delegations.get_roles_for_target(target)] if delegations else []
    if roles != [role]:
        raise _untrusted(f"{target} is delegated to {', '.join(roles) or 'no role'}; needed the role {role} alone")
    if isinstance(top, Targets) and target in top.targets:
        raise _untrusted(f"{target} is in the role {Targets.type}; needed the role {role} alone")
    if found is None:
        return None
    signed = _stored(folder, role)
    if not isinstance(signed, Targets) or signed.targets.get(target) != found:
        raise _untrusted(f"{target} is not in the role {role}")
    return found


def _stored(folder: Path, role: str) -> Signed:
    return Metadata.from_file(str(folder / f"{role}.json")).signed


def _versions(signed: Mapping[str, Signed], start: str) -> dict[str, SeenVersion]:
    """The version of each role with the keys that have signed it; of root, with the root that the robot starts from."""
    root, targets = signed[Root.type], signed[Targets.type]
    roles = dict(root.roles) if isinstance(root, Root) else {}
    delegated = targets.delegations.roles if isinstance(targets, Targets) and targets.delegations else None
    keys = {name: (role.keyids, role.threshold) for name, role in {**roles, **(delegated or {})}.items()}
    return {
        role: SeenVersion(version=one.version, keys=start if role == Root.type else _named(*keys[role]))
        for role, one in signed.items()
    }


def _named(keys: Sequence[str], threshold: int) -> str:
    return f"{threshold} of {' '.join(sorted(key[:16] for key in keys))}"


def _check_versions(versions: Mapping[str, SeenVersion], seen: Mapping[str, SeenVersion]) -> None:
    for role, found in versions.items():
        last = seen.get(role)
        if last and found.keys == last.keys and found.version < last.version:
            raise _untrusted(f"{role} has version {found.version}; this robot has seen version {last.version}")


def _check_expiry(expires: Mapping[str, datetime], time: datetime, now: datetime) -> None:
    for role, until in expires.items():
        if time >= until:
            known = "" if time == now else f", and {time:%Y-%m-%d %H:%M} UTC is known to have passed"
            raise _expired(f"{role} expired at {until:%Y-%m-%d %H:%M} UTC{known}", now)


def _known_time(known: str, assignments: Assignments | None, expires: Mapping[str, datetime]) -> str:
    """The new time that is known to have passed: that of the assignments.

    Never later than the end of the timestamp, which another key signs: a stolen key of ``assignments`` cannot move a
    robot into a future in which everything has expired.
    """
    if assignments is None:
        return known
    try:
        issued = min(parsed_time(assignments.issued_at), expires[Timestamp.type])
    except ValueError:
        raise _untrusted(f"the assignments were issued at {assignments.issued_at[:40]!r}, which is no time") from None
    return issued.isoformat() if not known or issued > parsed_time(known) else known


@contextmanager
def _translated(fetcher: Fetcher, now: datetime) -> Iterator[None]:
    """Turn the exceptions of python-tuf into errors with three parts."""
    try:
        yield
    except exceptions.ExpiredMetadataError as error:
        raise _expired(str(error), now) from None
    except exceptions.DownloadError as error:
        raise _download_error(error, fetcher.where) from None
    except exceptions.RepositoryError as error:
        raise _untrusted(f"{fetcher.where}: {error}") from None


def _download_error(error: exceptions.DownloadError, where: str) -> RobotAssetsError:
    if isinstance(error.__cause__, RobotAssetsError):
        return error.__cause__
    return TooLong(
        f"{where}: {error}",
        needed="metadata of a length that a robot reads",
        fix="robot-assets fleet status   # where the rollout is published; or a server sends something else",
    )


def _expired(what: str, now: datetime) -> Untrusted:
    return Untrusted(
        f"the metadata has expired: {what} (the clock of this robot says {now:%Y-%m-%d %H:%M} UTC)",
        needed="a renewed repository, and a clock that is right",
        fix="date   # compare the clock; where the rollout is published: robot-assets build rollout/GROUP",
    )


def _untrusted(what: str) -> Untrusted:
    return Untrusted(
        f"the repository is refused: {what}",
        needed="metadata that its roles have signed, never older than what was seen",
        fix="robot-assets fleet status   # where the rollout is published",
    )


def _no_root(path: Path, why: str) -> AgentError:
    return AgentError(
        f"the root metadata {path} {why}",
        needed="the root.json that the fleet's repository was made with",
        fix=f"cp data/fleet/root.json {path}   # from the project",
    )
