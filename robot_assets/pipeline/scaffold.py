"""Entries of params.yaml for a data set that was just imported, and for a model on it.

``write`` inserts text and changes no other byte: comments, order and form of the file are a person's. The result is
read again and compared with the document that it should be; on any difference nothing is written.
"""

from __future__ import annotations

import math
import stat
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from robot_assets.core.errors import ParamsError
from robot_assets.core.paths import shown_path
from robot_assets.core.publishing import publishing_file
from robot_assets.core.text import listed
from robot_assets.core.yaml_documents import YamlFault, composed, load_yaml
from robot_assets.core.yaml_edits import after_comments, content_end, flow, line_end
from robot_assets.pipeline.params import Params, parse_params
from robot_assets.store.os_errors import FULL, no_space
from robot_assets.tasks.labels import DEFAULT_TASK

if TYPE_CHECKING:
    from robot_assets.pipeline.project import Project

_PIXELS_MAX = 320 * 320
"""Larger images are scaled down to about this many pixels: some milliseconds for one frame on one core."""
_STRIDE = 32
_SIDE_MIN, _SIDE_MAX = 64, 2048
_BATCH = 8
_STEPS = 2000
_EPOCHS_MIN, _EPOCHS_MAX = 16, 60
_CALIBRATION_MAX = 128
_FEW_SESSIONS = 6
_LINE = 110
_SUFFIXES = {"detection": "_detector", "segmentation": "_segmenter"}
"""Of the name of the model, by task."""
_LOSSES = {"segmentation": {"loss": {"dice": 1.0}}}
"""By task: Dice keeps classes of few pixels from being lost."""
_NAME_MAX = 63
TARGET = {"kind": "onnxruntime", "threads": 1, "gate": {"accuracy_drop_points_max": 2.0, "latency_ms_p95_max": 100}}
"""The target of a new project: this machine."""


@dataclass(frozen=True)
class _Entry:
    """One entry to add: its section, its name, its content, and the same as lines of block style, not indented."""

    section: str
    name: str
    content: dict[str, Any]

    @property
    def lines(self) -> list[str]:
        """Block style; mappings below the first level on one line."""
        return [
            _key(self.name) + ":",
            *(f"  {line}" for key, value in self.content.items() for line in _lines(key, value)),
        ]

    @property
    def flow(self) -> str:
        """Flow style, on one line."""
        return f"{_key(self.name)}: {flow(self.content)}"


@dataclass(frozen=True)
class Figures:
    """What the entries depend on.

    Attributes:
        classes: Names in the order of their ids.
        image_size: Median width and height of the images, pixels.
        images: Number of images.
        sessions: Number of recording sessions.
        task: The task of the labels.
    """

    classes: Sequence[str]
    image_size: tuple[int, int]
    images: int
    sessions: int
    task: str = DEFAULT_TASK


def model_name(project: Project, dataset: str, task: str = DEFAULT_TASK) -> str:
    """The model on a data set: the first of params.yaml, else the one that :func:`write` adds."""
    models = project.params.models
    on_it = (name for name, model in models.items() if model.dataset == dataset)
    return next(on_it, _new_name(dataset, task))


def _new_name(dataset: str, task: str) -> str:
    suffix = _SUFFIXES.get(task, "_model")
    return dataset[: _NAME_MAX - len(suffix)] + suffix


def entries(project: Project, dataset: str, figures: Figures) -> str:
    """The entries of a data set and of a model on it, as text for params.yaml.

    Args:
        project: Its targets are those of the model.
        dataset: Name of the data set, whose pointer is data/raw/NAME.dvc.
        figures: What the entries depend on.
    """
    proposed = _proposed(project.params, dataset, figures)
    sections: dict[str, list[str]] = {}
    for entry in proposed:
        sections.setdefault(entry.section, [f"{entry.section}:"]).extend(f"  {line}" for line in entry.lines)
    return "\n".join(line for lines in sections.values() for line in lines) + "\n"


def write(project: Project, dataset: str, figures: Figures) -> list[str]:
    """Add what params.yaml lacks of a data set and of a model on it; return what was done and what differs, as lines.

    An entry that exists is compared and not replaced. Arguments as for :func:`entries`.

    Raises:
        ParamsError: params.yaml is invalid or cannot be written, or the entries cannot be inserted into its text.
        StoreError: The disk is full; params.yaml is as it was.
    """
    path = (project.root / "params.yaml").resolve()
    params = project.params
    missing, said = [], []
    for entry in _proposed(params, dataset, figures):
        present = getattr(params, entry.section)
        if entry.name in present:
            said += _differences(entry, present[entry.name])
        elif entry.section == "models" and (other := _model_on(params, dataset)):
            said.append(f"models.{other} in params.yaml is a model on {dataset} already")
        else:
            missing.append(entry)
    if missing:
        publish_params(path, _with_entries(path, missing))
        project.__dict__.pop("params", None)  # parsed again at the next use
    return [f"added {entry.section}.{entry.name} to {shown_path(path)}" for entry in missing] + said


