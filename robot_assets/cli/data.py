"""``robot-assets data``: make, import, check and pack data sets."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from robot_assets.cli.console import JsonOption, answer, console, progress_bars
from robot_assets.cli.plugins import extensible
from robot_assets.core.errors import DataError, ParamsError
from robot_assets.core.text import plural
from robot_assets.pipeline.project import Project, find_project

if TYPE_CHECKING:
    from robot_assets.core.verdict import Verdict
    from robot_assets.data.importing.importer import ImportSummary
    from robot_assets.data.label_issues import LabelIssue
    from robot_assets.data.spec import DatasetSpec

app = typer.Typer(cls=extensible("data"), help="Make, import, check and pack data sets.", no_args_is_help=True)

NameArgument = Annotated[str, typer.Argument(help="A name under datasets in params.yaml.")]


@app.command()
def simulate(name: NameArgument, as_json: JsonOption = False) -> None:
    """Render the simulated data set NAME of params.yaml into data/raw/NAME.

    Example: robot-assets data simulate sidewalk
    """
    from robot_assets.data.simulate import simulate as render

    project = find_project()
    source = _spec(project, name).source
    if source.kind != "simulation":
        raise ParamsError(
            f"datasets.{name}.source.kind is {source.kind!r}",
            needed="a simulation",
            fix=f"robot-assets data import yolo SOURCE --name {name}   # recorded data is imported",
        )
    with progress_bars():
        summary = render(source, project.raw(name))
    facts = {"path": _here(project.raw(name)), **dataclasses.asdict(summary)}
    answer(facts, as_json, lambda: _print_facts(facts))


@app.command("import")
def import_(
    format: Annotated[Literal["yolo", "coco"], typer.Argument(help="Format of the labels.")],
    source: Annotated[Path, typer.Argument(help="Folder of the images and labels; for coco also the JSON file.")],
    name: Annotated[str, typer.Option(help="Name of the data set; it becomes data/raw/NAME and NAME.dvc.")],
    quarantine: Annotated[
        bool, typer.Option("--quarantine", help="Leave bad items out, even when they are more than 1 %.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Copy labelled images into data/raw/NAME, store them, and write the pointer for git.

    Example: robot-assets data import yolo ../robocup_ml --name robocup
    """
    from robot_assets.data.importing.importer import import_dataset
    from robot_assets.store import write_pointer

    project = find_project()
    out = project.raw(name)
    _refuse_name(project, name)
    with progress_bars():
        summary = import_dataset(format, source, out, quarantine=quarantine)
        artifact = project.store.add(out)
        pointer = out.with_name(f"{name}.dvc")
        write_pointer(pointer, artifact)
    facts = {
        "path": _here(out),
        "pointer": _here(pointer),
        "version": artifact.digest,
        "images": summary.images,
        "sessions": summary.sessions,
        "boxes": summary.classes,
        "clipped": summary.clipped,
        "unlisted_images": summary.unlisted,
        "quarantined": [dataclasses.asdict(issue) for issue in summary.quarantined],
        "quarantine_report": _here(summary.quarantine_report) if summary.quarantine_report else None,
    }
    answer(facts, as_json, lambda: _print_import(facts, summary))


@app.command()
def build(name: NameArgument, as_json: JsonOption = False) -> None:
    """Validate, split and pack data/raw/NAME into data/datasets/NAME. Dagster's datasets/NAME does the same.

    Example: robot-assets data build sidewalk
    """
    from robot_assets.data.dataset import build_dataset

    project = find_project()
    spec = _spec(project, name)
    with progress_bars():
        summary = build_dataset(_existing_raw(project, name), spec, project.packed(name))
    facts = {"path": _here(project.packed(name)), **dataclasses.asdict(summary)}
    answer(facts, as_json, lambda: _print_splits(facts))


@app.command()
def check(
    name: Annotated[str, typer.Argument(help="A name under datasets in params.yaml, or a folder of raw data.")],
    as_json: JsonOption = False,
) -> None:
    """Check raw data, and the data set packed from it. Exit code 1 when anything is bad.

    Example: robot-assets data check robocup
    """
    from robot_assets.data.raw import inspect_raw

    folder = Path(name)
    verdicts: dict[str, Verdict] = {}
    with progress_bars():
        if folder.is_dir() and (folder / "annotations.json").is_file():
            raw = inspect_raw(folder)
        else:
            project = find_project()
            spec = _spec(project, name)
            raw = inspect_raw(_existing_raw(project, name))
            verdicts = _verdicts(project.packed(name), spec, name)
    facts = {
        "passed": not raw.findings and all(verdict.passed for verdict in verdicts.values()),
        "raw": dataclasses.asdict(raw),
        "packed": {gate: dataclasses.asdict(verdict) for gate, verdict in verdicts.items()},
    }
    answer(facts, as_json, lambda: _print_check(facts, raw.findings, verdicts))
    if not facts["passed"]:
        raise typer.Exit(1)


