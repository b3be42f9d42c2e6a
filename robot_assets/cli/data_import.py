"""``robot-assets data import``: labelled images of an annotation tool -> raw data of this project."""

from __future__ import annotations

import dataclasses
import re
import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from robot_assets.cli.console import JsonOption, answer, progress_bars
from robot_assets.cli.datasets import print_facts, quoted, refuse_name, refuse_other_files, shown
from robot_assets.cli.usage import CommandLineError
from robot_assets.core.errors import DataError
from robot_assets.core.text import escaped, near_misses, plural
from robot_assets.pipeline.project import find_project

if TYPE_CHECKING:
    from robot_assets.data.entry import DatasetEntry
    from robot_assets.data.importing.importer import ImportSummary
    from robot_assets.data.importing.outcome import Outcome
    from robot_assets.data.importing.sessions.proposals import Proposal
    from robot_assets.pipeline.project import Project
    from robot_assets.pipeline.scaffold import Figures

FORMATS = ("yolo", "coco", "masks")
TASKS = ("detection", "segmentation")


@dataclasses.dataclass(frozen=True)
class _Request:
    """The command line, without ``--json``."""

    format: str
    source: Path
    name: str
    quarantine: bool
    layout: str | None
    polygons: str | None
    unlabelled: str | None
    sessions: str | None
    task: str | None
    classes: str | None
    ignore: tuple[str, ...]
    background: str | None

    def command(self, sessions: str | None, *more: str) -> str:
        """The same command with another rule of sessions and more options, as it can be pasted."""
        words = ["robot-assets", "data", "import", self.format, str(self.source), "--name", self.name]
        options = [
            ("--layout", self.layout),
            ("--polygons", self.polygons),
            ("--unlabelled", self.unlabelled),
            ("--task", self.task),
            ("--classes", self.classes),
            *(("--ignore", one) for one in self.ignore),
            ("--background", self.background),
            ("--sessions", sessions),
        ]
        words += [word for option, value in options if value for word in (option, value)]
        return shlex.join([*words, *["--quarantine"] * self.quarantine, *more])

    @property
    def masks_only(self) -> tuple[str, ...]:
        """The options that only a segmentation has, as they were typed."""
        found = [("--classes", self.classes), ("--ignore", self.ignore), ("--background", self.background)]
        return tuple(option for option, value in found if value)


