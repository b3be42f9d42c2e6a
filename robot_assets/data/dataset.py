"""Builds a data set from raw images: validates, splits and packs them.

Every image is decoded and checked here, once; later stages rely on it. Sessions that share near-duplicate images stay
in one split, so that no evaluated image was seen in training.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np

from robot_assets.core.errors import DataError
from robot_assets.core.label_issues import explaining_disk_errors, first_issues
from robot_assets.core.progress import report
from robot_assets.core.publishing import publishing_directory
from robot_assets.core.text import plural
from robot_assets.data.duplicates import linked_groups, session_links
from robot_assets.data.images import read_bytes
from robot_assets.data.labels import PAYLOAD, PAYLOAD_OFFSETS, LabelWriter, label_format, sum_of, write_json
from robot_assets.data.raw import Frame, RawData, load_raw, md5_of, read_side
from robot_assets.data.spec import DatasetSpec
from robot_assets.data.split import SPLITS, Unit, split_units
from robot_assets.tasks.labels import DEFAULT_TASK

if TYPE_CHECKING:
    from robot_assets.tasks.labels import Counted


@dataclass(frozen=True)
class DatasetSummary:
    """Figures of a packed data set.

    Attributes:
        classes: Names in the order of their index.
        images: Number of images, by split.
        counts: Number of labels, by split and class.
        amounts: What charts compare, by split and class; pixels of masks, for example.
        sessions: Recording sessions, by split.
        calibration_images: Number of images of train used for calibration.
        linked_sessions: Groups of sessions linked by near-duplicate images.
        counted: What the counts and amounts are of.
    """

    classes: tuple[str, ...]
    images: dict[str, int]
    counts: dict[str, dict[str, int]]
    amounts: dict[str, dict[str, int]]
    sessions: dict[str, tuple[str, ...]]
    calibration_images: int
    linked_sessions: tuple[tuple[str, ...], ...]
    counted: Counted

    def as_json(self) -> dict[str, object]:
        """Plain data for standard output."""
        labels = {self.counted.plural: self.counts, self.counted.amount: self.amounts}
        return {
            "classes": self.classes,
            "images": self.images,
            **labels,
            "sessions": self.sessions,
            "calibration_images": self.calibration_images,
            "linked_sessions": self.linked_sessions,
        }


@dataclass(frozen=True)
class Plan:
    """What a build packs.

    Attributes:
        spec: The parameters.
        units: Sessions that stay together.
        sessions: Recording sessions, by split.
        frames: Images, by split; their labels are of the classes of ``spec``.
        calibration: Indices into the images of train.
    """

    spec: DatasetSpec
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
        DataError: A bad image or label, classes that contradict the labels, too few sessions, or a full disk.
    """
    with explaining_disk_errors(out):
        is_simulated = bool(name) and spec.source.kind == "simulation"
        data = load_raw(raw, "validate images", task=spec.task, name=name, is_simulated=is_simulated)
        refuse_bad(data, name)
        plan = plan_dataset(data, spec, name)
        with publishing_directory(out) as staging:
            for split in SPLITS:
                _pack(plan.frames[split], spec, staging / split)
            summary = _summary(plan)
            write_json(staging / "calibration.json", {"indices": plan.calibration})
            _describe(summary, spec, data.frames, staging)
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
    return Plan(spec, units, sessions, by_split, _calibration(by_split["train"], spec, name))


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
    """The classes of ``spec`` and the categories of the labels have to agree.

    Raises:
        DataError: A class without a category, or labels of a category that is no class.
    """
    counted = label_format(spec.task).counted
    key = f"{_key(name)}classes"
    absent = [label for label in spec.classes if label not in data.categories]
    if absent:
        raise DataError(
            f"{data.folder}/annotations.json has no category {', '.join(map(repr, absent))}",
            needed=f"classes among its categories: {', '.join(map(repr, data.categories))}",
            fix=f"correct {key} in params.yaml",
        )
    extra = {label: count for label, count in data.counts.items() if count and label not in spec.classes}
    if extra:
        counts = ", ".join(
            f"{plural(count, counted.noun, counted.plural)} of {label!r}" for label, count in extra.items()
        )
        raise DataError(
            f"{data.folder} has {counts}, which {key} lacks",
            needed=f"every category with {counted.plural} among the classes",
            fix=f"add {', '.join(map(repr, extra))} to {key} in params.yaml, or {counted.removal}",
        )


def numbered(data: RawData, spec: DatasetSpec) -> list[Frame]:
    """The good images, with labels of the classes of ``spec``; labels of no class are left out."""
    numbers = {data.categories.index(name): i for i, name in enumerate(spec.classes) if name in data.categories}
    format = label_format(spec.task)
    return [replace(frame, labels=format.renumbered(frame.labels, numbers)) for frame in data.frames]


def counts_by_class(frames: Iterable[Frame], spec: DatasetSpec) -> dict[str, int]:
    """Number of labels of images of :func:`numbered`, for every class."""
    return by_class(map(label_format(spec.task).counts, [frame.labels for frame in frames]), spec.classes)


