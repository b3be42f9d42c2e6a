"""``robot-assets fleet demo``: a fleet on this machine, with real agents."""

from __future__ import annotations

from typing import Annotated

import typer

from robot_assets.cli import completion
from robot_assets.cli.console import console
from robot_assets.core.extras import require
from robot_assets.pipeline.project import find_project


def demo(
    group: Annotated[
        str | None,
        typer.Argument(metavar="GROUP", help="By default the first of params.yaml.", autocompletion=completion.groups),
    ] = None,
) -> None:
    """Simulate the robots of GROUP here: a release reaches them in batches, a bad one is refused, one is recalled.

    Takes about a minute and no cluster. params.yaml is as before afterwards, and nothing goes on running.

    Example: robot-assets fleet demo
    """
    require("dagster")
    from dagster_project.local.fleet_demo import Demo, prepare
    from dagster_project.local.instance import open_instance

    project = find_project()
    robots = prepare(project, group)
    with open_instance(project.root, writes=True) as instance:
        Demo(robots, instance, console()).run()
