"""``robot-assets data``: make, import, check and pack data sets."""

from __future__ import annotations

import dataclasses

import typer

from robot_assets.cli import data_check, data_import
from robot_assets.cli.console import JsonOption, answer, progress_bars
from robot_assets.cli.datasets import (
    NameArgument,
    existing_raw,
    print_facts,
    print_splits,
    refuse_other_files,
    shown,
    spec_of,
)
from robot_assets.cli.plugins import extensible
from robot_assets.core.errors import ParamsError
from robot_assets.core.text import escaped, listed, plural
from robot_assets.pipeline.project import find_project

app = typer.Typer(cls=extensible("data"), help="Make, import, check and pack data sets.", no_args_is_help=True)
app.command("import")(data_import.import_)
app.command()(data_check.check)


@app.command()
def simulate(name: NameArgument, as_json: JsonOption = False) -> None:
    """Render the simulated data set NAME of params.yaml into data/raw/NAME.

    Example: robot-assets data simulate sidewalk
    """
    from robot_assets.core.label_issues import explaining_disk_errors
    from robot_assets.data.simulate import simulate as render

    project = find_project()
    source = spec_of(project, name, "simulate").source
    if source.kind != "simulation":
        raise ParamsError(
            f"datasets.{name}.source.kind is {source.kind!r}",
            needed="a simulation",
            fix=f"robot-assets data import yolo SOURCE --name {name}   # recorded data is imported",
        )
    out = project.raw(name)
    refuse_other_files(out, "annotations.json")
    with progress_bars(), explaining_disk_errors(out):
        summary = render(source, out)
    facts = {"path": shown(out), **dataclasses.asdict(summary)}
    answer(facts, as_json, lambda: print_facts({**facts, "sessions": plural(len(summary.sessions), "session")}))


@app.command()
def build(name: NameArgument, as_json: JsonOption = False) -> None:
    """Validate, split and pack data/raw/NAME into data/datasets/NAME. Dagster's datasets/NAME does the same.

    Example: robot-assets data build sidewalk
    """
    from robot_assets.data.dataset import build_dataset

    project = find_project()
    spec = spec_of(project, name, "build")
    out = project.packed(name)
    refuse_other_files(out, "dataset.json")
    with progress_bars():
        summary = build_dataset(existing_raw(project, name, spec), spec, out, name)

    def show() -> None:
        print_splits(summary.sessions, summary.images, summary.counts, summary.counted.total)
        for group in summary.linked_sessions:
            print(f"kept together by near-duplicate images: {escaped(listed(group))}")
        print(f"packed into {shown(out)}; {plural(summary.calibration_images, 'calibration image')}")

    answer({"path": shown(out), **summary.as_json()}, as_json, show)