def import_(
    format: Annotated[str, typer.Argument(metavar="yolo|coco|masks", help="Format of the labels.", show_default=False)],
    source: Annotated[Path, typer.Argument(help="Folder of the images and labels; for coco also the JSON file.")],
    name: Annotated[str, typer.Option(help="Name of the data set; it becomes data/raw/NAME and NAME.dvc.")],
    sessions: Annotated[
        str | None,
        typer.Option(
            metavar="RULE",
            help="How images are grouped by recording: folder (the default), name:REGEX (its first group), "
            "exif-time:GAP (such as 5m), file:CSV (path,session) or one-per-image.",
        ),
    ] = None,
    layout: Annotated[
        str | None, typer.Option(metavar="NAME", help="Read the source in this layout; default: recognize it.")
    ] = None,
    polygons: Annotated[
        Literal["boxes"] | None, typer.Option(help="Read polygons and oriented boxes as their enclosing boxes.")
    ] = None,
    unlabelled: Annotated[
        Literal["background"] | None, typer.Option(help="Import images without labels as images without objects.")
    ] = None,
    task: Annotated[
        str | None,
        typer.Option(
            metavar="TASK",
            help="detection (boxes) or segmentation (masks); default: segmentation for masks, else that of the data "
            "set in params.yaml, else detection.",
        ),
    ] = None,
    classes: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|NAMES",
            help="Classes of masks: a file (labelmap.txt, classes.txt, a table), or NAME,NAME in the order of the "
            "values, NAME=VALUE,... or NAME=#RRGGBB,...",
        ),
    ] = None,
    ignore: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CLASS|VALUE|COLOUR",
            help="Of a segmentation: pixels that are ignored, besides the value 255; may be repeated.",
        ),
    ] = None,
    background: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Of a segmentation: class of pixels that no polygon covers; default: ignored."
        ),
    ] = None,
    quarantine: Annotated[
        bool, typer.Option("--quarantine", help="Leave bad items out, even when they are more than 1 %.")
    ] = False,
    write: Annotated[
        bool, typer.Option("--write", help="Add the data set and a model on it to params.yaml, where they are missing.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Copy labelled images into data/raw/NAME, store them, and write the pointer for git.

    Example: robot-assets data import yolo ../robocup_ml --name robocup
    """
    from robot_assets.pipeline import scaffold

    segmentation = (task, classes, tuple(ignore or ()), background)
    request = _Request(format, source, name, quarantine, layout, polygons, unlabelled, sessions, *segmentation)
    _refuse_format(request)
    project = find_project()
    refuse_name(project, name)
    chosen = _task(project, request)
    with progress_bars():
        summary, version = _imported(project, request, chosen)
        outcome = summary.outcome
        proposals = _proposals(project.raw(name), request, summary)
    added = scaffold.write(project, name, _figures(summary)) if write else []
    facts = {**_facts(project, name, version, summary, outcome, proposals), "params_yaml": added}
    facts["task_because"] = chosen.because
    answer(facts, as_json, lambda: _print(project, request, facts, summary, outcome, proposals, added))


def _refuse_format(request: _Request) -> None:
    """An unknown format is a mistake in the command line; format and source are easily interchanged.

    Raises:
        CommandLineError: It is none of the formats.
    """
    if request.format in FORMATS:
        return
    found = f"the format is {request.format!r}"
    fix = "robot-assets data import --help"
    if str(request.source) in FORMATS:
        found += f", and the source is {str(request.source)!r}: the format is the first of the two"
        rest = dataclasses.replace(request, format=str(request.source), source=Path(request.format))
        fix = rest.command(request.sessions)
    elif near := near_misses(request.format, FORMATS, at_most=1):
        found += f"; did you mean {near[0]!r}?"
        fix = dataclasses.replace(request, format=near[0]).command(request.sessions)
    raise CommandLineError(found, needed="yolo, coco or masks", fix=fix)


@dataclasses.dataclass(frozen=True)
class _Task:
    """The task of an import, and why it is this one; "" where nothing asks for another than detection."""

    name: str
    because: str


def _task(project: Project, request: _Request) -> _Task:
    """The task: as typed, else by the source, else by params.yaml, else detection.

    Raises:
        CommandLineError: ``--task`` is unknown, is not that of the source, or has no such options.
        DataError: It is not that of the data set in params.yaml.
    """
    from robot_assets.data.importing.importer import has_masks

    if request.task is not None and request.task not in TASKS:
        near = near_misses(request.task, TASKS, at_most=1)
        found = f"--task is {request.task!r}" + (f"; did you mean {near[0]!r}?" if near else "")
        fixed = dataclasses.replace(request, task=near[0] if near else None)
        raise CommandLineError(found, needed="detection or segmentation", fix=fixed.command(request.sessions))
    is_mask_source = has_masks(request.format, request.source)
    known = project.params.datasets.get(request.name)
    chosen = _Task("detection", "")
    if request.task is not None:
        chosen = _Task(request.task, "as --task says")
    elif is_mask_source:
        chosen = _Task("segmentation", "its labels are masks")
    elif known is not None and known.task != "detection":
        chosen = _Task(known.task, f"as datasets.{request.name}.task in params.yaml says")
    _refuse_task(request, chosen, is_mask_source, known)
    return chosen


def _refuse_task(request: _Request, chosen: _Task, is_mask_source: bool, known: DatasetEntry | None) -> None:
    of_masks = dataclasses.replace(request, task="segmentation").command(request.sessions)
    if chosen.name == "detection" and is_mask_source:
        found = f"--task is {request.task!r}, and the labels are masks"
        raise CommandLineError(found, needed="segmentation", fix=of_masks)
    if chosen.name == "detection" and request.masks_only:
        found = f"{' and '.join(request.masks_only)} without --task segmentation"
        raise CommandLineError(found, needed="options of the task", fix=of_masks)
    if request.classes and request.format != "masks":
        fix = dataclasses.replace(request, classes=None).command(request.sessions)
        found = f"--classes, and {request.format.upper()} labels name their classes"
        raise CommandLineError(found, needed="--classes with masks only", fix=fix)
    key = f"datasets.{request.name}.task in params.yaml"
    if chosen.name not in TASKS:
        other = dataclasses.replace(request, name=f"{request.name}_detection", task="detection")
        raise DataError(
            f"{key} is {chosen.name!r}, and labels of that task have no import",
            needed="detection or segmentation",
            fix=f"{other.command(request.sessions)}   # or write data/raw/{request.name} in the layout of that task",
        )
    if known is not None and known.task != chosen.name:
        other = dataclasses.replace(request, name=f"{request.name}_{chosen.name}")
        raise DataError(
            f"{key} is {known.task!r}, and the import is of the task {chosen.name!r}",
            needed="one task",
            fix=f"{other.command(request.sessions)}   # or correct {key}",
        )


@contextmanager
def _completing(request: _Request) -> Iterator[None]:
    """Complete the commands that correct a request: the name of the data set, and what "the same command" is."""
    same = request.command(request.sessions)
    try:
        yield
    except DataError as error:
        error.fix = error.fix.replace("--name NAME", f"--name {request.name}")
        error.fix = re.sub(r"^run the same command with (?=--)", lambda _: f"{same} ", error.fix)
        error.args = (f"{error.found}\n  needed: {error.needed}\n  fix: {error.fix}",)
        raise


def _imported(project: Project, request: _Request, task: _Task) -> tuple[ImportSummary, str]:
    """Import, store, and write the pointer; return the version, too."""
    from robot_assets.data.importing.importer import import_dataset
    from robot_assets.data.importing.segmentation.labels import SegmentationOptions
    from robot_assets.data.importing.sessions.grouping import parse_rule
    from robot_assets.store import write_pointer

    out = project.raw(request.name)
    refuse_other_files(out, "annotations.json")
    options = SegmentationOptions(request.classes, request.ignore, request.background)
    with _completing(request):
        summary = import_dataset(
            request.format,
            request.source,
            out,
            quarantine=request.quarantine,
            layout=request.layout,
            polygons=request.polygons,
            unlabelled=request.unlabelled,
            sessions=parse_rule(request.sessions) if request.sessions else None,
            store=project.store,
            segmentation=options if task.name == "segmentation" else None,
        )
    artifact = project.store.add(out, summary.written)
    write_pointer(out.with_name(f"{request.name}.dvc"), artifact)
    return summary, artifact.digest


def _proposals(raw: Path, request: _Request, summary: ImportSummary) -> tuple[Proposal, ...]:
    """Rules of sessions, where the images cannot be split or their folders are splits of an export."""
    from robot_assets.data.importing.sessions.proposals import proposals, splits_among

    splits = splits_among(summary.outcome.names)
    if summary.outcome.can_be_split and not (splits and request.sessions is None):
        return ()
    images = {name.removeprefix("images/"): raw / name for name in summary.written if name.startswith("images/")}
    return tuple(one for one in proposals(images, splits) if one.rule != request.sessions)


def _facts(
    project: Project,
    name: str,
    version: str,
    summary: ImportSummary,
    outcome: Outcome,
    proposals: tuple[Proposal, ...],
) -> dict[str, Any]:
    """For a machine."""
    raw = project.raw(name)
    report = summary.quarantine_report
    return {
        "layout": summary.layout,
        "task": summary.task,
        "notes": list(summary.notes),
        "path": shown(raw),
        "pointer": shown(raw.with_name(f"{name}.dvc")),
        "version": version,
        "images": summary.images,
        "sessions": summary.sessions,
        **_labels(summary),
        "clipped": summary.clipped,
        "unlisted_images": summary.unlisted,
        "quarantined": [issue.as_json() for issue in summary.quarantined],
        "quarantine_report": shown(report) if report else None,
        "can_be_split": outcome.can_be_split,
        "proposals": [dataclasses.asdict(one) for one in proposals],
    }


def _labels(summary: ImportSummary) -> dict[str, Any]:
    """Number of boxes by class; of a segmentation, number of masks that have the class, and shares of pixels."""
    if summary.task == "detection":
        return {"boxes": summary.classes}
    pixels = {name: round(share, 4) for name, share in summary.pixels.items()}
    return {"masks": summary.classes, "pixels": pixels, "ignored_pixels": round(summary.ignored, 4)}


def _shown_facts(facts: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Facts for people; of a segmentation without the classes that no mask has."""
    hidden = ("layout", "task", "task_because", "notes", "quarantined", "can_be_split", "proposals", "params_yaml")
    for key, value in facts.items():
        if key == "pixels":
            yield "pixels", {name: f"{share:.1%}" for name, share in value.items() if share}
        elif key == "ignored_pixels" and value:
            yield key, f"{value:.1%}"
        elif key == "masks":
            yield "masks", {name: count for name, count in value.items() if count}
        elif key not in hidden and value:
            yield key, value


def _print(
    project: Project,
    request: _Request,
    facts: dict[str, Any],
    summary: ImportSummary,
    outcome: Outcome,
    proposals: tuple[Proposal, ...],
    added: list[str],
) -> None:
    if summary.layout:
        because = f"; task {summary.task}, {facts['task_because']}" if facts["task_because"] else ""
        print(f"recognized: {escaped(summary.layout + because)}")
    print_facts(dict(_shown_facts(facts)))
    for note in summary.notes:
        print(f"note: {escaped(note)}")
    if summary.quarantined:
        from robot_assets.cli.data_check import print_issues

        print_issues(summary.quarantined)
    _print_sessions(request, outcome, proposals, next(iter(summary.written)).removeprefix("images/"))
    for line in added:
        print(escaped(line))
    if outcome.can_be_split:
        _print_split(project, request.name, summary)
        _print_next(project, request, summary.task)


def _print_sessions(request: _Request, outcome: Outcome, proposals: tuple[Proposal, ...], example: str) -> None:
    if not outcome.can_be_split:
        print(f"{plural(len(outcome.sessions), 'session')}: cannot be split into train, val and test")
    if proposals or not outcome.can_be_split:
        print_proposals(proposals, request.command, example)


def print_proposals(proposals: Sequence[Proposal], command: Callable[[str], str], example: str) -> None:
    """Rules of sessions as command lines, the one that leaks last.

    Args:
        proposals: The rules.
        command: Called with a rule; returns the command line.
        example: File name of an image, for a line of a table.
    """
    print("  group the images by recording, with one of these:")
    lines = [
        f"    {command(one.rule)}   # {plural(one.sessions, 'session')}: {escaped(one.reason)}" for one in proposals
    ]
    own = (
        "    one folder for the images of each recording in the source, and the same import again",
        f"    {command('file:sessions.csv')}   # after writing lines such as "
        f"{escaped(example)},morning into sessions.csv",
    )
    at = len(lines) - sum(one.leaks for one in proposals)
    print(*lines[:at], *own, *lines[at:], sep="\n")


def _print_split(project: Project, name: str, summary: ImportSummary) -> None:
    """The split that a build would make; and the entries of params.yaml, where they are missing."""
    import yaml

    from robot_assets.data.spec import DatasetSpec
    from robot_assets.pipeline import scaffold

    outcome = summary.outcome
    unused = [label for label in outcome.classes if label not in outcome.used_classes]
    if unused:
        noun = "box" if summary.task == "detection" else "pixel"
        print(f"note: no {noun} of {escaped(', '.join(map(repr, unused)))}: not in the entries for params.yaml")
    text = scaffold.entries(project, name, _figures(summary))
    known = project.params.datasets.get(name)
    spec = known or DatasetSpec.model_validate(yaml.safe_load(text)["datasets"][name])
    parts = [
        f"{split} {plural(images, 'image')} of {plural(sessions, 'session')}"
        for split, (sessions, images) in outcome.split(spec.split).items()
    ]
    print(f"split: {', '.join(parts)} (before near-duplicates, which `robot-assets data check {name}` finds)")
    if known is None:
        print(f"params.yaml has no data set {name}; --write adds these entries:\n\n{text}")
    else:
        _print_classes(name, known.classes, outcome)
        _print_pointer(name, known)
    if known is not None and not _has_model(project, name):
        print(f"params.yaml has no model on {name}; --write adds one")


def _print_classes(name: str, classes: Sequence[str], outcome: Outcome) -> None:
    """Classes of params.yaml that the labels lack, and the reverse: a build would refuse both."""
    labelled = {label for session in outcome.sessions for label, count in session.labels.items() if count}
    key = f"datasets.{name}.classes in params.yaml"
    if unknown := [label for label in classes if label not in outcome.classes]:
        print(f"{key} has {_listed(unknown)}, and the labels do not")
    if missing := [label for label in outcome.classes if label in labelled and label not in classes]:
        print(f"{key} lacks {_listed(missing)}, which the labels have")


def _print_pointer(name: str, known: DatasetEntry) -> None:
    """Assets are built from the pointer that params.yaml names, which may be another than that of the import."""
    source, written = known.source, f"data/raw/{name}.dvc"
    if source.kind == "dvc" and (source.repository or source.pointer != written):
        place = f"{source.pointer} of another repository" if source.repository else source.pointer
        print(f"datasets.{name}.source.pointer in params.yaml is {escaped(place)}, and this import wrote {written}")


def _listed(names: Sequence[str]) -> str:
    return escaped(", ".join(map(repr, names)))


def _print_next(project: Project, request: _Request, task: str) -> None:
    """The commands that follow."""
    from robot_assets.pipeline import scaffold

    if drift := project.dvc_drift():
        print(drift)
    name = request.name
    pointer = quoted(project.raw(name).with_name(f"{name}.dvc"))
    print("next:")
    if name not in project.params.datasets or not _has_model(project, name):
        print(f"  {request.command(request.sessions, '--write')}   # or edit params.yaml")
    print(f"  robot-assets data check {name}")
    print(f"  git add {pointer} {quoted(project.root / 'params.yaml')}")
    print(f"  robot-assets build {scaffold.model_name(project, name, task)}")


def _has_model(project: Project, dataset: str) -> bool:
    return any(model.dataset == dataset for model in project.params.models.values())


def _figures(summary: ImportSummary) -> Figures:
    """What the entries of params.yaml depend on."""
    from robot_assets.pipeline.scaffold import Figures

    outcome = summary.outcome
    size, sessions = outcome.image_size, len(outcome.sessions)
    return Figures(outcome.used_classes, size, outcome.images, sessions, summary.task)
