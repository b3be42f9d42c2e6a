"""The status of groups: the phase of each rollout and why, each robot, and what needs attention in the repository."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from robot_assets.fleet.errors import FleetError
from robot_assets.fleet.metadata import SNAPSHOT_ROLE, SOON, TIMESTAMP_ROLE
from robot_assets.fleet.recall import match
from robot_assets.fleet.rollout import Decision, Phase, decide
from robot_assets.fleet.spec import LATEST
from robot_assets.fleet.table import DIGITS, duration, rows

if TYPE_CHECKING:
    from robot_assets.fleet.assignments import Assignments, Recall
    from robot_assets.fleet.recall import Part
    from robot_assets.fleet.received import Reports
    from robot_assets.fleet.spec import GroupSpec
    from robot_assets.fleet.view import FleetView


@dataclass(frozen=True)
class GroupStatus:
    """A group at one moment.

    Attributes:
        group: Its name.
        spec: Its entry in params.yaml.
        decision: Who may have which release, by the present reports.
        assigned: Release of the published assignments; None: none.
        newest: The release that was published last; None: none.
        reports: Of its robots.
        notes: What needs attention, one sentence each.
        now: The moment.
    """

    group: str
    spec: GroupSpec
    decision: Decision
    assigned: str | None
    newest: str | None
    reports: Reports
    notes: tuple[str, ...]
    now: datetime

    @property
    def rows(self) -> dict[str, dict[str, str]]:
        """A row for each robot: column title -> cell."""
        shown = rows(self.decision, self.spec, self.reports.received, self.now)
        return {robot: {**row, "state": self._state(robot)} for robot, row in shown.items()}

    def _state(self, robot: str) -> str:
        received = self.reports.received.get(robot)
        return received.report.state.value if received else ""

    def as_json(self) -> dict[str, Any]:
        """For a machine."""
        decision = self.decision
        return {
            "release": decision.release,
            "pin": None if self.spec.release == LATEST else self.spec.release,
            "assigned": self.assigned,
            "newest": self.newest,
            "paused": self.spec.paused,
            "phase": decision.phase.value,
            "why": decision.why,
            "batch": decision.batch,
            "batches": decision.batches,
            "sizes": list(decision.sizes),
            "install": list(decision.install),
            "robots": {robot: self._robot(robot, row) for robot, row in self.rows.items()},
            "refused": dict(self.reports.refused),
            "remarks": dict(self.reports.remarks),
            "notes": list(self.notes),
        }

    def _robot(self, robot: str, row: Mapping[str, str]) -> dict[str, Any]:
        received = self.reports.received.get(robot)
        status = {"status": str(self.decision.robots[robot]), "why_not": row["why not"]}
        if received is None:
            return {**status, "received_at": None}
        at = received.received_at.isoformat(timespec="seconds")
        return {**status, "received_at": at, **received.report.model_dump(mode="json", exclude={"robot", "group"})}


@dataclass(frozen=True)
class Renewal:
    """Metadata that expires soon.

    Attributes:
        role: Its role.
        expires: When.
        is_expired: Whether it has.
    """

    role: str
    expires: datetime
    is_expired: bool


@dataclass(frozen=True)
class FleetStatus:
    """Several groups, and the repository.

    Attributes:
        groups: By name.
        errors: Why a group cannot be looked at, by name.
        renewals: Metadata that expires soon.
        expiries: When the metadata of each role expires.
    """

    groups: Mapping[str, GroupStatus] = field(default_factory=dict)
    errors: Mapping[str, FleetError] = field(default_factory=dict)
    renewals: tuple[Renewal, ...] = ()
    expiries: Mapping[str, datetime] = field(default_factory=dict)


def fleet_status(view: FleetView, groups: Sequence[str], now: datetime) -> FleetStatus:
    """The status of groups. A group whose robots and params.yaml do not agree does not hide the others.

    Raises:
        FleetError: There is no repository, it cannot be read, or its metadata does not verify.
    """
    require_repository(view)
    expiries = view.published.expiries
    found: dict[str, GroupStatus] = {}
    errors: dict[str, FleetError] = {}
    for group in groups:
        try:
            found[group] = group_status(view, group, now)
        except FleetError as error:
            errors[group] = error
    return FleetStatus(found, errors, tuple(_renewals(view, expiries, now)), expiries)


def group_status(view: FleetView, group: str, now: datetime) -> GroupStatus:
    """The status of one group. Raises FleetError."""
    spec = view.fleet.groups[group]
    robots, reports = view.robots(group), view.reports(group)
    released = view.releases(group)
    published = view.assigned(group)
    assigned = published.release if published else None
    desired = desired_release(view, group)
    decision = unless_recalled(
        view, group, decide(desired, spec, robots, reports.received, now, _listed(published, desired))
    )
    newest = released[0] if released else None
    notes = tuple(_notes(view, group, desired, assigned, newest))
    return GroupStatus(group, spec, decision, assigned, newest, reports, notes, now)


def listed_robots(view: FleetView, group: str, release: str | None) -> tuple[str, ...]:
    """Robots that may have a release by what is published now; none where that is lost or altered."""
    try:
        return _listed(view.assigned(group), release)
    except FleetError:
        return ()


def _listed(published: Assignments | None, release: str | None) -> tuple[str, ...]:
    return published.install if published and published.release == release else ()


def desired_release(view: FleetView, group: str) -> str | None:
    """The release that a group should run, as far as the repository shows it; None: there is none.

    ``latest`` is what the last rollout step assigned, else what was published last: only the history of the builds
    has the latest version of ``release/<group>``.

    Raises:
        FleetError: The pinned release is not in the repository.
    """
    spec, released = view.fleet.groups[group], view.releases(group)
    if spec.release == LATEST:
        assigned = view.assigned(group)
        last = assigned.release if assigned else None
        return last or (released[0] if released else None)
    return resolve_release(group, spec.release, released)


def resolve_release(group: str, digits: str, known: Sequence[str]) -> str:
    """The one release that begins with some digits.

    Raises:
        FleetError: None does, or several do.
    """
    matching = [version for version in known if version.startswith(digits.strip().lower().removesuffix(".dir"))]
    if len(matching) == 1:
        return matching[0]
    names = [short(version) for version in matching or known]
    raise FleetError(
        f"{digits} begins {len(matching)} releases of {group}: {', '.join(names)}"
        if matching
        else f"{digits} is no release of {group} in the distribution repository",
        needed="more digits" if matching else f"one of: {', '.join(names)}" if names else "a published release",
        fix=f"robot-assets fleet pin {group} {names[0]}" if names else f"robot-assets build release/{group}",
    )


def unless_recalled(view: FleetView, group: str, decision: Decision) -> Decision:
    """``decision``; nobody gets a release that was recalled, or that is made of something that was."""
    if decision.release is None:
        return decision
    found = recall_of(view, group, decision.release)
    if found is None:
        return decision
    recall, part = found
    why = f"the release {short(decision.release)} is recalled with its {part.what}: {recall.reason}"
    return replace(decision, release=None, phase=Phase.STOPPED, why=why, install=())


def recall_of(view: FleetView, group: str, release: str) -> tuple[Recall, Part] | None:
    """The recall that a published release falls under, and the part that it names. Raises FleetError."""
    parts = (view.parts(group, release) or ()) if view.fleet.recalls else ()
    for recall in view.fleet.recalls:
        if (part := match(parts, recall.hash)) is not None:
            return recall, part
    return None


def require_repository(view: FleetView) -> None:
    """Raise FleetError where there is no distribution repository."""
    if not view.exists:
        raise FleetError(
            f"there is no distribution repository at {view.repository.files.name}",
            needed="the repository that robots take releases from and report to",
            fix="robot-assets fleet init   # or correct fleet.url in params.yaml",
        )


def short(version: str | None) -> str:
    """The first digits of a version."""
    return version.removesuffix(".dir")[:DIGITS] if version else "none"


def _notes(view: FleetView, group: str, desired: str | None, assigned: str | None, newest: str | None) -> Iterator[str]:
    """What is not yet published, and what is recalled."""
    build = f"robot-assets build rollout/{group}"
    if newest is None:
        yield f"no release is published: robot-assets build release/{group}"
    elif desired != assigned and recall_of(view, group, desired or newest) is None:
        yield f"release {short(desired)} is not assigned yet: {build}"
    elif desired != newest and view.fleet.groups[group].release == LATEST:
        yield f"release {short(newest)} was published last and is not assigned: {build}"
    for version in view.releases(group):
        if version != desired and (found := recall_of(view, group, version)):
            yield f"release {short(version)} is recalled with its {found[1].what}: {found[0].reason}"


def _renewals(view: FleetView, expiries: Mapping[str, datetime], now: datetime) -> Iterator[Renewal]:
    """Metadata to renew. Snapshot and timestamp are renewed by each rollout once half of their validity has passed."""
    for role, expires in expiries.items():
        soon = timedelta(days=view.fleet.timestamp_days) / 4 if role in (SNAPSHOT_ROLE, TIMESTAMP_ROLE) else SOON
        if expires - now < soon:
            yield Renewal(role, expires, expires <= now)


def until(renewal: Renewal, now: datetime) -> str:
    """When metadata expires, such as ``expires in 3 days``."""
    span = duration(abs((renewal.expires - now).total_seconds()))
    return f"expired {span} ago" if renewal.is_expired else f"expires in {span}"