def by_class(counts: Iterable[Counter[int]], classes: Sequence[str]) -> dict[str, int]:
    """The sum of counts by class index, for every class by its name."""
    total = sum_of(counts)
    return {name: total[index] for index, name in enumerate(classes)}


def units_of(frames: Sequence[Frame], spec: DatasetSpec) -> tuple[Unit, ...]:
    """Units of sessions linked by near-duplicates, ordered by their first session."""
    hashed = [(frame.entry.file_name, frame.session, frame.perceptual_hash) for frame in frames]
    links = session_links(hashed, spec.near_duplicate_bits)
    groups = linked_groups({frame.session for frame in frames}, [link.sessions for link in links])
    of_session: defaultdict[str, list[Frame]] = defaultdict(list)
    for frame in frames:
        of_session[frame.session].append(frame)
    counts = {session: counts_by_class(some, spec) for session, some in of_session.items()}
    return tuple(
        Unit(
            sessions=group,
            images=sum(len(of_session[session]) for session in group),
            counts=sum((Counter(counts[session]) for session in group), Counter()),
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


def _pack(frames: Sequence[Frame], spec: DatasetSpec, folder: Path) -> None:
    """Write one split."""
    folder.mkdir()
    format, writer = label_format(spec.task), LabelWriter(spec.classes, spec.task)
    with _BlobWriter(folder / "images.bin") as images, _BlobWriter(folder / PAYLOAD) as payloads:
        for done, frame in enumerate(frames, start=1):
            encoded, side = _read_again(frame)
            images.add(encoded)
            payloads.add(format.payload(frame.labels, side))
            annotations = format.annotations(frame.labels)
            writer.add_annotations(frame.entry.file_name, frame.session, frame.width, frame.height, annotations)
            report(f"pack {folder.name}", done, len(frames))
    images.write_offsets(folder / "offsets.npy")
    if payloads.size_bytes:
        payloads.write_offsets(folder / PAYLOAD_OFFSETS)
    else:
        (folder / PAYLOAD).unlink()
    writer.write(folder / "annotations.json", description=f"{folder.name} split")


def _read_again(frame: Frame) -> tuple[bytes, bytes | None]:
    """The bytes of an image, and of its file in the folder of the label format, as they were checked."""
    encoded, side = read_bytes(frame.entry.path, frame.entry.file_name), read_side(frame.entry)
    if md5_of(encoded) != frame.md5:
        raise _changed(frame.entry.path)
    if side is not None and md5_of(side) != frame.side_md5:
        raise _changed(frame.entry.side_path)
    return encoded, side


def _changed(path: Path | None) -> DataError:
    return DataError(
        f"{path} changed while it was read",
        needed="raw data that no other process writes to",
        fix="run the same command again",
    )


class _BlobWriter:
    """Writes bytes one after the other, and where each begins."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")
        self._offsets = [0]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    @property
    def size_bytes(self) -> int:
        """Number of bytes added."""
        return self._offsets[-1]

    def add(self, blob: bytes) -> None:
        """Append one blob."""
        self._file.write(blob)
        self._offsets.append(self._offsets[-1] + len(blob))

    def write_offsets(self, path: Path) -> None:
        """Write where each blob begins, and where the last one ends: int64 (n + 1,)."""
        np.save(path, np.array(self._offsets, dtype=np.int64), allow_pickle=False)


def _summary(plan: Plan) -> DatasetSummary:
    format, classes = label_format(plan.spec.task), plan.spec.classes
    labels = {split: [frame.labels for frame in plan.frames[split]] for split in SPLITS}
    return DatasetSummary(
        classes=classes,
        images={split: len(plan.frames[split]) for split in SPLITS},
        counts={split: by_class(map(format.counts, some), classes) for split, some in labels.items()},
        amounts={split: by_class(map(format.amounts, some), classes) for split, some in labels.items()},
        sessions=plan.sessions,
        calibration_images=len(plan.calibration),
        linked_sessions=tuple(unit.sessions for unit in plan.units if len(unit.sessions) > 1),
        counted=format.counted,
    )


def _describe(summary: DatasetSummary, spec: DatasetSpec, frames: Sequence[Frame], staging: Path) -> None:
    format = label_format(spec.task)
    document: dict[str, object] = {
        "classes": summary.classes,
        "splits": {
            split: {
                "images": summary.images[split],
                summary.counted.plural: summary.counts[split],
                summary.counted.amount: summary.amounts[split],
                "sessions": summary.sessions[split],
            }
            for split in SPLITS
        },
        "linked_sessions": summary.linked_sessions,
        "source_md5": {frame.entry.file_name: frame.md5 for frame in frames},
    }
    if spec.task != DEFAULT_TASK:
        document["task"] = spec.task
    if format.folder:
        document[f"{format.folder}_md5"] = {frame.entry.side_name: frame.side_md5 for frame in frames}
    text = json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
    (staging / "dataset.json").write_text(text + "\n", "utf-8")
