"""``robot-assets init``: a project folder of one's own."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from robot_assets.cli.console import JsonOption, answer
from robot_assets.core.paths import shown_path
from robot_assets.pipeline.project import PROJECT_VARIABLE, Project

if TYPE_CHECKING:
    from robot_assets.pipeline.new_project import Created


def init(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A new or empty folder, or a git repository.")] = (
        Path(".")
    ),
    store: Annotated[
        str | None,
        typer.Option(
            metavar="URL", help="Where artifacts are kept: a folder, or s3://bucket/prefix.", show_default=False
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Make a folder a project: params.yaml, git and DVC. Adds what is missing, and replaces nothing.

    Example: robot-assets init my-robot
    """
    from robot_assets.pipeline.new_project import STORE, create_project

    made = create_project(folder, store or STORE)
    facts = {
        "path": str(made.root),
        "created": list(made.files),
        "extended": list(made.extended),
        "present": list(made.present),
        "git": made.has_repository,
    }
    answer(facts, as_json, lambda: _print(made))


def _print(made: Created) -> None:
    here = shown_path(made.root)
    if made.files or made.extended:
        print(f"{here}: wrote {', '.join((*made.extended, *made.files))}")
    if made.present:
        print(f"{here}: {', '.join(made.present)} {'is' if len(made.present) == 1 else 'are'} there already")
    if not made.has_repository:
        print(f"git is not installed: versions of data need it\n  fix: apt-get install git && git init {here}")
    if drift := Project(made.root).dvc_drift():
        print(drift)
    print("next:")
    if made.root != Path.cwd():
        print(f"  cd {here}")
    if os.environ.get(PROJECT_VARIABLE):
        print(f"  unset {PROJECT_VARIABLE}   # it names {os.environ[PROJECT_VARIABLE]}")
    print("  robot-assets data import yolo FOLDER --name NAME --write   # or: coco, masks")
