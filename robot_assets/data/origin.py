"""Whether data was made of the present inputs: packed data of its raw data, a simulation of its parameters."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robot_assets.core.text import plural
from robot_assets.data.dataset import Plan, numbered
from robot_assets.data.labels import label_format
from robot_assets.data.raw import Frame, RawData
from robot_assets.data.spec import DatasetSpec, SimulationSource
from robot_assets.data.split import SPLITS
from robot_assets.tasks.labels import DEFAULT_TASK

if TYPE_CHECKING:
    from robot_assets.tasks.labels import LabelFormat

_Labels = tuple[str, int, int, list[str]]
"""Session, width, height and sorted annotations of an image."""


def other_origin(packed: Path, data: RawData, spec: DatasetSpec, plan: Plan | None) -> str:
    """Why ``packed`` is not what a build of ``data`` makes, after the name of its folder; "" when it is.

    What the build recorded is compared, not the encoded images: a gate judges these, and damage is no other origin.

    Args:
        packed: Folder of the packed data set.
        data: The raw data.
        spec: Parameters of the data set.
        plan: What a build of the two would pack; None when it would refuse.
    """
    try:
        document = _read(packed / "dataset.json")
        labels = {split: _read(packed / split / "annotations.json") for split in SPLITS}
        calibration = _read(packed / "calibration.json")
        return (
            _other_data(document, labels, data, spec)
            or _other_split(document, plan)
            or ("" if plan and calibration == {"indices": plan.calibration} else _OTHER.format("calibration_images"))
        )
    except (OSError, ValueError, TypeError, AttributeError, LookupError, RecursionError):
        return _DAMAGED


_DAMAGED = "is damaged or incomplete"
_OTHER = "was packed with other parameters ({})"


def other_simulation(data: RawData, source: SimulationSource) -> str:
    """How raw data differs from what a simulation with these parameters renders; "" when it does not.

    A session has the seed and its number in its name, so that the names and sizes of the images are enough.
    """
    each, over = divmod(source.images, source.sessions)
    expected = {f"sim{source.seed:02d}/s{index + 1:02d}": each + (index < over) for index in range(source.sessions)}
    if Counter(frame.session for frame in data.frames) != expected:
        return "was simulated with other parameters (images, sessions or seed)"
    if any((frame.width, frame.height) != (source.width, source.height) for frame in data.frames):
        return "was simulated with other parameters (width or height)"
    return ""


def _other_data(
    document: Mapping[str, Any], labels: Mapping[str, Mapping[str, Any]], data: RawData, spec: DatasetSpec
) -> str:
    """Whether images, classes or labels differ."""
    if document.get("task", DEFAULT_TASK) != spec.task:
        return _OTHER.format("task")
    format = label_format(spec.task)
    files = {"image": (document["source_md5"], {frame.entry.file_name: frame.md5 for frame in data.frames})}
    if format.folder:
        sides = {frame.entry.side_name: frame.side_md5 for frame in data.frames}
        files[format.counted.noun] = (document[f"{format.folder}_md5"], sides)
    changes = [change for noun, (before, now) in files.items() if (change := _difference(before, now, noun))]
    if changes:
        return f"was packed from other raw data ({', '.join(changes)})"
    if document["classes"] != list(spec.classes):
        return _OTHER.format("classes")
    categories = [{"id": index + 1, "name": name} for index, name in enumerate(spec.classes)]
    if any(labels[split]["categories"] != categories for split in SPLITS):
        return _DAMAGED
    packed = [image for split in SPLITS for image in _packed_labels(labels[split])]
    present = _labels_of(numbered(data, spec), format)
    different = sum(present.get(name) != label for name, label in packed)
    if different:
        return f"was packed from other raw data (labels of {plural(different, 'image')} changed)"
    return ""


def _other_split(document: Mapping[str, Any], plan: Plan | None) -> str:
    """Whether a build would make other splits, or none."""
    splits = {split: list(plan.sessions[split]) for split in SPLITS} if plan else {}
    if splits != {split: document["splits"][split]["sessions"] for split in SPLITS}:
        return _OTHER.format("split or near_duplicate_bits") + ", or by another version of this program"
    return ""


def _difference(before: Mapping[str, str], present: Mapping[str, str], noun: str) -> str:
    """Files that were added, removed or changed since; "" for none."""
    counts = {
        "added": len(present.keys() - before.keys()),
        "removed": len(before.keys() - present.keys()),
        "changed": sum(before[name] != present[name] for name in before.keys() & present.keys()),
    }
    return ", ".join(f"{plural(count, noun)} {what}" for what, count in counts.items() if count)


def _labels_of(frames: Iterable[Frame], format: LabelFormat) -> dict[str, _Labels]:
    """By file name, without what a format keeps of other files: their bytes are compared."""
    return {
        frame.entry.file_name: (
            frame.session,
            frame.width,
            frame.height,
            sorted(map(_text, format.annotations(frame.labels))),
        )
        for frame in frames
    }


def _packed_labels(document: Mapping[str, Any]) -> list[tuple[str, _Labels]]:
    """The same of a label file of a packed split."""
    labels: defaultdict[int, list[str]] = defaultdict(list)
    for one in document["annotations"]:
        labels[one["image_id"]].append(_text({key: one[key] for key in one.keys() - {"id", "image_id"}}))
    return [
        (image["file_name"], (image["session"], image["width"], image["height"], sorted(labels[image["id"]])))
        for image in document["images"]
    ]


def _text(annotation: Mapping[str, Any]) -> str:
    return json.dumps(annotation, sort_keys=True)


def _read(path: Path) -> dict[str, Any]:
    document = json.loads(path.read_text("utf-8"))
    if not isinstance(document, dict):
        raise ValueError(f"{path} is not an object")
    return document
