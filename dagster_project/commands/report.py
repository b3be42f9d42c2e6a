"""``robot-assets platform report``: a device tells the instance what it is."""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from robot_assets.cli.console import answer
from robot_assets.cli.platform import JsonOption, app
from robot_assets.core.errors import ParamsError, PlatformError
from robot_assets.lineage.graph import platform_name
from robot_assets.pipeline.project import Project, find_project
from robot_assets.platforms.probe import Platform, probe
from robot_assets.platforms.report import read_report

if TYPE_CHECKING:
    import dagster as dg

__all__ = ["Reported", "app", "report_platform"]


@dataclass(frozen=True)
class Reported:
    """What a report came to.

    Attributes:
        asset: The observed asset.
        fingerprint: What the device is.
        before: Its fingerprint at the report before; None when this is the first.
        changes: What is different, one fact a line.
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


@app.command()
def report(
    target: Annotated[
        str, typer.Argument(metavar="TARGET", help="A name under targets in params.yaml, with platform: reported.")
    ],
    probe_file: Annotated[
        str | None,
        typer.Option(
            "--probe", metavar="FILE", help="What `platform probe --json` printed on the device; - for stdin."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Record on the instance what the device of TARGET is: this device, or the one that FILE tells of.

    Example: ssh orin robot-assets platform probe --json | robot-assets platform report orin --probe -
    """
    project = find_project()
    refuse_unreported(project, target)
    device = probe() if probe_file is None else read_report(*_read(probe_file))
    done = report_platform(project, _open_instance(project), target, device)
    answer({**asdict(done), "changed": done.changed}, as_json, lambda: _print(done))


def report_platform(project: Project, instance: dg.DagsterInstance, target: str, device: Platform) -> Reported:
    """Record what the device of ``target`` is, when that is not what it was.

    Raises:
        ParamsError: params.yaml has no such target.
        PlatformError: The device of ``target`` is not one that reports itself.
    """
    from dagster_project.observed import in_words, seen_platform
    from dagster_project.observing.observations import (
        changes,
        latest_observation,
        new_observation,
        observed_data_version,
    )

    refuse_unreported(project, target)
    name = platform_name(target)
    sighting = seen_platform(device, f"the device itself: {in_words(device)}")
    last = latest_observation(instance, name)
    before = observed_data_version(last)
    if before != sighting.version:
        instance.report_runless_asset_event(new_observation(name, sighting, last))
    return Reported(name, sighting.version, before, tuple(changes(sighting, last)), _where(instance))


def refuse_unreported(project: Project, target: str) -> None:
    """Raise unless ``target`` is there and reports itself."""
    targets = project.params.targets
    if target not in targets:
        raise ParamsError(
            f"params.yaml has no target {target!r}",
            needed=f"one of {sorted(targets)}",
            fix=f"correct the name, or add targets.{target} to params.yaml",
        )
    if targets[target].platform == "node":
        raise PlatformError(
            f"the platform of {target} is what its Kubernetes nodes say, which the sensor `platforms` reads",
            needed="a target whose device reports itself",
            fix="on the node: robot-assets platform publish --node NODE; k8s/nodes has a DaemonSet that does it",
        )
    if targets[target].platform == "here":
        raise PlatformError(
            f"the platform of {target} is the machine of the code location, which the sensor `platforms` probes",
            needed="a target whose device reports itself",
            fix=f"set targets.{target}.platform to reported in params.yaml, or leave it to the sensor",
        )


def _read(file: str) -> tuple[bytes, str]:
    """The content of a file, and what to call it."""
    if file == "-":
        return sys.stdin.buffer.read(), "the standard input"
    try:
        return Path(file).read_bytes(), file
    except OSError as error:
        raise PlatformError(
            f"{file} cannot be read: {error.strerror}",
            needed="what robot-assets platform probe --json printed on the device",
            fix=f"on the device: robot-assets platform probe --json > {file}",
        ) from None


def _open_instance(project: Project) -> dg.DagsterInstance:
    from dagster_project.local.instance import ensure_dagster_home

    ensure_dagster_home(project.root)
    import dagster as dg

    return dg.DagsterInstance.get()


def _where(instance: dg.DagsterInstance) -> str:
    """The instance by its folder: a device whose DAGSTER_HOME is not the fleet's tells nobody but itself."""
    return str(instance.root_directory) if instance.is_persistent else "in memory"


def _print(done: Reported) -> None:
    if not done.changed:
        print(f"{done.asset} is as it was: {done.fingerprint[:8]}")
    elif done.before is None:
        print(f"{done.asset} is {done.fingerprint[:8]}: its first report")
    else:
        print(f"{done.asset} changed: {done.before[:8]} -> {done.fingerprint[:8]}; its engines are stale now")
        for line in done.changes:
            print(f"  {line}")
    print(f"instance: {done.instance}")
