"""``data_pointers`` and ``platforms``: the sensors that look at what is made elsewhere.

They start nothing. An observation is recorded when, and only when, a version is another than the one observed last;
what follows from that is decided by ``stale_assets``.
"""

import traceback
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import dagster as dg

from dagster_project.instance.event_log import OBSERVATION, latest_versions
from dagster_project.kubernetes.nodes import read_device
from dagster_project.observing.observations import changes, latest_observation, new_observation, step
from robot_assets.core.errors import RobotAssetsError
from robot_assets.pipeline.graph import build_graph
from robot_assets.pipeline.kind import Observer, Sensor
from robot_assets.pipeline.observing import observe, reports_itself, require_available, shows_changes
from robot_assets.pipeline.project import Project
from robot_assets.pipeline.registry import stage_kinds


class ObservationFailed(dg.DagsterError):
    """Something could not be observed. Of Dagster's own family, so that a tick shows its text and nothing around it."""


@dataclass
class Look:
    """What one look came to.

    Attributes:
        events: Observations to record.
        changed: One line for each of them.
        failed: Asset -> what went wrong and what to do.
        unchanged: Assets that are as they were.
        reported: Devices that report themselves.
        unknown: Assets that the code location does not know yet.
    """

    events: list[dg.AssetObservation] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    unchanged: list[str] = field(default_factory=list)
    reported: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)


def observing_sensors(root: Path) -> list[dg.SensorDefinition]:
    """One sensor for each kind of asset that is observed. The project at ``root`` is read again at every look."""
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
    """One look at all assets of a kind: what has changed is recorded, and what could not be read is named.

    Raises:
        ObservationFailed: Something could not be read, and nothing was to be recorded beside it. A tick that fails
            records nothing, so the failure waits for a tick that has nothing else to say: the next one.
    """
    try:
        project = Project(root)
        stages = build_graph(project.params).values()
    except RobotAssetsError as error:
        raise ObservationFailed(_readable(error)) from None
    assets = [stage.asset for stage in stages if stage.kind == kind and stage.is_observed]
    found = look(project, instance, assets, known)
    if found.failed and not found.events:
        raise ObservationFailed("\n\n".join(f"{asset}: {text}" for asset, text in found.failed.items()))
    observation = stage_kinds()[kind].observation
    sentences = _sentences(found, observation.sensor) if observation else []
    return dg.SensorResult(asset_events=found.events, skip_reason=" | ".join(sentences))


def look(project: Project, instance: dg.DagsterInstance, assets: Iterable[str], known: Collection[str]) -> Look:
    """Observe ``assets``. An error of one hides nothing of the others."""
    found = Look()
    observer = Observer(project, read_device)
    observed = latest_versions(instance, OBSERVATION)
    for asset in assets:
        if asset not in known:
            found.unknown.append(asset)
        elif reports_itself(project, asset):
            found.reported.append(asset)
        else:
            before = observed[asset].data_version if asset in observed else None
            _observe(found, observer, instance, asset, before)
    return found


def _observe(found: Look, observer: Observer, instance: dg.DagsterInstance, asset: str, before: str | None) -> None:
    try:
        sighting = observe(observer, asset)
        if sighting is None or sighting.version == before:
            found.unchanged.append(asset)
            return
        require_available(observer.project, asset, sighting.version)
        last = latest_observation(instance, asset)
        different = ", ".join(changes(sighting, last)) if shows_changes(asset) else ""
        found.events.append(new_observation(asset, sighting, last))
        found.changed.append(f"{asset}: {step(sighting, last)} ({different or sighting.what})")
    except RobotAssetsError as error:
        found.failed[asset] = _readable(error)
    except Exception:  # whatever is wrong with one must not hide the others; the trace is in the message
        found.failed[asset] = f"unexpected error\n{traceback.format_exc(limit=-3)}"


def _sentences(found: Look, sensor: Sensor) -> list[str]:
    """What a person reads on a tick."""
    said = [f"recorded {'; '.join(found.changed)}"] if found.changed else []
    said += [f"error: {asset}: {' '.join(text.split())}" for asset, text in found.failed.items()]
    if count := len(found.unchanged):
        said.append(f"{count} {sensor.noun}{'s' if count > 1 else ''} unchanged: {_some(found.unchanged)}")
    if found.reported:
        said.append(f"left to their own reports: {_some(found.reported)}")
    if found.unknown:
        said.append(f"new in params.yaml; reload the code location to observe it: {_some(found.unknown)}")
    return said or [sensor.idle]


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _readable(error: RobotAssetsError) -> str:
    return f"{error.found}\nneeded: {error.needed}\nfix: {error.fix}"
