"""The ``robot-assets`` command: the commands of the domain, and those that installed packages add."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from robot_assets.cli import (
    agent,
    data,
    engine,
    fleet,
    fleet_keys,
    fleet_orders,
    fleet_recall,
    fleet_status,
    init,
    inspection,
    model,
    model_inspection,
    platform,
    profile,
    provenance,
    streams,
)
from robot_assets.cli.edge import DEBUG_VARIABLE, PROGRAM, is_debugging, readable_errors
from robot_assets.cli.plugins import ExtensibleGroup
from robot_assets.cli.usage import options, refuse_empty
from robot_assets.cli.version import print_version

_DEBUG = "--debug"
_COMPLETION_VARIABLE = "_ROBOT_ASSETS_COMPLETE"
"""Set by the scripts of ``--install-completion``."""

app = typer.Typer(
    cls=ExtensibleGroup,
    help="Datasets, checkpoints, quantized models and engines for robots, as versioned assets.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(init.init)
app.command()(provenance.verify)
engine.app.command()(profile.profile)
engine.app.command()(inspection.inspect)
engine.app.command()(inspection.compare)
model.app.command()(model_inspection.inspect)
fleet.app.command()(fleet_keys.keys)
fleet.app.command()(fleet_keys.rotate)
fleet.app.command()(fleet_keys.refresh)
fleet.app.command()(fleet_status.status)
fleet.app.command()(fleet_orders.pause)
fleet.app.command()(fleet_orders.resume)
fleet.app.command()(fleet_orders.abort)
fleet.app.command()(fleet_orders.approve)
fleet.app.command()(fleet_orders.pin)
fleet.app.command()(fleet_recall.recall)
app.add_typer(engine.app, name="engine")
app.add_typer(model.app, name="model")
app.add_typer(platform.app, name="platform")
app.add_typer(data.app, name="data")
app.add_typer(provenance.key_app, name="key")
app.add_typer(fleet.app, name="fleet")
app.add_typer(agent.app, name="agent")


@app.callback()
def _of_every_command(
    version: Annotated[
        bool,
        typer.Option("--version", callback=print_version, is_eager=True, help="Show the version, and exit."),
    ] = False,
    debug: Annotated[
        bool,
        typer.Option(_DEBUG, help=f"Show the traceback of an error. Also after a command, and as {DEBUG_VARIABLE}=1."),
    ] = False,
) -> None:
    """Options of the program; ``main`` reads ``--debug`` wherever it is."""


def main() -> None:
    """Entry point of the ``robot-assets`` command."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command line in this process; return or exit with its exit code."""
    before = options(arguments)
    rest = [one for one in before if one != _DEBUG] + list(arguments[len(before) :])
    if _DEBUG in before:
        os.environ[DEBUG_VARIABLE] = "1"  # also for the processes that the command starts
    streams.prepare()
    if not is_debugging():
        streams.quiet_libraries()
    with readable_errors(rest):
        return _invoke(rest)


def _invoke(arguments: list[str]) -> int:
    """The command without typer's own handling of exceptions and exit codes."""
    if os.environ.get(_COMPLETION_VARIABLE):
        app(prog_name=PROGRAM)
    refuse_empty(arguments)
    command = typer.main.get_command(app)
    try:
        with command.make_context(PROGRAM, arguments) as context:
            command.invoke(context)
    except typer.Exit as done:
        return done.exit_code
    return 0
