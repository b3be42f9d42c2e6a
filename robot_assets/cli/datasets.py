"""What the commands of ``robot-assets data`` share: data sets by name, and their tables."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from robot_assets.cli import completion
from robot_assets.cli.console import console
from robot_assets.core.errors import DataError, ParamsError
from robot_assets.core.text import escaped, near_misses
from robot_assets.pipeline.names import NAME

if TYPE_CHECKING:
    from robot_assets.data.entry import DatasetEntry, RecordedSource
    from robot_assets.data.spec import SimulationSource
    from robot_assets.pipeline.project import Project

_CLASSES_AS_COLUMNS = 8
NameArgument = Annotated[
    str, typer.Argument(help="A name under datasets in params.yaml.", autocompletion=completion.datasets)
]


def shown(path: Path) -> str:
    """A path relative to the working directory."""
    return os.path.relpath(path)


def quoted(path: Path) -> str:
    """The same, for a command line."""
    return shlex.quote(shown(path))


def spec_of(project: Project, name: str, verb: str) -> DatasetEntry:
    """The parameters of a data set.

    Args:
        project: Has params.yaml.
        name: As a person typed it.
        verb: Command that needs it, such as "check", for the fix.

    Raises:
        ParamsError: params.yaml does not have it.
    """
    known = project.params.datasets
    if name in known:
        return known[name]
    near = near_misses(name, known, at_most=1)
    importing = f"robot-assets data import yolo SOURCE --name {name if _is_name(name) else 'NAME'} --write"
    raise ParamsError(
        f"params.yaml has no data set {name!r}" + (f"; did you mean {near[0]!r}?" if near else ""),
        needed=f"one of: {', '.join(known)}" if known else "an entry below datasets",
        fix=f"robot-assets data {verb} {near[0]}" if near else f"{importing}   # imports data and adds its entry",
    )


def existing_raw(project: Project, name: str, spec: DatasetEntry) -> Path:
    """The folder of the raw data of a data set in params.yaml: beside its pointer, or of its simulation.

    Raises:
        DataError: It is not there.
    """
    source = spec.source
    raw = project.raw(name)
    if source.kind == "dvc" and source.repository is None and (project.root / source.artifact).is_dir():
        raw = project.root / source.artifact
    if raw.is_dir():
        return raw
    raise DataError(
        f"no raw data at {shown(raw)}", needed=f"the images and labels of {name}", fix=_made_by(project, name, source)
    )


def _made_by(project: Project, name: str, source: SimulationSource | RecordedSource) -> str:
    """The command that makes the raw data of a data set."""
    if source.kind == "simulation":
        return f"robot-assets data simulate {name}"
    if source.repository is not None:
        return f"robot-assets build datasets/{name}   # reads the pointer in the other repository"
    importing = f"robot-assets data import yolo SOURCE --name {name}"
    if not (project.root / source.pointer).is_file():
        return importing
    target = project.root / (source.artifact if source.is_lock else source.pointer)
    return f"dvc pull {quoted(target)}   # or import it again: {importing}"


def refuse_other_files(folder: Path, written: str) -> None:
    """A result replaces its folder, which has to be a former result: a person's own files are not deleted.

    Args:
        folder: Where the result goes.
        written: Name of a file that every result has.

    Raises:
        DataError: It has files, and is no result.
    """
    if folder.is_dir() and any(folder.iterdir()) and not (folder / written).is_file():
        raise DataError(
            f"{shown(folder)} has files that this command did not write: it has no {written}",
            needed="an empty folder, or a former result, which is replaced",
            fix=f"mv {quoted(folder)} {quoted(folder.with_name(folder.name + '.old'))}   # then run the command again",
        )


def refuse_name(project: Project, name: str) -> None:
    """An import needs a valid name that is not that of a simulation.

    Raises:
        DataError: The name is invalid.
        ParamsError: The data set is simulated.
    """
    if not _is_name(name):
        raise DataError(
            f"--name is {name!r}",
            needed="lower-case letters, digits and underscores, a letter first, at most 63 characters",
            fix="choose such a name: it becomes an asset key, a path and a label",
        )
    spec = project.params.datasets.get(name)
    if spec is not None and spec.source.kind == "simulation":
        raise ParamsError(
            f"datasets.{name} in params.yaml is a simulation",
            needed="a name of recorded data",
            fix=f"give another --name, or set its source to {{kind: dvc, pointer: data/raw/{name}.dvc}}",
        )


def print_facts(facts: Mapping[str, Any]) -> None:
    """Facts as a table of two columns; the text of values is not markup."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, pad_edge=False)
    for key, value in facts.items():
        table.add_row(key.replace("_", " "), Text(escaped(_text(value))))
    console().print(table)


def print_splits(
    sessions: Mapping[str, Sequence[str]],
    images: Mapping[str, int],
    labels: Mapping[str, Mapping[str, int]],
    total: str,
) -> None:
    """Sessions, images and labels of each split as a table; many classes as a second one, a class in each row.

    Args:
        sessions: Recording sessions, by split.
        images: Number of images, by split.
        labels: Number of labels, by split and class.
        total: Title of the number of all labels of a split; empty: labels of different classes cannot be added up.
    """
    classes = list(next(iter(labels.values()), {}))
    counts = {split: [str(labels[split][label]) for label in classes] for split in images}
    split_rows = [[split, str(len(sessions[split])), str(count)] for split, count in images.items()]
    if len(classes) <= _CLASSES_AS_COLUMNS:
        _print_table(("split", "sessions", "images", *classes), [[*row, *counts[row[0]]] for row in split_rows])
        return
    sums = {split: [str(sum(labels[split].values()))] if total else [] for split in images}
    titles = ("split", "sessions", "images", *([total] if total else []))
    _print_table(titles, [[*row, *sums[row[0]]] for row in split_rows])
    rows = [[label, *(counts[split][index] for split in images)] for index, label in enumerate(classes)]
    _print_table(("class", *images), rows)


def _print_table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Texts are not markup."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in titles:
        table.add_column(Text(escaped(title)))
    for row in rows:
        table.add_row(*(Text(escaped(cell)) for cell in row))
    console().print(table)


def _is_name(name: str) -> bool:
    return re.fullmatch(NAME, name) is not None


def _text(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {count}" for key, count in value.items())
    if isinstance(value, tuple | list):
        return ", ".join(map(str, value))
    return f"{value:.3g}" if isinstance(value, float) else str(value)
