"""``robot-assets platform publish``: write what this device is to its node of a cluster."""

from __future__ import annotations

import signal
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from robot_assets.cli.console import JsonOption, answer
from robot_assets.core.errors import PlatformError
from robot_assets.core.extras import require

if TYPE_CHECKING:
    from dagster_project.kubernetes.nodes import Published


def publish(
    node: Annotated[str, typer.Option(help="Name of this machine's node.", envvar="ROBOT_ASSETS_NODE")],
    every: Annotated[
        int | None, typer.Option(min=1, metavar="SECONDS", help="Repeat at this interval until terminated.")
    ] = None,
    mark: Annotated[Path | None, typer.Option(help="File to touch after each success, for probes.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Write what this device is to an annotation of its Kubernetes node, when that has changed.

    Example: robot-assets platform publish --node orin-agx-1
    """
    require("kubernetes")
    if every is None:
        done = _publish(node, mark)
        answer({**asdict(done), "changed": done.changed}, as_json, lambda: print(_line(done)))
        return
    # the first process of a container ignores signals that it does not handle
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    while True:
        try:
            done = _publish(node, mark)
            if done.changed:
                print(_line(done), flush=True)
        except PlatformError as error:
            print(f"error: {error}", file=sys.stderr, flush=True)
        time.sleep(every)


def _publish(node: str, mark: Path | None) -> Published:
    from dagster_project.kubernetes.nodes import publish as publish_to
    from robot_assets.platforms.probe import probe

    done = publish_to(node, probe())
    if mark is not None:
        mark.touch()
    return done


def _line(done: Published) -> str:
    if not done.changed:
        return f"node {done.node} is unchanged: {done.fingerprint[:8]}"
    if done.before is None:
        return f"node {done.node} is {done.fingerprint[:8]}: published for the first time"
    return f"node {done.node} changed: {done.before[:8]} -> {done.fingerprint[:8]}"
