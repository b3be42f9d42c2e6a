"""Builds a data set from raw images: validates, splits and packs them.

Every image is decoded and checked here, once; later stages rely on it. Sessions that share near-duplicate images stay
in one split, so that no evaluated image was seen in training.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from robot_assets.core.errors import DataError
from robot_assets.core.progress import report
from robot_assets.core.publishing import publishing_directory
from robot_assets.core.text import plural
from robot_assets.data.duplicates import linked_groups, session_links
from robot_assets.data.images import read_bytes
from robot_assets.core.label_issues import explaining_disk_errors, first_issues
from robot_assets.data.labels import LabelWriter, write_json
from robot_assets.data.raw import Frame, RawData, load_raw
from robot_assets.data.spec import DatasetSpec
from robot_assets.data.split import SPLITS, Unit, split_units


@dataclass(frozen=True)
class DatasetSummary:
    """Figures of a packed data set.

    Attributes:
        classes: Names in the order of their index.
        images: Number of images, by split.
        boxes: Number of boxes, by split and class.
        sessions: Recording sessions, by split.
        calibration_images: Number of images of train used for calibration.
        linked_sessions: Groups of sessions linked by near-duplicate images.
    """

    classes: tuple[str, ...]
    images: dict[str, int]
    boxes: dict[str, dict[str, int]]
    sessions: dict[str, tuple[str, ...]]
    calibration_images: int
    linked_sessions: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Plan:
    """What a build packs.

    Attributes:
        classes: Names in the order of their index.
        units: Sessions that stay together.
        sessions: Recording sessions, by split.
        frames: Images, by split; ``Box.category`` indexes ``classes``.
        calibration: Indices into the images of train.
    """

    classes: tuple[str, ...]
    units: tuple[Unit, ...]
    sessions: dict[str, tuple[str, ...]]
    frames: dict[str, list[Frame]]
    calibration: list[int]


def build_dataset(raw: Path, spec: DatasetSpec, out: Path, name: str = "") -> DatasetSummary:
    """Validate ``raw``, split it by session and pack it.

    Args:
        raw: Folder with annotations.json and images/SESSION/FILE, as an import or the simulation writes it.
        spec: Classes, shares of the splits, calibration and near-duplicates.
        out: Folder for dataset.json, calibration.json, NOTICE and train/, val/, test/; replaced when it exists.
        name: Name of the data set in params.yaml, for errors.

    Raises:
        DataError: A bad image or box, classes that contradict the labels, too few sessions, or a full disk.
    """
    with explaining_disk_errors(out):
        data = load_raw(raw, "validate images")
        refuse_bad(data, name)
        plan = plan_dataset(data, spec, name)
        with publishing_directory(out) as staging:
            boxes = {split: _pack(plan.frames[split], spec.classes, staging / split) for split in SPLITS}
            summary = _summary(plan, boxes)
            write_json(staging / "calibration.json", {"indices": plan.calibration})
            _describe(summary, data.frames, staging)
            if (raw / "NOTICE").is_file():
                (staging / "NOTICE").write_bytes((raw / "NOTICE").read_bytes())
    return summary


def plan_dataset(data: RawData, spec: DatasetSpec, name: str = "") -> Plan:
    """Assign the good images of raw data to splits, and choose the calibration images.

    Raises:
        DataError: Classes that contradict the labels, too few sessions, or too few images for the calibration.
    """
    refuse_classes(data, spec, name)
    frames = numbered(data, spec)
    units = units_of(frames, spec)
    sessions = split_units(units, spec.split, name)
    home = {session: split for split, names in sessions.items() for session in names}
    by_split = {split: [frame for frame in frames if home[frame.session] == split] for split in SPLITS}
    return Plan(spec.classes, units, sessions, by_split, _calibration(by_split["train"], spec, name))


def refuse_bad(data: RawData, name: str = "") -> None:
    """A single bad item is an error: the import has already filtered them.

    Raises:
        DataError: An item is bad, or there is no image.
    """
    again = f"correct them in the source, then import or simulate {name or 'the data'} again"
    if data.issues:
        raise DataError(
            f"{data.folder} has {plural(len(data.issues), 'bad item')}:{first_issues(data.issues)}",
            needed="raw data without bad items",
            fix=again,
        )
    if not data.frames:
        raise DataError(f"{data.folder} has no image", needed="images with labels", fix=again.partition(", then ")[2])


def refuse_classes(data: RawData, spec: DatasetSpec, name: str = "") -> None:
    """The classes of ``spec`` and the categories of the boxes have to agree.

    Raises:
        DataError: A class without a category, or boxes of a category that is no class.
    """
    key = f"{_key(name)}classes"
    absent = [label for label in spec.classes if label not in data.categories]
    if absent:
        raise DataError(
            f"{data.folder}/annotations.json has no category {', '.join(map(repr, absent))}",
            needed=f"classes among its categories: {', '.join(map(repr, data.categories))}",
            fix=f"correct {key} in params.yaml",
        )
    extra = {label: count for label, count in data.boxes.items() if count and label not in spec.classes}
    if extra:
        counts = ", ".join(f"{plural(count, 'box', 'boxes')} of {label!r}" for label, count in extra.items())
        raise DataError(
            f"{data.folder} has {counts}, which {key} lacks",
            needed="every category with boxes among the classes",
            fix=f"add {', '.join(map(repr, extra))} to {key} in params.yaml, or remove these boxes from the source",
        )


def numbered(data: RawData, spec: DatasetSpec) -> list[Frame]:
    """The good images, with boxes whose category indexes the classes of ``spec``; boxes of no class are left out."""
    numbers = {data.categories.index(name): i for i, name in enumerate(spec.classes) if name in data.categories}
    return [
        replace(
            frame,
            boxes=tuple(box._replace(category=numbers[box.category]) for box in frame.boxes if box.category in numbers),
        )
        for frame in data.frames
    ]


def units_of(frames: Sequence[Frame], spec: DatasetSpec) -> tuple[Unit, ...]:
    """Units of sessions linked by near-duplicates, ordered by their first session."""
    hashed = [(frame.entry.file_name, frame.session, frame.perceptual_hash) for frame in frames]
    links = session_links(hashed, spec.near_duplicate_bits)
    groups = linked_groups({frame.session for frame in frames}, [link.sessions for link in links])
    images = Counter(frame.session for frame in frames)
    boxes: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for frame in frames:
        boxes[frame.session].update(spec.classes[box.category] for box in frame.boxes)
    return tuple(
        Unit(
            sessions=group,
            images=sum(images[session] for session in group),
            boxes=sum((boxes[session] for session in group), Counter()),
            links=tuple(link for link in links if link.sessions[0] in group),
        )
        for group in groups
    )


def _key(name: str) -> str:
    """The prefix of the keys of a data set in params.yaml."""
    return f"datasets.{name}." if name else ""


def _calibration(train: list[Frame], spec: DatasetSpec, name: str) -> list[int]:
    """Indices into train, taken round-robin from all sessions, so that every place and light is represented."""
    if spec.calibration_images > len(train):
        raise DataError(
            f"{_key(name)}calibration_images is {spec.calibration_images}, and train has {plural(len(train), 'image')}",
            needed="at most as many calibration images as images in train",
            fix=f"set {_key(name)}calibration_images in params.yaml to at most {len(train)}, or add data",
        )
    seed = f"{spec.split.seed}/calibration"
    queues: defaultdict[str, list[tuple[bytes, int]]] = defaultdict(list)
    for index, frame in enumerate(train):
        lot = hashlib.sha256(f"{seed}/{frame.entry.file_name}".encode()).digest()
        queues[frame.session].append((lot, index))
    turns = [(turn, lot, index) for queue in queues.values() for turn, (lot, index) in enumerate(sorted(queue))]
    return sorted(index for _, _, index in sorted(turns)[: spec.calibration_images])


def _pack(frames: Sequence[Frame], classes: tuple[str, ...], folder: Path) -> dict[str, int]:
    """Write one split; return its number of boxes by class."""
    folder.mkdir()
    offsets = [0]
    with (folder / "images.bin").open("wb") as bin_file:
        for frame in frames:
            encoded = read_bytes(frame.entry.path, frame.entry.file_name)
            if hashlib.md5(encoded, usedforsecurity=False).hexdigest() != frame.md5:
                raise DataError(
                    f"{frame.entry.path} changed while it was read",
                    needed="raw data that no other process writes to",
                    fix="run the same command again",
                )
            bin_file.write(encoded)
            offsets.append(offsets[-1] + len(encoded))
            report(f"pack {folder.name}", len(offsets) - 1, len(frames))
    np.save(folder / "offsets.npy", np.array(offsets, dtype=np.int64), allow_pickle=False)
    writer = _labels_of(frames, classes)
    writer.write(folder / "annotations.json", description=f"{folder.name} split")
    return writer.boxes_by_class()


def _labels_of(frames: Sequence[Frame], classes: tuple[str, ...]) -> LabelWriter:
    """The labels of one split; ``Box.category`` indexes ``classes``."""
    writer = LabelWriter(classes)
    for frame in frames:
        writer.add(frame.entry.file_name, frame.session, frame.width, frame.height, frame.boxes)
    return writer


def _summary(plan: Plan, boxes: dict[str, dict[str, int]]) -> DatasetSummary:
    return DatasetSummary(
        classes=plan.classes,
        images={split: len(plan.frames[split]) for split in SPLITS},
        boxes=boxes,
        sessions=plan.sessions,
        calibration_images=len(plan.calibration),
        linked_sessions=tuple(unit.sessions for unit in plan.units if len(unit.sessions) > 1),
    )


def _describe(summary: DatasetSummary, frames: Sequence[Frame], staging: Path) -> None:
    document = {
        "classes": summary.classes,
        "splits": {
            split: {
                "images": summary.images[split],
                "boxes": summary.boxes[split],
                "sessions": summary.sessions[split],
            }
            for split in SPLITS
        },
        "linked_sessions": summary.linked_sessions,
        "source_md5": {frame.entry.file_name: frame.md5 for frame in frames},
    }
    text = json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
    (staging / "dataset.json").write_text(text + "\n", "utf-8")
