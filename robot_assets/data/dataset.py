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
from pathlib import Path, PurePosixPath

import numpy as np

from robot_assets.core.errors import DataError
from robot_assets.core.progress import report
from robot_assets.core.publishing import publishing_directory
from robot_assets.core.text import plural
from robot_assets.data.boxes import Box
from robot_assets.data.duplicates import linked_groups, near_links
from robot_assets.data.images import read_bytes
from robot_assets.data.label_issues import BadItem, LabelIssue, explaining_disk_errors, first_issues
from robot_assets.data.labels import LabelWriter, write_json
from robot_assets.data.raw_source import read_raw
from robot_assets.data.source import Entry, Source, load
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
class _Frame:
    """One validated image; ``Box.category`` indexes the classes of the data set."""

    entry: Entry
    session: str
    width: int
    height: int
    boxes: tuple[Box, ...]
    perceptual_hash: int | None
    md5: str


def build_dataset(raw: Path, spec: DatasetSpec, out: Path) -> DatasetSummary:
    """Validate ``raw``, split it by session and pack it.

    Args:
        raw: Folder with annotations.json and images/SESSION/FILE, as an import or the simulation writes it.
        spec: Classes, shares of the splits, calibration and near-duplicates.
        out: Folder for dataset.json, calibration.json, NOTICE and train/, val/, test/; replaced when it exists.

    Raises:
        DataError: A bad image or box, classes that contradict the labels, too few sessions, or a full disk.
    """
    with explaining_disk_errors(out):
        source = read_raw(raw)
        numbers = _class_numbers(source, spec, raw)
        frames = _validated(source, numbers, raw, spec)
        units, linked = _units(frames, spec)
        sessions = split_units(units, spec.split)
        home = {session: split for split, names in sessions.items() for session in names}
        by_split = {split: [frame for frame in frames if home[frame.session] == split] for split in SPLITS}
        calibration = _calibration(by_split["train"], spec)
        with publishing_directory(out) as staging:
            boxes = {split: _pack(by_split[split], spec.classes, staging / split) for split in SPLITS}
            summary = DatasetSummary(
                classes=spec.classes,
                images={split: len(by_split[split]) for split in SPLITS},
                boxes=boxes,
                sessions=sessions,
                calibration_images=len(calibration),
                linked_sessions=linked,
            )
            write_json(staging / "calibration.json", {"indices": calibration})
            _describe(summary, frames, staging)
            if (raw / "NOTICE").is_file():
                (staging / "NOTICE").write_bytes((raw / "NOTICE").read_bytes())
    return summary


def _class_numbers(source: Source, spec: DatasetSpec, raw: Path) -> dict[int, int]:
    """Category index in the raw data -> class index in the data set."""
    absent = [name for name in spec.classes if name not in source.categories]
    if absent:
        raise DataError(
            f"{raw}/annotations.json has no category {', '.join(map(repr, absent))}",
            needed=f"classes among its categories {list(source.categories)}",
            fix="correct datasets.NAME.classes in params.yaml",
        )
    return {source.categories.index(name): number for number, name in enumerate(spec.classes)}


def _validated(source: Source, numbers: dict[int, int], raw: Path, spec: DatasetSpec) -> list[_Frame]:
    """All images, ordered by name. A single bad item is an error: the import has already filtered them."""
    issues: list[LabelIssue] = [*source.issues, *source.unlisted]
    frames: list[_Frame] = []
    for done, entry in enumerate(source.entries, start=1):
        report("validate images", done, len(source.entries))
        try:
            frames.append(_frame(entry, numbers, source.categories))
        except BadItem as bad:
            issues.append(bad.issue)
    if issues:
        raise DataError(
            f"{raw} has {plural(len(issues), 'bad item')}:{first_issues(issues)}",
            needed="raw data without bad items",
            fix="correct them in the source, then import or simulate the data again",
        )
    if not frames:
        raise DataError(f"{raw} has no image", needed="images with labels", fix="import or simulate the data again")
    return frames


def _frame(entry: Entry, numbers: dict[int, int], categories: Sequence[str]) -> _Frame:
    item = load(entry)
    for box in item.boxes:
        if box.category not in numbers:
            raise BadItem(
                entry.file_name,
                f"an annotation of {categories[box.category]!r}, which is not in datasets.NAME.classes",
                "add the class to params.yaml, or remove its annotations from the raw data",
            )
    return _Frame(
        entry=entry,
        session=PurePosixPath(entry.file_name).parent.as_posix(),
        width=item.facts.width,
        height=item.facts.height,
        boxes=tuple(replace(box, category=numbers[box.category]) for box in item.boxes),
        perceptual_hash=item.facts.perceptual_hash,
        md5=hashlib.md5(item.encoded, usedforsecurity=False).hexdigest(),
    )


def _units(frames: list[_Frame], spec: DatasetSpec) -> tuple[list[Unit], tuple[tuple[str, ...], ...]]:
    """Units of sessions linked by near-duplicates; and the groups with more than one session."""
    pairs = near_links([frame.perceptual_hash for frame in frames], spec.near_duplicate_bits)
    links = {(frames[i].session, frames[j].session) for i, j in pairs}
    groups = linked_groups({frame.session for frame in frames}, sorted(links))
    images = Counter(frame.session for frame in frames)
    boxes: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for frame in frames:
        boxes[frame.session].update(spec.classes[box.category] for box in frame.boxes)
    units = [
        Unit(
            sessions=group,
            images=sum(images[session] for session in group),
            boxes=sum((boxes[session] for session in group), Counter()),
        )
        for group in groups
    ]
    return units, tuple(group for group in groups if len(group) > 1)


def _calibration(train: list[_Frame], spec: DatasetSpec) -> list[int]:
    """Indices into train, taken round-robin from all sessions, so that every place and light is represented."""
    if spec.calibration_images > len(train):
        raise DataError(
            f"calibration_images is {spec.calibration_images}, and train has {plural(len(train), 'image')}",
            needed="at most as many calibration images as images in train",
            fix=f"set datasets.NAME.calibration_images in params.yaml to at most {len(train)}, or add data",
        )
    seed = f"{spec.split.seed}/calibration"
    queues: defaultdict[str, list[tuple[bytes, int]]] = defaultdict(list)
    for index, frame in enumerate(train):
        lot = hashlib.sha256(f"{seed}/{frame.entry.file_name}".encode()).digest()
        queues[frame.session].append((lot, index))
    turns = [(turn, lot, index) for queue in queues.values() for turn, (lot, index) in enumerate(sorted(queue))]
    return sorted(index for _, _, index in sorted(turns)[: spec.calibration_images])


def _pack(frames: list[_Frame], classes: tuple[str, ...], folder: Path) -> dict[str, int]:
    """Write one split; return its number of boxes by class."""
    folder.mkdir()
    writer = LabelWriter(classes)
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
            writer.add(frame.entry.file_name, frame.session, frame.width, frame.height, frame.boxes)
            report(f"pack {folder.name}", writer.images, len(frames))
    np.save(folder / "offsets.npy", np.array(offsets, dtype=np.int64), allow_pickle=False)
    writer.write(folder / "annotations.json", description=f"{folder.name} split")
    return writer.boxes_by_class()


def _describe(summary: DatasetSummary, frames: list[_Frame], staging: Path) -> None:
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
