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
from dagster_project.observed import Observer, is_reported, require_available
from dagster_project.observing.observations import changes, latest_observation, new_observation, step
from robot_assets.core.errors import RobotAssetsError
from robot_assets.lineage.graph import Kind, build_graph
from robot_assets.pipeline.project import Project

_DESCRIPTIONS = {
    "data_pointers": (
        "Reads the hash of every recorded data set where params.yaml says: in its .dvc pointer or in dvc.lock, in the "
        "working tree or in a git repository. A new hash is recorded as an observation of raw/<dataset>, once its "
        "data can be had: so dvc add, dvc push and git push start a rebuild."
    ),
    "platforms": (
        "Probes this machine for every target with `platform: here`, and reads what the Kubernetes nodes say of every "
        "target with `platform: node`. What has changed is recorded as an observation of platform/<target>. Other "
        "devices report themselves: robot-assets platform report."
    ),
}
_KINDS = {"data_pointers": Kind.RAW, "platforms": Kind.PLATFORM}


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
    """Both sensors of the project at ``root``, which is read again at every look."""
    params = Project(root).params
    known = frozenset(build_graph(params))
    interval_s = params.rebuild.interval_s
    # A device is looked at twice as often: this look and the one of stale_assets after it then fit into two intervals.
    intervals = {"data_pointers": interval_s, "platforms": max(1, interval_s // 2)}
    return [_sensor(name, root, known, intervals[name]) for name in _DESCRIPTIONS]


def _sensor(name: str, root: Path, known: Collection[str], interval_s: int) -> dg.SensorDefinition:
    @dg.sensor(
        name=name,
        minimum_interval_seconds=interval_s,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=_DESCRIPTIONS[name],
    )
    def observing(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        return tick(root, context.instance, _KINDS[name], known)

    return observing


def tick(root: Path, instance: dg.DagsterInstance, kind: Kind, known: Collection[str]) -> dg.SensorResult:
    """One look: what has changed is recorded, and what could not be read is named.

    Raises:
        ObservationFailed: Something could not be read, and nothing was to be recorded beside it. A tick that fails
            records nothing, so the failure waits for a tick that has nothing else to say: the next one.
    """
    try:
        project = Project(root)
        stages = build_graph(project.params).values()
    except RobotAssetsError as error:
        raise ObservationFailed(_readable(error)) from None
    names = [stage.asset for stage in stages if stage.kind is kind and stage.is_observed]
    found = look(project, instance, names, known)
    if found.failed and not found.events:
        raise ObservationFailed("\n\n".join(f"{name}: {text}" for name, text in found.failed.items()))
    return dg.SensorResult(asset_events=found.events, skip_reason=" | ".join(_sentences(found, kind)))


def look(project: Project, instance: dg.DagsterInstance, names: Iterable[str], known: Collection[str]) -> Look:
    """See what ``names`` are now. An error of one hides nothing of the others."""
    found = Look()
    observer = Observer(project, read_device)
    seen = latest_versions(instance, OBSERVATION)
    for name in names:
        if name not in known:
            found.unknown.append(name)
        elif is_reported(project, name):
            found.reported.append(name)
        else:
            before = seen[name].data_version if name in seen else None
            _see(found, observer, instance, name, before)
    return found


def _see(found: Look, observer: Observer, instance: dg.DagsterInstance, name: str, before: str | None) -> None:
    try:
        sighting = observer.see(name)
        if sighting is None or sighting.version == before:
            found.unchanged.append(name)
            return
        require_available(observer.project, name, sighting.version)
        last = latest_observation(instance, name)
        different = ", ".join(changes(sighting, last)) if name.startswith("platform/") else ""
        found.events.append(new_observation(name, sighting, last))
        found.changed.append(f"{name}: {step(sighting, last)} ({different or sighting.what})")
    except RobotAssetsError as error:
        found.failed[name] = _readable(error)
    except Exception:  # whatever is wrong with one must not hide the others; the trace is in the message
        found.failed[name] = f"unexpected error\n{traceback.format_exc(limit=-3)}"


def _sentences(found: Look, kind: Kind) -> list[str]:
    """What a person reads on a tick."""
    noun = "data pointer" if kind is Kind.RAW else "platform"
    said = [f"recorded {'; '.join(found.changed)}"] if found.changed else []
    said += [f"error: {name}: {' '.join(text.split())}" for name, text in found.failed.items()]
    if count := len(found.unchanged):
        said.append(f"{count} {noun}{'s are' if count > 1 else ' is'} as before: {_some(found.unchanged)}")
    if found.reported:
        said.append(f"left to their own reports: {_some(found.reported)}")
    if found.unknown:
        said.append(f"new in params.yaml; reload the code location to observe it: {_some(found.unknown)}")
    nothing = "no recorded data sets in params.yaml" if kind is Kind.RAW else "no targets in params.yaml"
    return said or [nothing]


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _readable(error: RobotAssetsError) -> str:
    return f"{error.found}\nneeded: {error.needed}\nfix: {error.fix}"
