"""``robot-assets``: the verbs of the domain, and ``build`` and ``status``, which need the instance."""

from __future__ import annotations

import logging
import os
import signal
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dagster_project.commands import publish as publishing
from dagster_project.commands.audit import audit
from dagster_project.local import gc_tuning as short_lived
from robot_assets.cli import data, engine, inspecting, profile, provenance
from robot_assets.cli.console import answer, console, errors_for_people, progress_bars
from robot_assets.core.errors import EngineError
from robot_assets.pipeline.project import Project, find_project

if TYPE_CHECKING:
    from collections.abc import Sequence

    import dagster as dg

    from robot_assets.lineage.staleness import Status

app = typer.Typer(
    help="Datasets, checkpoints, quantized models and engines for robots, as versioned assets.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.add_typer(data.app, name="data")
engine.app.command()(profile.profile)
engine.app.command()(inspecting.inspect)
engine.app.command()(inspecting.compare)
app.add_typer(engine.app, name="engine")
app.add_typer(provenance.key_app, name="key")
app.command()(provenance.verify)
app.command()(audit)
app.add_typer(publishing.app, name="platform")


def _open_asset(name: str) -> Path:
    """The present version of an asset, read-only from the store."""
    from dagster_project.instance.reader import latest_data_version

    project, instance, _ = _open()
    version = latest_data_version(instance, name)
    if version is None:
        raise EngineError(
            f"{name!r} is neither a directory here nor an asset that has been built",
            needed="an asset such as sidewalk_detector/engine/cpu, a directory with engine.onnx, or a data version",
            fix=f"robot-assets build {name}",
        )
    return project.store.open(version)


engine.asset_resolver = _open_asset

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for a machine.")]


@app.command()
def build(
    selection: Annotated[
        list[str] | None,
        typer.Argument(help="Asset names, model names or Dagster asset selections; none means everything."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Materialize what is missing or stale among the selection and its ancestors.

    Example: robot-assets build sidewalk_detector
    """
    from dagster_project.commands import build as building

    project, instance, definitions = _open()
    why: dict[str, str] = {}

    with progress_bars() as terminal:

        def announce(name: str, status: Status, causes: Sequence[str]) -> None:
            why[name] = "; ".join(causes)
            terminal.print(f"[bold]{name}[/bold]  [dim]{status.state}: {why[name]}[/dim]", highlight=False)

        wanted = building.build(project, definitions, instance, selection or [], announce)
    report = {"built": why, "assets": _summary(instance, wanted)}
    answer(report, as_json, lambda: _print_table(report))


@app.command()
def plan(
    selection: Annotated[list[str] | None, typer.Argument(help="As for build; none means everything.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Show what is not fresh, why, what would be rebuilt where, and the expected cost. Exit code 2 when something is.

    Example: robot-assets plan sidewalk_detector
    """
    from dagster_project.commands.plan import as_json as plan_as_json
    from dagster_project.commands.plan import print_plan
    from dagster_project.instance.status import look_around, select

    project, instance, definitions = _open()
    wanted = select(project, definitions, selection or [])
    standing = look_around(project, instance, wanted)
    steps = standing.plan(instance, project)
    answer(plan_as_json(standing, steps), as_json, lambda: print_plan(standing, steps))
    if steps:
        raise typer.Exit(2)


@app.command()
def ui(port: Annotated[int, typer.Option(help="Port on 127.0.0.1.")] = 3000) -> None:
    """Open the Dagster UI and daemon on this checkout's instance, for this machine alone.

    Example: robot-assets ui --port 3001
    """
    from dagster_project.local.instance import ensure_dagster_home

    project = find_project()
    ensure_dagster_home(project.root)
    os.chdir(project.root)
    dagster = str(Path(sys.executable).with_name("dagster"))
    # `dagster dev` ends its children with SIGINT, which shells make background commands ignore.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.execv(dagster, [dagster, "dev", "--host", "127.0.0.1", "--port", str(port)])


def _open() -> tuple[Project, dg.DagsterInstance, dg.Definitions]:
    """The project, its instance and its code location. Dagster is imported here, so that --help stays quick."""
    from dagster_project.local.instance import ensure_dagster_home

    project = find_project()
    ensure_dagster_home(project.root)
    import dagster as dg

    from dagster_project.definitions import defs

    return project, dg.DagsterInstance.get(), defs


def _summary(instance: dg.DagsterInstance, names: Sequence[str]) -> dict[str, dict[str, object]]:
    from dagster_project.instance.reader import latest_metadata

    found = {}
    for name, metadata in latest_metadata(instance, names).items():
        record = metadata["record"]
        found[name] = {
            "data_version": record["data_version"],
            "duration_s": record["duration_s"],
            "headline": metadata["headline"],
        }
    return {name: found[name] for name in names if name in found}


def _print_table(report: dict[str, Any]) -> None:
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False)
    for title in ("asset", "data version", "duration", "headline"):
        table.add_column(title, no_wrap=title != "headline", justify="right" if title == "duration" else "left")
    for name, row in report["assets"].items():
        style = "" if name in report["built"] else "dim"
        version = row["data_version"].removesuffix(".dir")[:12]
        table.add_row(name, version, f"{row['duration_s']:.1f} s", row["headline"], style=style)
    console().print(table, highlight=False)
    count = len(report["built"])
    print(f"built {count} asset{'s' if count > 1 else ''}" if count else "everything is fresh")


def main() -> None:
    """Entry point of the ``robot-assets`` command."""
    short_lived.begin()
    _hush_libraries()
    with errors_for_people():
        app(prog_name="robot-assets")


def _hush_libraries() -> None:
    """Keep notes between libraries off the terminal: GPU kernels that a CPU build lacks, deprecations in torch."""
    for name in ("torchao", "torch.utils._pytree"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", category=FutureWarning, module="copyreg|torch")
