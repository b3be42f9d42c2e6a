"""``robot-assets data check``: judges raw data, what a build of it would refuse, and the data set packed from it."""

from __future__ import annotations

import contextlib
import dataclasses
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from robot_assets.cli import completion
from robot_assets.cli.console import JsonOption, answer, console, progress_bars
from robot_assets.cli.data_import import TASKS, print_proposals
from robot_assets.cli.datasets import existing_raw, print_splits, quoted, shown, spec_of
from robot_assets.core.errors import DataError, ParamsError
from robot_assets.core.text import escaped, plural
from robot_assets.pipeline.names import NAME
from robot_assets.pipeline.project import find_project

if TYPE_CHECKING:
    from robot_assets.core.label_issues import LabelIssue
    from robot_assets.core.verdict import Verdict
    from robot_assets.data.entry import DatasetEntry
    from robot_assets.data.forecast import Forecast
    from robot_assets.data.importing.sessions.proposals import Proposal
    from robot_assets.data.raw import RawData
    from robot_assets.data.spec import DatasetSpec
    from robot_assets.pipeline.project import Project


_ROWS = 50
"""Maximum number of rows of a table of issues."""


@dataclasses.dataclass(frozen=True)
class _Target:
    """What is checked.

    Attributes:
        raw: Folder of the raw data.
        name: Name of the data set, for commands.
        spec: Its parameters; None when params.yaml does not have it.
        packed: Folder of the packed data set, whether it exists or not; None for a folder of raw data.
        project: The project of the data set; None for a folder of raw data.
    """

    raw: Path
    name: str
    spec: DatasetSpec | None
    packed: Path | None
    project: Project | None = None


@dataclasses.dataclass(frozen=True)
class _Findings:
    """The results of all checks.

    Attributes:
        raw: The raw data.
        forecast: What a build would do; None without a good image.
        proposals: Rules of sessions, where there are too few.
        drift: How the folder differs from what assets are built from, and the fix; "" and "" when it does not.
        origin: Why the packed data set is not judged; "" when it is, or when there is none.
        verdicts: Gates of the packed data set.
    """

    raw: RawData
    forecast: Forecast | None
    proposals: tuple[Proposal, ...]
    drift: tuple[str, str]
    origin: str
    verdicts: dict[str, Verdict]

    @property
    def passed(self) -> bool:
        """Whether nothing is bad."""
        is_good = self.forecast is not None and self.forecast.passed and not self.raw.issues and not self.drift[0]
        return is_good and all(verdict.passed for verdict in self.verdicts.values())


def check(
    name: Annotated[
        str,
        typer.Argument(
            help="A name under datasets in params.yaml, or a folder of raw data.", autocompletion=completion.datasets
        ),
    ],
    as_json: JsonOption = False,
) -> None:
    """Check raw data: images, labels, and what a build would refuse; and the data set packed from it.

    Exit code 1 when anything is bad. A packed data set is judged when it was made of this raw data with the present
    parameters.

    Example: robot-assets data check robocup
    """
    target = _target(name)
    with progress_bars():
        found = _findings(target)
    answer(_facts(target, found), as_json, lambda: _print(target, found))
    if not found.passed:
        raise typer.Exit(1)


def _target(name: str) -> _Target:
    """The data set of that name or of that folder, or the folder. A name in params.yaml is the data set."""
    folder = Path(name).expanduser()
    is_path = "/" in name or name.startswith((".", "~"))
    if is_path or (folder / "annotations.json").is_file():
        return _dataset(name, folder) or _folder(folder, name)
    project = find_project()
    if name not in project.params.datasets and re.fullmatch(NAME, name) and project.raw(name).is_dir():
        return _Target(project.raw(name), name, None, None, project)
    return _of_dataset(project, name, spec_of(project, name, "check"))


def _dataset(name: str, folder: Path) -> _Target | None:
    """The data set that has this name, or whose raw data is in this folder; None without one or without a project."""
    try:
        project = find_project()
        known = project.params.datasets
    except ParamsError:
        return None
    if name in known:
        return _of_dataset(project, name, known[name])
    targets = (_of_dataset(project, one, spec) for one, spec in known.items() if _is_raw(project, one, spec, folder))
    return next(targets, None)


def _is_raw(project: Project, name: str, spec: DatasetEntry, folder: Path) -> bool:
    with contextlib.suppress(DataError):
        return existing_raw(project, name, spec).resolve() == folder.resolve()
    return False


def _of_dataset(project: Project, name: str, spec: DatasetEntry) -> _Target:
    return _Target(existing_raw(project, name, spec), name, spec, project.packed(name), project)


