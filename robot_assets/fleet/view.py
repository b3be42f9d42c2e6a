"""One look at a fleet: what the distribution repository has, and what the robots of each group report.

For commands and audits. Everything is verified, as a robot or the rollout would verify it; nothing is published.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from robot_assets.fleet.desired import enrolled_keys, open_repository, robots_of
from robot_assets.fleet.errors import FleetError
from robot_assets.fleet.layout import ASSIGNMENTS_ROLE, RELEASES_ROLE, assignments_target, blob
from robot_assets.fleet.metadata import ADDED, custom
from robot_assets.fleet.published import Published, newest, read_target
from robot_assets.fleet.publishing import parse_assignments
from robot_assets.fleet.recall import Part, made_of
from robot_assets.fleet.received import Reports, read_reports
from robot_assets.provenance.subjects import BUNDLE
from robot_assets.release.bundle import parse_bundle

if TYPE_CHECKING:
    from tuf.api.metadata import TargetFile

    from robot_assets.fleet.assignments import Assignments
    from robot_assets.fleet.reports import Received
    from robot_assets.fleet.repository import Repository
    from robot_assets.fleet.spec import FleetSpec
    from robot_assets.provenance.public_key import PublicKey


@dataclass(frozen=True)
class Running:
    """What one robot reports that it serves.

    Attributes:
        robot: Its id.
        group: Its group.
        release: Data version; None: it serves none, or never reported.
        received_at: When the storage received its last report, ISO 8601; None: it never reported.
    """

    robot: str
    group: str
    release: str | None
    received_at: str | None


@dataclass(frozen=True)
class FleetView:
    """One look at a fleet; each thing is read once.

    Attributes:
        root: Folder of the project.
        fleet: The ``fleet`` section of its params.yaml.
        memo: Folder of what was verified of reports, which shows a report that was put back; None: without.
    """

    root: Path
    fleet: FleetSpec
    memo: Path | None = None

    @cached_property
    def repository(self) -> Repository:
        """The distribution repository; it may not exist yet. Raises FleetError."""
        return open_repository(self.root, self.fleet)

    @cached_property
    def keys(self) -> Mapping[str, PublicKey]:
        """Public keys of the enrolled robots. Raises FleetError."""
        return enrolled_keys(self.root)

    @cached_property
    def exists(self) -> bool:
        """Whether there is a repository. Raises FleetError when it cannot be reached."""
        return self.repository.exists

    @cached_property
    def published(self) -> Published:
        """The published metadata, verified. Raises FleetError."""
        return self.repository.place.published()

    def robots(self, group: str) -> tuple[str, ...]:
        """Enrolled robots of a group, in its order."""
        return robots_of(self.fleet, group, self.keys)

    def reports(self, group: str) -> Reports:
        """The reports of a group; none without a repository. Raises FleetError."""
        if group not in self._reports:
            self._reports[group] = self._read(group)
        return self._reports[group]

    def running(self, group: str) -> tuple[Running, ...]:
        """What each enrolled robot of a group reports. Raises FleetError."""
        received = self.reports(group).received
        return tuple(_running(robot, group, received.get(robot)) for robot in self.robots(group))

    def assigned(self, group: str) -> Assignments | None:
        """What is published for a group; None: nothing yet. Raises FleetError."""
        if not self.exists:
            return None
        target = self.published.parts[ASSIGNMENTS_ROLE].targets.get(assignments_target(group))
        return parse_assignments(read_target(self.repository.files, target), group) if target else None

    def releases(self, group: str) -> tuple[str, ...]:
        """Data versions of the releases that robots of a group can install, the newest first. Raises FleetError."""
        return tuple(f"{path.rpartition('/')[2].removesuffix('.json')}.dir" for path in self._targets(group))

    def parts(self, group: str, version: str | None) -> tuple[Part, ...] | None:
        """What a published release is made of; None where the repository does not have it. Raises FleetError."""
        if version is None:
            return None
        key = group, version
        if key not in self._parts:
            self._parts[key] = self._made_of(group, version)
        return self._parts[key]

    def _made_of(self, group: str, version: str) -> tuple[Part, ...] | None:
        name = version.removesuffix(".dir")
        found = self._targets(group).get(f"releases/{group}/{name}.json")
        if found is None:
            return None
        bundle = parse_bundle(read_target(self.repository.files, found))
        digests = {file.path: file.sha256 for file in bundle.files}
        statements = {
            model.folder: self._blob(digests[path], group, name)
            for model in bundle.models.values()
            if (path := f"{model.folder}/{BUNDLE}") in digests
        }
        return tuple(dict.fromkeys(made_of(bundle, statements, version)))

    def _blob(self, sha256: str, group: str, release: str) -> bytes:
        import hashlib

        try:
            content = self.repository.files.read(blob(sha256))
        except FileNotFoundError:
            content = b""
        if hashlib.sha256(content).hexdigest() != sha256:
            raise FleetError(
                f"{self.repository.files.where(blob(sha256))} is missing, damaged or altered",
                needed="the signed statements of an engine, as they were published",
                fix=f"robot-assets fleet publish {group} --release {release} --repair   # where releases.pem is",
            )
        return content

    def _targets(self, group: str) -> Mapping[str, TargetFile]:
        """TUF targets of the releases of a group, by path, the newest first."""
        found = [(path, file) for path, file in self._signed.items() if path.startswith(f"releases/{group}/")]
        return dict(sorted(found, key=lambda one: _age(one[1])))

    @cached_property
    def _signed(self) -> Mapping[str, TargetFile]:
        return newest(self.repository.files, self.published, RELEASES_ROLE).targets if self.exists else {}

    def _read(self, group: str) -> Reports:
        if not self.exists:
            return Reports()
        return read_reports(self.repository.files, group, self.robots(group), self.keys, self.memo)

    @cached_property
    def _reports(self) -> dict[str, Reports]:
        return {}

    @cached_property
    def _parts(self) -> dict[tuple[str, str], tuple[Part, ...] | None]:
        return {}


def _running(robot: str, group: str, received: Received | None) -> Running:
    if received is None:
        return Running(robot, group, None, None)
    return Running(robot, group, received.report.running, received.received_at.isoformat(timespec="seconds"))


def _age(file: TargetFile) -> int:
    added = custom(file, ADDED)
    return -added if isinstance(added, int) else 0