def _proposed(params: Params, dataset: str, figures: Figures) -> list[_Entry]:
    targets = _targets(params)
    found = [_Entry("datasets", dataset, _dataset(dataset, figures))]
    found.append(_Entry("models", _new_name(dataset, figures.task), _model(dataset, targets or ["cpu"], figures)))
    return found if targets else [*found, _Entry("targets", "cpu", TARGET)]


def _targets(params: Params) -> list[str]:
    """The targets that this machine builds; where there is none, all of them."""
    here = [name for name, entry in params.targets.items() if entry.platform == "here"]
    return here or list(params.targets)


def _model_on(params: Params, dataset: str) -> str | None:
    return next((name for name, model in params.models.items() if model.dataset == dataset), None)


def _dataset(name: str, figures: Figures) -> dict[str, Any]:
    shares = _shares(figures.sessions)
    return {
        **({} if figures.task == DEFAULT_TASK else {"task": figures.task}),
        "source": {"kind": "dvc", "pointer": f"data/raw/{name}.dvc"},
        "classes": list(figures.classes),
        "split": {**shares, "seed": 0},
        # half of what train should have: sessions are not divided, so that train may be smaller than its share
        "calibration_images": max(1, min(_CALIBRATION_MAX, int(figures.images * shares["train"] / 2))),
    }


def _shares(sessions: int) -> dict[str, float]:
    few = sessions < _FEW_SESSIONS
    return {"train": 0.6, "val": 0.2, "test": 0.2} if few else {"train": 0.7, "val": 0.15, "test": 0.15}


