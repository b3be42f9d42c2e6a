"""``rollout/<group>``: the decision which robots of a group may have its release now, published to them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from robot_assets.core.page import Block, Facts, Page, Picture, Table, Text
from robot_assets.core.text import listed
from robot_assets.fleet.errors import FleetError
from robot_assets.fleet.spec import LATEST, FleetSpec
from robot_assets.lineage.graph import AssetTraits, Stage
from robot_assets.lineage.report.phrases import short
from robot_assets.pipeline import names
from robot_assets.pipeline.kind import Production, StageKind, entry
from robot_assets.store.os_errors import masked

if TYPE_CHECKING:
    from robot_assets.fleet.assignments import Assignments
    from robot_assets.fleet.rollout import Decision
    from robot_assets.fleet.view import FleetView
    from robot_assets.pipeline.kind import Step
    from robot_assets.pipeline.kinds.fleet import Reported
    from robot_assets.pipeline.params import Params

DECISION_FILE = "decision.json"
_ROWS = 300
"""Robots in the table of the page."""


@dataclass(frozen=True)
class RolledOut:
    """The result of a step.

    Attributes:
        decision: Who may have which release.
        reported: The reports that it follows from.
        decided_at: When.
        has_changed: Whether robots find something new.
    """

    decision: Decision
    reported: Reported
    decided_at: datetime
    has_changed: bool


def stages(params: Params) -> Iterator[Stage]:
    """One for each group of robots. An order in params.yaml is a parameter, so it has a readable cause.

    What other groups say decides nothing here, but the step needs it: a robot is in one group.
    """
    fleet = params.fleet
    for group, described in fleet.groups.items():
        alone = fleet.model_copy(update={"groups": {group: described}})
        yield Stage(
            names.rollout(group),
            KIND.name,
            (entry(run),),
            {"fleet": {**alone.model_dump(mode="json"), "url": masked(fleet.url)}},  # records keep no credentials
            (names.release(group), names.fleet(group)),
            is_urgent=True,
            spec=fleet,
        )


def run(step: Step) -> RolledOut:
    """Decide from the present reports, and publish the assignments."""
    from robot_assets.core.documents import write_json
    from robot_assets.core.publishing import publishing_directory
    from robot_assets.fleet.rollout import decide
    from robot_assets.fleet.status import listed_robots, require_repository, unless_recalled
    from robot_assets.fleet.view import FleetView
    from robot_assets.pipeline.kinds.fleet import read_group

    fleet: FleetSpec = step.spec
    group, now, view = step.name.group, datetime.now(UTC), FleetView(step.project.root, fleet)
    require_repository(view)
    reported = read_group(view, group, step.project.state)
    release = _desired(step, view)
    listed = listed_robots(view, group, release)
    decision = decide(release, fleet.groups[group], reported.robots, reported.reports.received, now, listed)
    decision = unless_recalled(FleetView(step.project.root, fleet), group, decision)
    bundle = view.repository.bundle_sha256(group, decision.release) if decision.release else None
    has_changed = view.repository.publish_assignments(_assignments(group, fleet, decision, bundle, now), now)
    step.note(f"{'published' if has_changed else 'as published before'}: {decision.why}")
    with publishing_directory(step.output) as staging:
        write_json(staging / DECISION_FILE, as_json(group, decision))
    return RolledOut(decision, reported, now, has_changed)


def as_json(group: str, decision: Decision) -> dict[str, Any]:
    """A decision as data: equal decisions are equal bytes, whenever they are made."""
    return {
        "group": group,
        "release": decision.release,
        "phase": str(decision.phase),
        "why": decision.why,
        "batch": decision.batch,
        "batches": decision.batches,
        "install": list(decision.install),
        "robots": {robot: str(status) for robot, status in decision.robots.items()},
    }


def _desired(step: Step, view: FleetView) -> str:
    """The release that the group should run; the repository has it, or gets it now. Raises FleetError."""
    from robot_assets.pipeline.kinds.release import publish

    group, latest = step.name.group, step.versions[names.release(step.name.group)]
    published, pin = view.releases(group), view.fleet.groups[group].release
    wanted = latest if pin == LATEST else _pinned(group, pin, dict.fromkeys((*published, latest)))
    if wanted in published or publish(step.project, group, latest, step.inputs[names.release(group)], step.note):
        return wanted
    raise FleetError(
        f"the repository {view.repository.files.name} does not have the release {short(wanted)} of {group}, and the "
        "key of the role releases is not here",
        needed=f"a signed release; the repository has {_listed(published)}",
        fix=f"robot-assets fleet publish {group}   # where releases.pem is",
    )


def _pinned(group: str, digits: str, known: Iterable[str]) -> str:
    """The one version that begins with the digits of params.yaml. Raises FleetError."""
    known = tuple(known)
    matching = [version for version in known if version.startswith(digits.removesuffix(".dir"))]
    if len(matching) == 1:
        return matching[0]
    pin = f"robot-assets fleet pin {group} {short((matching or known)[0])}"
    what = f"is the begin of {_listed(matching)}" if matching else "is no release of the distribution repository"
    publish = f"robot-assets fleet publish {group} --release {digits}   # where releases.pem is; or: "
    raise FleetError(
        f"fleet.groups.{group}.release: {digits} {what}",
        needed=f"{LATEST}, or the first digits of one of {_listed(known)}",
        fix=pin if matching else f"{publish}{pin}",
    )


def _listed(versions: Iterable[str]) -> str:
    return listed(map(short, versions)) or "none"


def _assignments(
    group: str, fleet: FleetSpec, decision: Decision, bundle_sha256: str | None, now: datetime
) -> Assignments:
    from robot_assets.fleet.assignments import Assignments

    policy = fleet.groups[group].rollout
    return Assignments(
        group=group,
        release=decision.release,
        bundle_sha256=bundle_sha256,
        install=decision.install,
        download_ahead=policy.download_ahead,
        window=policy.window.model_dump(mode="json") if policy.window else None,
        prove_s=policy.prove_s,
        silence_s=policy.silence_s,
        bake_s=policy.bake_s,
        on_recall=policy.on_recall,
        recalls=fleet.recalls,
        issued_at=now.isoformat(timespec="seconds"),
    )


def facts(result: RolledOut) -> Facts:
    """The phase, the batch, and how many robots have which status."""
    from collections import Counter

    decision = result.decision
    return Facts(
        decision.why,
        {
            "phase": str(decision.phase),
            "release": decision.release or "none",
            "batch": decision.batch,
            "batches": decision.batches,
            "robots": dict(Counter(str(status) for status in decision.robots.values())),
            "has_changed": result.has_changed,
        },
    )


def page(step: Step, result: RolledOut) -> Page:
    """The batches as a picture, a row for each robot, and the reports that do not count."""
    from robot_assets.fleet.figure import draw
    from robot_assets.fleet.table import left_out, rows

    decision, group = result.decision, step.spec.groups[step.name.group]
    received = result.reported.reports.received
    blocks: list[Block] = [Picture(draw(decision, step.name.group), f"Rollout of {step.name.group}: {decision.why}")]
    blocks.append(Table("robot", rows(decision, group, received, result.decided_at, at_most=_ROWS)))
    if more := left_out(decision, _ROWS):
        blocks.append(Text(more))
    if refused := result.reported.reports.refused:
        shown = dict(list(refused.items())[:_ROWS])
        blocks.append(Table("refused report", {name: {"why": reason} for name, reason in shown.items()}))
    if remarks := result.reported.reports.remarks:
        blocks.append(Table("robot", {robot: {"remark": remark} for robot, remark in remarks.items()}))
    return Page(tuple(blocks), headline=decision.why)


KIND = StageKind(
    name="rollout",
    pattern=names.ROLLOUT,
    group="fleet",
    traits=AssetTraits(role="Rollout", files=(DECISION_FILE,)),
    stages=stages,
    production=Production(
        description="Which robots of {group} may have its release now: decided from their reports and the policy, and "
        "published to them.",
        policy="auto",
        tools=("tuf",),
        run=run,
        facts=facts,
        page=page,
        fleet_keys=("assignments", "snapshot", "timestamp"),
    ),
)
