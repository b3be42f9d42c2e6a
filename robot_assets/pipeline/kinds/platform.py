"""``platform/<target>``: what the device of a target is. Observed, never built; it holds no bytes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from robot_assets.core.errors import PlatformError, RobotAssetsError
from robot_assets.core.text import listed, plural
from robot_assets.lineage.graph import AssetTraits, Stage
from robot_assets.pipeline import names
from robot_assets.pipeline.kind import Observation, Observer, Sensor, Sighting, StageKind
from robot_assets.platforms.probe import Platform, probe

if TYPE_CHECKING:
    from robot_assets.pipeline.names import AssetName
    from robot_assets.pipeline.params import Params
    from robot_assets.pipeline.project import Project


def stages(params: Params) -> Iterator[Stage]:
    """One for each target."""
    for target in params.targets:
        yield Stage(names.platform(target), KIND.name, pool=target)


def observe(observer: Observer, name: AssetName) -> Sighting | None:
    """The device of a target; None when it reports itself, or when nobody can be asked from here.

    Raises:
        PlatformError: The device cannot be probed, or its nodes cannot be asked or are different devices.
        FleetError: The reports of its robots cannot be read.
    """
    match _mode(observer.project, name):
        case "here":
            return seen(observer.once("this machine", probe), "this machine")
        case "node" if observer.nodes is not None:
            return seen(*observer.nodes(name.target))
        case "fleet" if not observer.is_step:
            return _seen_by_robots(observer, name.target)
    return None


def _seen_by_robots(observer: Observer, target: str) -> Sighting | None:
    """The device that most robots of a target report; None when no robot has reported lately."""
    from robot_assets.fleet.devices import devices_of, most_common, reported_lately
    from robot_assets.pipeline.kinds.fleet import reported

    now, reports = datetime.now(UTC), []
    for group, entry in observer.project.params.fleet.groups.items():
        if entry.target == target and (found := reported(observer, group)) is not None:
            reports += reported_lately(found.reports.received, entry.rollout.offline_s, now)
    found_devices = devices_of(reports)
    if (chosen := most_common(found_devices)) is None:
        return None
    others = {in_words(one.device): one for one in found_devices if one is not chosen}
    sighting = seen(chosen.device, f"the reports of {plural(len(chosen.robots), 'robot')}")
    if not others:
        return sighting
    lines = [f"{words}: {listed(one.robots)}" for words, one in others.items()]
    count = sum(len(one.robots) for one in others.values())
    what = f"{sighting.what} ({plural(count, 'robot')} with another device)"
    return replace(sighting, what=what, facts={**sighting.facts, "other devices": lines})


def seen(device: Platform, what: str) -> Sighting:
    """A device as a sighting."""
    return Sighting(device.fingerprint, what, device.as_json())


def in_words(device: Platform) -> str:
    """A device in one line."""
    runtime = f"ONNX Runtime {device.onnxruntime}" if device.onnxruntime else ""
    jetson = f"Jetson Linux {device.l4t}" if device.l4t else ""
    return ", ".join(filter(None, (device.board, jetson, device.architecture, runtime)))


def require_this_device(target: str, mode: str, expected_version: str) -> None:
    """Make sure that this machine is the device that an asset is to be made on.

    Args:
        target: Name under ``targets`` in params.yaml.
        mode: How its device is observed: ``here``, ``reported``, ``node`` or ``fleet``.
        expected_version: Fingerprint that lineage has for it.

    Raises:
        PlatformError: This machine is another one.
    """
    here = probe()
    if here.fingerprint == expected_version:
        return
    fixes = {
        "reported": f"run it on the device of {target}; if this is that device: robot-assets platform report {target}",
        "node": f"if this is a node of {target}, the sensor `platforms` observes the change and has the engine "
        "rebuilt; a step must see of its device what platform-publisher sees (docs/kubernetes.md)",
        "fleet": f"robot-assets platform probe   # shows what this machine has; build on a device with what the robots "
        f"of {target} report (robot-assets fleet status), or update this one likewise",
        "here": f"run it on the machine of the code location, or set targets.{target}.platform to reported in "
        "params.yaml",
    }
    raise PlatformError(
        f"this machine is {here.fingerprint[:8]} ({in_words(here)}), and platform/{target} was observed as "
        f"{expected_version[:8]}",
        needed=f"the device that the engine is for: an engine of {target} is built and checked on {target}",
        fix=fixes[mode],
    )


def _unseen(project: Project, name: AssetName) -> RobotAssetsError:
    if _mode(project, name) == "fleet":
        return _unseen_by_robots(project, name.target)
    if reports_itself(project, name):
        return PlatformError(
            f"{name} has never been reported: the device of {name.target} reports itself",
            needed="a report from the device",
            fix=f"robot-assets platform report {name.target}   # on the device; or from here: ssh DEVICE robot-assets "
            f"platform probe --json | robot-assets platform report {name.target} --probe -",
        )
    return PlatformError(
        f"{name} is published by the nodes of the cluster, which a step has no rights to read",
        needed="the sensor `platforms`, which may read them",
        fix="switch the sensor `platforms` on; it observes by itself",
    )


def _unseen_by_robots(project: Project, target: str) -> RobotAssetsError:
    groups = [name for name, entry in project.params.fleet.groups.items() if entry.target == target]
    return PlatformError(
        f"no robot of {listed(groups)} has reported lately what it is, and platform/{target} is what they report",
        needed=f"a report of a robot with the target {target}",
        fix=f"robot-assets fleet status   # shows who has reported; until then: set targets.{target}.platform to here, "
        "reported or node in params.yaml",
    )


def reports_itself(project: Project, name: AssetName) -> bool:
    """Whether the device says itself what it is: its version is its latest report."""
    return _mode(project, name) == "reported"


def _mode(project: Project, name: AssetName) -> str:
    return project.params.targets[name.target].platform


def _nothing_to_open(project: Project, name: AssetName, version: str) -> Path:
    return project.root


KIND = StageKind(
    name="platform",
    pattern=names.PLATFORM,
    group="platforms",
    traits=AssetTraits(role="Device", holds_bytes=False),
    stages=stages,
    observation=Observation(
        description="What the device is: its runtimes, its processor features, and on a Jetson its JetPack, TensorRT "
        "and GPU. A change makes exactly the engines of this target stale.",
        tools=("cpu",),
        sensor=Sensor(
            name="platforms",
            description="Probes this machine for every target with `platform: here`, and reads what the Kubernetes "
            "nodes publish for every target with `platform: node`, and what robots report for every target with "
            "`platform: fleet`. A change is recorded as an observation of "
            "platform/<target>. Other devices report themselves: robot-assets platform report.",
            noun="platform",
            idle="no targets in params.yaml",
            intervals=2,  # so that this look and the one of stale_assets after it fit into two of its intervals
        ),
        observe=observe,
        unseen=_unseen,
        reports_itself=reports_itself,
        require_available=lambda project, name, version: None,
        open=_nothing_to_open,
        shows_changes=True,
    ),
)
