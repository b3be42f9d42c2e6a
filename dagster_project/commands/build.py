"""``robot-assets build``: materialize what is missing or stale."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from robot_assets.cli import completion
from robot_assets.cli.console import JsonOption, answer, console, progress_bars
from robot_assets.core.extras import require
from robot_assets.core.text import plural
from robot_assets.pipeline.project import find_project

if TYPE_CHECKING:
    from collections.abc import Sequence

    import dagster as dg

    from robot_assets.lineage.staleness import Status


def build(
    selection: Annotated[
        list[str] | None,
        typer.Argument(
            help="Asset names, model names or Dagster asset selections; none means everything.",
            autocompletion=completion.selections,
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Materialize what is missing or stale among the selection and its ancestors.

    Example: robot-assets build sidewalk_detector
    """
    require("dagster")
    from dagster_project.local.instance import open_instance
    from dagster_project.local.waves import build as build_waves

    project = find_project()
    built: dict[str, str] = {}
    with open_instance(project.root, writes=True) as instance:
        from dagster_project.definitions import defs

        with progress_bars() as terminal:

            def announce(name: str, status: Status, causes: Sequence[str]) -> None:
                built[name] = "; ".join(causes)
                terminal.print(f"[bold]{name}[/bold]  [dim]{status.state}: {built[name]}[/dim]", highlight=False)

            wanted = build_waves(project, defs, instance, selection or [], announce)
        report = {"built": built, "assets": _summary(instance, wanted)}
    answer(report, as_json, lambda: _print(report))


def _summary(instance: dg.DagsterInstance, names: Sequence[str]) -> dict[str, dict[str, object]]:
    from dagster_project.instance.reader import latest_pages

    metadata = latest_pages(instance, names)
    return {name: _row(metadata[name]) for name in names if name in metadata}


def _row(metadata: Any) -> dict[str, object]:
    record = metadata["record"]
    return {
        "data_version": record["data_version"],
        "duration_s": record["duration_s"],
        "headline": metadata["headline"],
    }


def _print(report: dict[str, Any]) -> None:
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False)
    for title in ("asset", "data version", "duration", "headline"):
        table.add_column(title, no_wrap=title != "headline", justify="right" if title == "duration" else "left")
    for name, row in report["assets"].items():
        version = row["data_version"].removesuffix(".dir")[:12]
        style = "" if name in report["built"] else "dim"
        table.add_row(name, version, f"{row['duration_s']:.1f} s", row["headline"], style=style)
    console().print(table, highlight=False)
    print(f"built {plural(len(report['built']), 'asset')}" if report["built"] else "everything is fresh")
