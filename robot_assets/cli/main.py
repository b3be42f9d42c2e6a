"""The ``robot-assets`` command: the commands of the domain, and those that installed packages add."""

from __future__ import annotations

import logging
import warnings

import typer

from robot_assets.cli import data, engine, inspection, platform, profile, provenance
from robot_assets.cli.console import readable_errors
from robot_assets.cli.plugins import ExtensibleGroup

app = typer.Typer(
    cls=ExtensibleGroup,
    help="Datasets, checkpoints, quantized models and engines for robots, as versioned assets.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.command()(provenance.verify)
engine.app.command()(profile.profile)
engine.app.command()(inspection.inspect)
engine.app.command()(inspection.compare)
app.add_typer(engine.app, name="engine")
app.add_typer(platform.app, name="platform")
app.add_typer(data.app, name="data")
app.add_typer(provenance.key_app, name="key")


def main() -> None:
    """Entry point of the ``robot-assets`` command."""
    _quiet_libraries()
    with readable_errors():
        app(prog_name="robot-assets")


def _quiet_libraries() -> None:
    """Keep notes between libraries off the terminal: GPU kernels that a CPU build lacks, deprecations in torch."""
    for name in ("torchao", "torch.utils._pytree"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", category=FutureWarning, module="copyreg|torch")
