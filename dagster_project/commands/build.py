"""``robot-assets build``: materialize what is missing or stale."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dagster_project.commands.records import print_records
from robot_assets.cli import completion
from robot_assets.cli.console import JsonOption, answer, progress_bars
from robot_assets.core.extras import require
from robot_assets.core.text import escaped, plural
from robot_assets.pipeline.project import find_project

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import dagster as dg
    from rich.text import Text

    from robot_assets.lineage.staleness import Status

_INTERRUPTED = 128 + signal.SIGINT


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
    from robot_assets.lineage.record import missing_commit

    project = find_project()
    built: dict[str, str] = {}
    with open_instance(project.root, writes=True) as instance:
        from dagster_project.definitions import defs

        if reason := missing_commit(project.root):
            print(f"{escaped(reason[0])}\n  fix: {reason[1]}", file=sys.stderr)
        with _ending_interrupted(), progress_bars() as terminal:

            def announce(name: str, status: Status, causes: Sequence[str]) -> None:
                built[name] = "; ".join(causes)
                terminal.print(_line(name, f"{status.state}: {built[name]}"), highlight=False, soft_wrap=True)

            wanted = build_waves(project, defs, instance, selection or [], announce)
        report = {"built": built, "assets": _summary(instance, wanted)}
    answer(report, as_json, lambda: _print(report))


@contextmanager
def _ending_interrupted() -> Iterator[None]:
    """End with one line on Ctrl-C, also in the middle of a step."""
    from dagster_project.local.waves import BuildInterrupted

    try:
        yield
    except BuildInterrupted as interrupted:
        print(interrupted, file=sys.stderr)
        raise typer.Exit(_INTERRUPTED) from None


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


def _line(name: str, why: str) -> Text:
    from rich.text import Text

    return Text.assemble((escaped(name), "bold"), "  ", (escaped(why), "dim"))


def _print(report: dict[str, Any]) -> None:
    rows = {name: _columns(name, row) for name, row in report["assets"].items()}
    if rows:
        styles = ["" if name in report["built"] else "dim" for name in rows]
        print_records(("asset", "data version", "duration", "headline"), list(rows.values()), styles)
    print(f"built {plural(len(report['built']), 'asset')}" if report["built"] else "everything is fresh")


def _columns(name: str, row: Mapping[str, Any]) -> tuple[str, ...]:
    version = row["data_version"].removesuffix(".dir")[:12]
    return name, version, f"{row['duration_s']:.1f} s", row["headline"]
