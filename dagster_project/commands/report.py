"""``robot-assets platform report``: record on the instance what a device is."""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from robot_assets.cli import completion
from robot_assets.cli.console import JsonOption, answer
from robot_assets.core.errors import ParamsError, PlatformError
from robot_assets.core.extras import require
from robot_assets.core.text import escaped, listed, near_misses
from robot_assets.pipeline.project import Project, find_project

if TYPE_CHECKING:
    import dagster as dg

    from robot_assets.platforms.probe import Platform


@dataclass(frozen=True)
class Report:
    """The result of a report.

    Attributes:
        asset: The observed asset.
        fingerprint: Of the device.
        before: Its fingerprint at the previous report; None when this is the first.
        changes: The differences, one fact a line.
        instance: Where it was recorded.
    """

    asset: str
    fingerprint: str
    before: str | None
    changes: tuple[str, ...]
    instance: str

    @property
    def changed(self) -> bool:
        """Whether there was anything to record."""
        return self.fingerprint != self.before


def report(
    target: Annotated[
        str,
        typer.Argument(
            metavar="TARGET",
            help="A name under targets in params.yaml, with platform: reported.",
            autocompletion=completion.targets,
        ),
    ],
    probe_file: Annotated[
        str | None,
        typer.Option(
            "--probe", metavar="FILE", help="Output of `platform probe --json` on the device; - for the standard input."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Record on the instance what the device of TARGET is: this device, or the one that FILE describes.

    Example: ssh orin robot-assets platform probe --json | robot-assets platform report orin --probe -
    """
    require("dagster")
    from dagster_project.local.instance import open_instance
    from robot_assets.platforms.probe import probe
    from robot_assets.platforms.report import read_report

    project = find_project()
    _refuse_unreported(project, target)
    device = probe() if probe_file is None else read_report(*_read(probe_file))
    with open_instance(project.root, writes=True) as instance:
        done = _record(instance, target, device)
    answer({**asdict(done), "changed": done.changed}, as_json, lambda: _print(done))


def _record(instance: dg.DagsterInstance, target: str, device: Platform) -> Report:
    """Record ``device`` where it differs from the last observation."""
    from dagster_project.observing.observations import (
        changes,
        latest_observation,
        new_observation,
        observed_data_version,
    )
    from robot_assets.pipeline import names
    from robot_assets.pipeline.kinds.platform import in_words, seen

    asset = names.platform(target)
    sighting = seen(device, f"the device itself: {in_words(device)}")
    last = latest_observation(instance, asset)
    before = observed_data_version(last)
    if before != sighting.version:
        instance.report_runless_asset_event(new_observation(asset, sighting, last))
    return Report(asset, sighting.version, before, tuple(changes(sighting, last)), _where(instance))


def _refuse_unreported(project: Project, target: str) -> None:
    """Raise unless ``target`` exists and its device reports itself."""
    targets = project.params.targets
    if target not in targets:
        raise _unknown_target(project, target)
    if targets[target].platform == "node":
        raise PlatformError(
            f"the platform of {target} is published by its Kubernetes nodes and read by the sensor `platforms`",
            needed="a target whose device reports itself",
            fix="robot-assets platform publish --node NODE   # on the node; a DaemonSet in k8s/nodes runs it",
        )
    if targets[target].platform == "here":
        raise PlatformError(
            f"the platform of {target} is the machine of the code location, which the sensor `platforms` probes",
            needed="a target whose device reports itself",
            fix=f"robot-assets plan platform/{target}   # probes it; or set targets.{target}.platform to reported",
        )
    if targets[target].platform != "reported":
        raise PlatformError(
            f"the platform of {target} is what its robots report, which the sensor `platforms` reads",
            needed="a target whose device reports itself",
            fix=f"robot-assets plan platform/{target}   # reads them; or set targets.{target}.platform to reported",
        )


def _unknown_target(project: Project, target: str) -> ParamsError:
    targets = project.params.targets
    reported = [name for name, one in targets.items() if one.platform == "reported"]
    near = near_misses(target, reported) or near_misses(target, targets)
    return ParamsError(
        f"params.yaml has no target {target!r}",
        needed=f"one of: {listed(reported)}" if reported else "a target with platform: reported",
        fix=f"robot-assets platform report {near[0]}" if near else f"add targets.{target} to params.yaml",
    )


def _read(file: str) -> tuple[bytes, str]:
    """The content of a file, and its name for messages."""
    if file == "-":
        return sys.stdin.buffer.read(), "the standard input"
    try:
        return Path(file).read_bytes(), file
    except OSError as error:
        raise PlatformError(
            f"{file} cannot be read: {error.strerror}",
            needed="the output of robot-assets platform probe --json on the device",
            fix=f"robot-assets platform probe --json > {file}   # on the device",
        ) from None


def _where(instance: dg.DagsterInstance) -> str:
    """The folder of the instance, which shows a wrong DAGSTER_HOME."""
    return str(instance.root_directory) if instance.is_persistent else "in memory"


def _print(done: Report) -> None:
    if not done.changed:
        print(f"{done.asset} is unchanged: {done.fingerprint[:8]}")
    elif done.before is None:
        print(f"{done.asset} is {done.fingerprint[:8]}: its first report")
    else:
        print(f"{done.asset} changed: {done.before[:8]} -> {done.fingerprint[:8]}; its engines are stale now")
        for line in done.changes:
            print(f"  {escaped(line)}")
    print(f"instance: {done.instance}")
