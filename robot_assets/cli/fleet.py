"""``robot-assets fleet``: the distribution repository of a fleet, its keys and its robots.

The orders of people (pause, approve, pin, recall) are in ``robot_assets.cli.fleet_orders``.
"""

from __future__ import annotations

import typer

from robot_assets.cli.plugins import extensible

app = typer.Typer(
    cls=extensible("fleet"),
    help="Make the repository that robots take releases from, manage its keys, and roll releases out.",
    no_args_is_help=True,
)