def _folder(folder: Path, name: str) -> _Target:
    """A folder of raw data.

    Raises:
        DataError: No folder, or not raw data.
    """
    title = folder.resolve().name
    title = title if re.fullmatch(NAME, title) else "NAME"
    if not folder.is_dir():
        raise DataError(
            f"{name!r} is not a folder",
            needed="a folder of raw data, or the name of a data set in params.yaml",
            fix="correct the path",
        )
    return _Target(folder, title, None, None)


def _findings(target: _Target) -> _Findings:
    from robot_assets.data.forecast import forecast

    raw = _loaded(target)
    if not raw.frames:
        return _Findings(raw, None, (), _drift(target, raw), "", {})
    spec = target.spec or _assumed(raw)
    outlook = forecast(raw, spec, target.name)
    origin, verdicts = _judged(target, raw, outlook)
    return _Findings(raw, outlook, _proposals(raw), _drift(target, raw), origin, verdicts)


def _loaded(target: _Target) -> RawData:
    """The raw data; its task is that of the data set, and without one as its labels say."""
    from robot_assets.data.raw import load_raw
    from robot_assets.data.raw_source import task_of_raw

    if (spec := target.spec) is None:
        return load_raw(target.raw, task=task_of_raw(target.raw))
    is_simulated = spec.source.kind == "simulation"
    return load_raw(target.raw, task=spec.task, name=target.name, is_simulated=is_simulated)


def _drift(target: _Target, raw: RawData) -> tuple[str, str]:
    """How the folder differs from what assets are built from, and the fix.

    It has another version than its pointer records, or is a simulation with other parameters.
    """
    from robot_assets.data.origin import other_simulation
    from robot_assets.store import read_pointer

    if target.spec is not None and target.spec.source.kind == "simulation":
        other = other_simulation(raw, target.spec.source) if not raw.issues else ""
        return (f"{shown(raw.folder)} {other}", f"robot-assets data simulate {target.name}") if other else ("", "")
    pointer = raw.folder.with_name(f"{raw.folder.name}.dvc")
    if target.project is None or not pointer.is_file():
        return "", ""
    recorded, found = read_pointer(pointer).digest, target.project.store.digest_of(raw.folder).digest
    if recorded == found:
        return "", ""
    restore = f"dvc checkout --force {quoted(pointer)}   # restores what the pointer records; or import the data again"
    return f"{shown(raw.folder)} is version {found}, and {shown(pointer)} records {recorded}", restore


def _assumed(raw: RawData) -> DatasetSpec:
    """Parameters for raw data that params.yaml does not have: only its sessions can be judged."""
    from robot_assets.data.spec import DatasetSpec

    return DatasetSpec.model_validate(
        {
            "task": raw.task,
            "source": {"kind": "dvc", "pointer": "data/raw/assumed.dvc"},
            "classes": raw.categories,
            "split": {"train": 0.7, "val": 0.15, "test": 0.15},
            "calibration_images": 1,
            "exempt_classes": dict.fromkeys(raw.categories, "not judged"),
        }
    )


def _judged(target: _Target, raw: RawData, outlook: Forecast) -> tuple[str, dict[str, Verdict]]:
    """Why the packed data set is not judged, or its gates, by the names that they have as assets' gates."""
    from robot_assets.data.origin import other_origin
    from robot_assets.pipeline.kinds.dataset import gates_of, judged

    if target.packed is None or target.spec is None or not target.packed.is_dir():
        return "", {}
    origin = other_origin(target.packed, raw, target.spec, outlook.plan)
    if origin:
        return origin, {}
    arguments = (target.packed, target.spec, target.name)
    return "", {gate.name: judged(gate, *arguments) for gate in gates_of(target.spec)}


def _proposals(raw: RawData) -> tuple[Proposal, ...]:
    """Rules of sessions, where there are too few or they are the splits of an export."""
    from robot_assets.data.importing.sessions.proposals import SESSIONS_MIN, proposals, splits_among

    splits = splits_among(raw.sessions)
    if raw.task not in TASKS:
        return ()  # they are imports, and there is none of this task
    if len(raw.sessions) >= SESSIONS_MIN and not splits:
        return ()
    return proposals({frame.entry.file_name: frame.entry.path for frame in raw.frames}, splits)


