"""``data_pointers`` and ``platforms``: the sensors of observed assets.

They record an observation when a version differs from the last observation, and start no runs: the sensor
``stale_assets`` decides what to rebuild.
"""

import traceback
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

import dagster as dg

from dagster_project.instance.event_log import OBSERVATION, latest_versions
from dagster_project.kubernetes.nodes import read_device
from dagster_project.observing.observations import changes, is_new, latest_observation, new_observation, transition
from robot_assets.core.errors import RobotAssetsError
from robot_assets.core.text import listed, plural
from robot_assets.lineage.chain import DECLARATIONS
from robot_assets.pipeline.graph import build_graph
from robot_assets.pipeline.kind import Observer, Sensor
from robot_assets.pipeline.observing import observe, reports_itself, require_available, shows_changes
from robot_assets.pipeline.project import Project
from robot_assets.pipeline.registry import stage_kinds


class ObservationFailed(dg.DagsterError):
    """An asset could not be observed. A Dagster error, so that a tick shows its message without a stack trace."""


@dataclass
class Outcome:
    """The result of one tick.

    Attributes:
        events: Observations to record.
        changed: One line for each of them.
        failed: Asset -> error message with its fix.
        unchanged: Assets whose version has not changed.
        reported: Devices that report themselves.
        unknown: Assets that are not in the loaded code location.
    """

    events: list[dg.AssetObservation] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    unchanged: list[str] = field(default_factory=list)
    reported: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)


def observing_sensors(root: Path) -> list[dg.SensorDefinition]:
    """One sensor for each observed kind. Each tick reads the project at ``root`` again."""
    params = Project(root).params
    known = frozenset(build_graph(params))
    observations = [(name, kind.observation) for name, kind in stage_kinds().items() if kind.observation]
    return [_sensor(kind, one.sensor, root, known, params.rebuild.interval_s) for kind, one in observations]


def _sensor(kind: str, sensor: Sensor, root: Path, known: Collection[str], interval_s: int) -> dg.SensorDefinition:
    @dg.sensor(
        name=sensor.name,
        minimum_interval_seconds=max(1, interval_s // sensor.intervals),
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=sensor.description,
    )
    def observing(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        return tick(root, context.instance, kind, known)

    return observing


def tick(root: Path, instance: dg.DagsterInstance, kind: str, known: Collection[str]) -> dg.SensorResult:
    """Observe all assets of a kind: changes are recorded, errors are named.

    Raises:
        ObservationFailed: An asset could not be observed, and no other has changed. A failed tick records nothing, so
            while there are changes the errors are in the message of the tick, and the next tick fails.
    """
    try:
        project = Project(root)
        stages = build_graph(project.params).values()
    except RobotAssetsError as error:
        raise ObservationFailed(_readable(error)) from None
    assets = [stage.asset for stage in stages if stage.kind == kind and stage.is_observed]
    found = poll(project, instance, assets, known)
    if found.failed and not found.events:
        raise ObservationFailed("\n\n".join(f"{asset}: {text}" for asset, text in found.failed.items()))
    observation = stage_kinds()[kind].observation
    sentences = _sentences(found, observation.sensor) if observation else []
    return dg.SensorResult(asset_events=found.events, skip_reason=" | ".join(sentences))


def poll(project: Project, instance: dg.DagsterInstance, assets: Collection[str], known: Collection[str]) -> Outcome:
    """Observe ``assets``. An error of one does not hide the others."""
    found = Outcome()
    observer = Observer(project, read_device)
    observed = latest_versions(instance, OBSERVATION, assets)
    for asset in assets:
        if asset not in known:
            found.unknown.append(asset)
        elif reports_itself(project, asset):
            found.reported.append(asset)
        else:
            before = observed[asset].data_version if asset in observed else None
            _observe(found, observer, instance, asset, before)
    return found


def _observe(found: Outcome, observer: Observer, instance: dg.DagsterInstance, asset: str, before: str | None) -> None:
    try:
        sighting = observe(observer, asset)
        is_known = sighting is None or (sighting.version == before and not sighting.facts.keys() & DECLARATIONS)
        last = None if is_known else latest_observation(instance, asset)
        if sighting is None or is_known or not is_new(sighting, last):
            found.unchanged.append(asset)
            return
        require_available(observer.project, asset, sighting.version)
        different = ", ".join(changes(sighting, last)) if shows_changes(asset) else ""
        found.events.append(new_observation(asset, sighting, last))
        found.changed.append(f"{asset}: {transition(sighting, last)} ({different or sighting.what})")
    except RobotAssetsError as error:
        found.failed[asset] = _readable(error)
    except Exception:  # an unexpected error of one must not hide the others; its stack trace is in the message
        found.failed[asset] = f"unexpected error\n{traceback.format_exc(limit=-3)}"


def _sentences(found: Outcome, sensor: Sensor) -> list[str]:
    """The parts of the message of a tick."""
    parts = [f"recorded {'; '.join(found.changed)}"] if found.changed else []
    parts += [f"error: {asset}: {' '.join(text.split())}" for asset, text in found.failed.items()]
    if count := len(found.unchanged):
        parts.append(f"{plural(count, sensor.noun)} unchanged: {listed(found.unchanged, 5)}")
    if found.reported:
        parts.append(f"self-reported: {listed(found.reported, 5)}")
    if found.unknown:
        parts.append(f"new in params.yaml; reload the code location to observe it: {listed(found.unknown, 5)}")
    return parts or [sensor.idle]


def _readable(error: RobotAssetsError) -> str:
    return f"{error.found}\nneeded: {error.needed}\nfix: {error.fix}"