def _model(dataset: str, targets: list[str], figures: Figures) -> dict[str, Any]:
    width, height = _input_size(*figures.image_size)
    batches = max(1, int(figures.images * _shares(figures.sessions)["train"]) // _BATCH)
    epochs = min(_EPOCHS_MAX, max(_EPOCHS_MIN, round(_STEPS / batches)))
    return {
        "task": figures.task,
        "dataset": dataset,
        "targets": targets,
        "network": {"input_height": height, "input_width": width, "width": 24, "depth": 1},
        **_LOSSES.get(figures.task, {}),
        "training": {"epochs": epochs, "batch_size": _BATCH, "learning_rate": 0.004, "evaluate_every": epochs // 4},
        "quantization": {
            "ptq": {"calibrators": ["mse", "percentile"]},
            "qat": {"epochs": max(2, epochs // 8), "learning_rate": 0.0001},
        },
    }


def _input_size(width: int, height: int) -> tuple[int, int]:
    """Width and height of the network: in the shape of the images, multiples of 32, at most about 100,000 pixels."""
    scale = min(1.0, math.sqrt(_PIXELS_MAX / max(1, width * height)))
    sides = (max(_SIDE_MIN, min(_SIDE_MAX, round(side * scale / _STRIDE) * _STRIDE)) for side in (width, height))
    return next(sides), next(sides)


def _differences(entry: _Entry, present: Any) -> list[str]:
    """What an entry that exists has otherwise, in what an import decides."""
    place = f"{entry.section}.{entry.name}"
    if entry.section == "models":
        wanted = entry.content["dataset"]
        same = present.dataset == wanted
        return [f"{place} is in params.yaml already"] if same else [_other(f"{place}.dataset", present.dataset, wanted)]
    if entry.section != "datasets":
        return []
    found = []
    task = entry.content.get("task", DEFAULT_TASK)
    if present.task != task:
        found.append(_other(f"{place}.task", present.task, task))
    if list(present.classes) != entry.content["classes"]:
        found.append(_other(f"{place}.classes", flow(list(present.classes)), flow(entry.content["classes"])))
    pointer, wanted = getattr(present.source, "pointer", "a simulation"), entry.content["source"]["pointer"]
    if pointer != wanted:
        found.append(_other(f"{place}.source.pointer", pointer, wanted))
    return found or [f"{place} is in params.yaml already"]


def _other(place: str, there: str, wanted: str) -> str:
    return f"{place} in params.yaml is {there}, and the imported data has {wanted}: correct it there"


def _with_entries(path: Path, missing: Iterable[_Entry]) -> str:
    """The text of params.yaml with the entries.

    Raises:
        ParamsError: The entries cannot be inserted, or the result is not what it should be.
    """
    text = path.read_bytes().decode("utf-8")
    expected = load_yaml(text.encode()) or {}
    try:
        for entry in missing:
            expected[entry.section] = {**(expected.get(entry.section) or {}), entry.name: entry.content}
            text = _inserted(text, entry)
        is_as_expected = load_yaml(text.encode()) == expected
    except (YamlFault, yaml.YAMLError, UnicodeEncodeError):
        is_as_expected = False
    if not is_as_expected:
        raise _cannot_insert(path, missing)
    parse_params(expected, origin=str(path))
    return text


def _inserted(text: str, entry: _Entry) -> str:
    """``text`` with one entry at the end of its section; with the section where there is none."""
    root = composed(text)
    if not isinstance(root, yaml.MappingNode):
        return _appended(text, len(text), [f"{entry.section}:", *(f"  {line}" for line in entry.lines)])
    key, section = next(((key, value) for key, value in root.value if key.value == entry.section), (None, None))
    if key is None or section is None:
        return _with_section(text, root, entry)
    if isinstance(section, yaml.MappingNode) and section.flow_style and section.value:
        return _intoflow(text, section, entry.flow)
    if root.flow_style:
        return text[: section.start_mark.index] + "{" + entry.flow + "}" + text[section.end_mark.index :]
    if isinstance(section, yaml.MappingNode) and section.value:
        column = section.value[0][0].start_mark.column
        return _into_block(text, section, column, column - key.start_mark.column, entry)
    return _into_empty(text, key, section, _step(root), entry)


def _with_section(text: str, root: yaml.MappingNode, entry: _Entry) -> str:
    if root.flow_style:
        return _intoflow(text, root, f"{entry.section}: {{{entry.flow}}}")
    column, step = root.start_mark.column, _step(root)
    lines = [f"{entry.section}:", *_indented(entry.lines, step, step)]
    return _appended(text, _end(text, root, column), [" " * column + line for line in lines])


def _into_block(text: str, section: yaml.MappingNode, column: int, step: int, entry: _Entry) -> str:
    return _appended(text, _end(text, section, column), _indented(entry.lines, column, step))


def _into_empty(text: str, key: yaml.Node, section: Any, step: int, entry: _Entry) -> str:
    """Into ``datasets: {}``, or ``datasets:`` without entries."""
    start, end = section.start_mark.index, section.end_mark.index
    if isinstance(section, yaml.MappingNode) or section.value:
        kept = text[:start].rstrip(" ")
        text, end = kept + text[end:], len(kept)
    else:
        end = text.index(":", key.end_mark.index) + 1
    column = key.start_mark.column + step
    return _appended(text, after_comments(text, line_end(text, end), column), _indented(entry.lines, column, step))


def _intoflow(text: str, mapping: yaml.MappingNode, flow: str) -> str:
    closing = mapping.end_mark.index - 1
    before = text[:closing].rstrip()
    comma = "" if before.endswith((",", "{")) else ","
    return before + comma + (" " if not before.endswith("{") else "") + flow + text[len(before) :]


def _appended(text: str, at: int, lines: Sequence[str]) -> str:
    """``text`` with whole lines at ``at``, the begin of a line or the end of the text."""
    newline = "\r\n" if "\r\n" in text else "\n"
    lead = newline if at and text[at - 1] != "\n" else ""
    return text[:at] + lead + newline.join(lines) + newline + text[at:]


def _indented(lines: Iterable[str], column: int, step: int) -> list[str]:
    """Lines of two blanks a level, with ``step`` blanks a level, from ``column`` on."""

    def one(line: str) -> str:
        body = line.lstrip(" ")
        return " " * (column + (len(line) - len(body)) // 2 * step) + body

    return [one(line) for line in lines]


def _end(text: str, mapping: yaml.MappingNode, column: int) -> int:
    """Where a further entry of a block mapping begins: after its last line and the comments that belong to it."""
    return after_comments(text, line_end(text, content_end(mapping)), column)


def _step(root: yaml.MappingNode) -> int:
    """Blanks of one level in this file."""
    for key, value in root.value:
        if isinstance(value, yaml.MappingNode) and not value.flow_style and value.value:
            step: int = value.value[0][0].start_mark.column - key.start_mark.column
            return step if step > 0 else 2
    return 2


def _lines(key: str, value: Any) -> list[str]:
    if isinstance(value, dict) and any(isinstance(one, dict) for one in value.values()):
        return [f"{key}:", *(f"  {line}" for inner, one in value.items() for line in _lines(inner, one))]
    if isinstance(value, list) and len(flow(value)) > _LINE:
        return [f"{key}:", *(f"  - {flow(one)}" for one in value)]
    return [f"{key}: {flow(value)}"]


_key: Callable[[str], str] = flow


def publish_params(path: Path, text: str) -> None:
    """Replace params.yaml; its permissions stay.

    Raises:
        ParamsError: It cannot be written.
        StoreError: The disk is full; params.yaml is as it was.
    """
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        with publishing_file(path) as staging:
            staging.write_bytes(text.encode())
            staging.chmod(mode)
    except OSError as error:
        if error.errno in FULL:
            raise no_space("writing params.yaml", path, error) from None
        raise ParamsError(
            f"{path} cannot be written: {error.strerror}",
            needed="a writable project, with space for params.yaml",
            fix=f"ls -ld {shown_path(path.parent)} {shown_path(path)}   # shows owner and permissions",
        ) from None


def _cannot_insert(path: Path, missing: Iterable[_Entry]) -> ParamsError:
    text = "\n".join(f"{entry.section}:\n" + "\n".join(f"  {line}" for line in entry.lines) for entry in missing)
    return ParamsError(
        f"{path} has a form into which no entry can be inserted; it was not changed",
        needed=f"{listed(f'{entry.section}.{entry.name}' for entry in missing)} in params.yaml",
        fix=f"add by hand:\n{text}",
    )
