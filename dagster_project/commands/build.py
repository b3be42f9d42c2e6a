"""``robot-assets build``: materialize what is missing or stale."""

from __future__ import annotations

import shlex
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dagster_project.commands.records import print_records
from robot_assets.cli import completion
from robot_assets.cli.console import JsonOption, answer, print_above_bars, progress_bars
from robot_assets.core.errors import StoreError
from robot_assets.core.extras import require
from robot_assets.core.text import escaped, plural
from robot_assets.pipeline.project import find_project
from robot_assets.store.cache import OBJECTS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import dagster as dg
    from rich.text import Text

    from robot_assets.lineage.staleness import Status
    from robot_assets.pipeline.project import Project

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

        _require_shared_store(project, instance)
        if reason := missing_commit(project.root):
            print(f"{escaped(reason[0])}\n  fix: {reason[1]}", file=sys.stderr)
        with _ending_interrupted(), progress_bars() as terminal:

            def announce(name: str, status: Status, causes: Sequence[str]) -> None:
                built[name] = "; ".join(causes)
                print_above_bars(terminal, _line(name, f"{status.state}: {built[name]}"))

            wanted = build_waves(project, defs, instance, selection or [], announce)
        report = {"built": built, "assets": _summary(instance, wanted)}
    answer(report, as_json, lambda: _print(report))


def _require_shared_store(project: Project, instance: dg.DagsterInstance) -> None:
    """A share that is not mounted would be made anew in its mount point, and everything be built again into it.

    Raises:
        StoreError: Assets were built, and the shared folder of the store has no objects.
    """
    from dagster_project.instance.event_log import latest_materializations

    share = Path((project.store.remote_url or "").removeprefix("file://"))
    if not share.is_absolute() or (share / OBJECTS).is_dir() or not latest_materializations(instance):
        return
    state = "has no artifacts" if share.is_dir() else "does not exist"
    raise StoreError(
        f"the store {share} {state}, and assets of this project were built: is it mounted, or was it moved?",
        needed="the store with the artifacts that were built, or a folder that is prepared as an empty one",
        fix=f"ls -la {shlex.quote(str(share))}   # mount it, or correct store.url; to start with an empty one: "
        f"mkdir -p {shlex.quote(str(share / OBJECTS))}",
    )


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