def _facts(target: _Target, found: _Findings) -> dict[str, Any]:
    """For a machine."""
    from robot_assets.data.labels import label_format

    raw = found.raw
    counted = label_format(raw.task).counted
    units = found.forecast.units if found.forecast else ()
    return {
        "passed": found.passed,
        "raw": {
            "path": shown(raw.folder),
            "images": len(raw.frames),
            "sessions": len(raw.sessions),
            "task": raw.task,
            counted.plural: raw.counts,
            counted.amount: raw.amounts,
            "findings": [issue.as_json() for issue in raw.issues],
            "origin": found.drift[0] or None,
            "linked_sessions": [dataclasses.asdict(link) for unit in units for link in unit.links],
        },
        "build": {
            "refusals": [error.as_json() for error in (found.forecast.refusals if found.forecast else ())],
            "proposals": [dataclasses.asdict(one) for one in found.proposals],
        },
        "packed": {gate: dataclasses.asdict(verdict) for gate, verdict in found.verdicts.items()},
        "packed_not_judged": found.origin or None,
    }


def _print(target: _Target, found: _Findings) -> None:
    raw = found.raw
    images, sessions = plural(len(raw.frames), "good image"), plural(len(raw.sessions), "session")
    print(f"raw data {shown(raw.folder)}: {images} in {sessions}, {plural(len(raw.issues), 'bad item')}")
    if raw.issues:
        print_issues(raw.issues)
    if found.drift[0]:
        _print_verdict("origin", False, *found.drift)
    _print_forecast(target, found)
    if found.origin and target.packed:
        print(f"{shown(target.packed)} {found.origin}: not judged\n  fix: robot-assets data build {target.name}")
    for gate, verdict in found.verdicts.items():
        _print_verdict(gate, verdict.passed, verdict.summary, verdict.fix)


def _print_forecast(target: _Target, found: _Findings) -> None:
    """What a build would refuse, and a gate that would fail; else the split, where none is packed."""
    outlook = found.forecast
    if target.spec is None:
        whose = f"params.yaml has no data set {target.name}" if target.project else "the folder is not in params.yaml"
        print(f"{whose}: its classes and calibration images are not judged")
    for error in outlook.refusals if outlook else ():
        _print_verdict("build", False, error.found, _fix_of(error, found), needed=error.needed)
    if found.proposals:
        _print_proposals(target, found)
    if outlook and outlook.plan and not found.verdicts:
        _print_plan(outlook)
        if outlook.classes and not outlook.classes.passed:
            _print_verdict("classes_in_every_split", False, outlook.classes.summary, outlook.classes.fix)


def _fix_of(error: DataError, found: _Findings) -> str:
    """The fix of a refusal; that of too few sessions is this command, which prints proposals instead."""
    if not error.fix.startswith("robot-assets data check"):
        return error.fix
    return "" if found.proposals else "move the images of each recording to a folder of its own below images/"


def _print_proposals(target: _Target, found: _Findings) -> None:
    from robot_assets.data.importing.sessions.proposals import splits_among

    splits = splits_among(found.raw.sessions)
    if splits:
        print(f"note: {', '.join(splits)} are splits of an export and no recordings: scores may be too high (leakage)")
    print_proposals(found.proposals, lambda rule: _command(target, rule), found.raw.frames[0].entry.file_name)


def _print_plan(outlook: Forecast) -> None:
    from robot_assets.data.forecast import scored_counts
    from robot_assets.data.labels import label_format
    from robot_assets.data.split import linked_units

    plan = outlook.plan
    if plan is None:
        return
    print("split of a build:" + escaped(linked_units(outlook.units)))
    counts = {split: scored_counts(frames, plan.spec) for split, frames in plan.frames.items()}
    images = {split: len(frames) for split, frames in plan.frames.items()}
    print_splits(plan.sessions, images, counts, label_format(plan.spec.task).counted.total)


def _command(target: _Target, rule: str) -> str:
    """Import raw data into itself with other sessions."""
    return f"robot-assets data import coco {quoted(target.raw)} --name {target.name} --sessions {shlex.quote(rule)}"


def _print_verdict(title: str, passed: bool, summary: str, fix: str, needed: str = "") -> None:
    mark = "[green]passed[/green]" if passed else "[red]failed[/red]"
    console().print(f"{title}: {mark}", highlight=False)
    print(f"  {escaped(summary)}")
    if needed:
        print(f"  needed: {needed}")
    if fix:
        print(f"  fix: {escaped(fix)}")


def print_issues(issues: Sequence[LabelIssue]) -> None:
    """Issues as a table; those with the same fault are one row."""
    from rich.table import Table
    from rich.text import Text

    from robot_assets.core.label_issues import grouped

    rows = grouped(issues)
    table = Table("where", "found", "fix", box=None, header_style="bold", pad_edge=False)
    for row in rows[:_ROWS]:
        table.add_row(*map(Text, row))
    console().print(table)
    if len(rows) > _ROWS:
        print(f"and {plural(len(rows) - _ROWS, 'more fault')}; --json lists every bad item")
