"""``fleet/<group>``: what the robots of a group report that they run. Observed; it holds no bytes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from robot_assets.core.errors import RobotAssetsError
from robot_assets.core.text import plural
from robot_assets.fleet.errors import FleetError
from robot_assets.lineage.graph import AssetTraits, Stage
from robot_assets.pipeline import names
from robot_assets.pipeline.kind import Observation, Observer, Sensor, Sighting, StageKind

if TYPE_CHECKING:
    from robot_assets.fleet.received import Reports
    from robot_assets.fleet.repository import Repository
    from robot_assets.pipeline.names import AssetName
    from robot_assets.pipeline.params import Params
    from robot_assets.pipeline.project import Project
    from robot_assets.provenance.public_key import PublicKey

MEMO = "fleet"
"""Folder of what was verified of reports, in the state folder of the project."""


@dataclass(frozen=True)
class Reported:
    """One look at the reports of a group.

    Attributes:
        robots: Its enrolled robots, in its order.
        reports: Their reports.
        where: The repository, without credentials.
    """

    robots: tuple[str, ...]
    reports: Reports
    where: str


def stages(params: Params) -> Iterator[Stage]:
    """One for each group of robots."""
    for group in params.fleet.groups:
        yield Stage(names.fleet(group), KIND.name)


def observe(observer: Observer, name: AssetName) -> Sighting | None:
    """What the robots of a group are to a rollout now; None before there is a repository, and for a step.

    Raises:
        FleetError: The repository cannot be reached, or params.yaml and the enrolled robots do not agree.
    """
    from robot_assets.fleet.level import fleet_facts, fleet_version

    found = None if observer.is_step else reported(observer, name.group)
    if found is None:
        return None
    fleet, now = observer.project.params.fleet, datetime.now(UTC)
    entry = fleet.groups[name.group]
    version = fleet_version(entry, found.robots, found.reports.received, fleet.timestamp_days, now)
    count = plural(len(found.reports.received), "report")
    return Sighting(version, f"{count} in {found.where}", fleet_facts(entry, found.robots, found.reports, now))


def reported(observer: Observer, group: str) -> Reported | None:
    """The reports of a group, read once in a look; None before there is a repository. Raises FleetError."""
    return observer.once(f"reports of {group}", lambda: _read(observer, group))


def read_group(project: Project, repository: Repository, group: str, keys: Mapping[str, PublicKey]) -> Reported:
    """The reports of a group in a repository; ``keys`` are those of all enrolled robots. Raises FleetError."""
    from robot_assets.fleet.desired import robots_of
    from robot_assets.fleet.received import read_reports

    robots = robots_of(project.params.fleet, group, keys)
    reports = read_reports(repository.files, group, robots, keys, project.state / MEMO)
    return Reported(robots, reports, repository.files.name)


def _read(observer: Observer, group: str) -> Reported | None:
    from robot_assets.fleet.desired import enrolled_keys

    repository = observer.once("distribution repository", lambda: _repository(observer.project))
    if repository is None:
        return None
    keys = observer.once("enrolled robots", lambda: enrolled_keys(observer.project.root))
    return read_group(observer.project, repository, group, keys)


def _repository(project: Project) -> Repository | None:
    from robot_assets.fleet.desired import open_repository

    repository = open_repository(project.root, project.params.fleet)
    return repository if repository.exists else None


def _unseen(project: Project, name: AssetName) -> RobotAssetsError:
    return FleetError(
        f"{name} has not been reported: there is no distribution repository at {_where(project)}",
        needed="the repository that robots take releases from and report to",
        fix="robot-assets fleet init   # or correct fleet.url in params.yaml",
    )


def _where(project: Project) -> str:
    from robot_assets.fleet.desired import open_repository

    return open_repository(project.root, project.params.fleet).files.name


def _nothing_to_open(project: Project, name: AssetName, version: str) -> Path:
    return project.root / "data" / "fleet"


KIND = StageKind(
    name="fleet",
    pattern=names.FLEET,
    group="fleet",
    traits=AssetTraits(role="Reports of robots", holds_bytes=False),
    stages=stages,
    observation=Observation(
        description="What the robots of a group report that they run, each report signed by its robot. A change makes "
        "the rollout of the group stale, as does a timer of its policy that has elapsed.",
        tools=("cpu",),
        sensor=Sensor(
            name="fleet_reports",
            description="Reads the signed reports of robots in the distribution repository, for every group of "
            "fleet.groups. A change is recorded as an observation of fleet/<group>.",
            noun="fleet",
            idle="no fleet.groups in params.yaml",
            intervals=2,  # so that this look and the one of stale_assets after it fit into two of its intervals
        ),
        observe=observe,
        unseen=_unseen,
        reports_itself=lambda project, name: False,
        require_available=lambda project, name, version: None,
        open=_nothing_to_open,
        shows_changes=True,
    ),
)