def _here(path: Path) -> str:
    """A path relative to the working directory."""
    return os.path.relpath(path)


def _verdicts(packed: Path, spec: DatasetSpec, name: str) -> dict[str, Verdict]:
    """The gates of the packed data set, where there is one."""
    from robot_assets.data import checks

    if not packed.is_dir():
        return {}
    return {
        "leakage": checks.check_leakage(packed, spec, name),
        "classes": checks.check_classes(packed, spec, name),
        "boxes": checks.check_boxes(packed, spec, name),
    }


def _spec(project: Project, name: str) -> DatasetSpec:
    if name not in project.params.datasets:
        raise ParamsError(
            f"params.yaml has no data set {name!r}",
            needed=f"one of {sorted(project.params.datasets)}",
            fix=f"correct the name, or add datasets.{name} to params.yaml",
        )
    return project.params.datasets[name]


def _existing_raw(project: Project, name: str) -> Path:
    raw = project.raw(name)
    if not raw.is_dir():
        raise DataError(
            f"no raw data at {raw}",
            needed=f"the images and labels of {name}",
            fix=f"robot-assets data simulate {name}"
            if _spec(project, name).source.kind == "simulation"
            else f"robot-assets data import yolo SOURCE --name {name}   # or: dvc pull {raw}.dvc",
        )
    return raw


def _refuse_name(project: Project, name: str) -> None:
    from robot_assets.pipeline.names import NAME

    if not re.fullmatch(NAME, name):
        raise DataError(
            f"--name is {name!r}",
            needed="lower-case letters, digits and underscores, a letter first",
            fix="choose such a name: it becomes an asset key, a path and a label",
        )
    spec = project.params.datasets.get(name)
    if spec is not None and spec.source.kind == "simulation":
        raise ParamsError(
            f"datasets.{name} in params.yaml is a simulation",
            needed="a name of recorded data",
            fix=f"give another --name, or set its source to {{kind: dvc, pointer: data/raw/{name}.dvc}}",
        )


def _print_facts(facts: dict[str, Any]) -> None:
    from rich.table import Table

    table = Table(box=None, show_header=False, pad_edge=False)
    for key, value in facts.items():
        shown = ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else str(value)
        table.add_row(key.replace("_", " "), shown)
    console().print(table)


def _print_import(facts: dict[str, Any], summary: ImportSummary) -> None:
    _print_facts({key: value for key, value in facts.items() if key != "quarantined" and value})
    if summary.quarantined:
        _print_issues(summary.quarantined)
    print(f"next: git add {facts['pointer']}")


def _print_splits(facts: dict[str, Any]) -> None:
    from rich.table import Table

    table = Table("split", "sessions", "images", *facts["classes"], box=None, header_style="bold", pad_edge=False)
    for split, images in facts["images"].items():
        boxes = [str(facts["boxes"][split][label]) for label in facts["classes"]]
        table.add_row(split, str(len(facts["sessions"][split])), str(images), *boxes)
    console().print(table)
    print(f"packed into {facts['path']}; {facts['calibration_images']} calibration images")


def _print_check(facts: dict[str, Any], issues: Sequence[LabelIssue], verdicts: dict[str, Verdict]) -> None:
    raw = facts["raw"]
    images, sessions = plural(raw["images"], "good image"), plural(raw["sessions"], "session")
    print(f"raw: {images} in {sessions}, {plural(len(issues), 'bad item')}")
    if issues:
        _print_issues(issues)
    for gate, verdict in verdicts.items():
        mark = "[green]passed[/green]" if verdict.passed else "[red]failed[/red]"
        console().print(f"{gate}: {mark}", highlight=False)
        print(f"  {verdict.summary}" + (f"\n  fix: {verdict.fix}" if verdict.fix else ""))


def _print_issues(issues: Sequence[LabelIssue]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table("where", "found", "fix", box=None, header_style="bold", pad_edge=False)
    for issue in issues[:50]:
        table.add_row(Text(issue.place), Text(issue.found), Text(issue.fix))
    console().print(table)
    if len(issues) > 50:
        print(f"and {len(issues) - 50} more; --json lists all of them")
