"""Reads the images of a raw data set: each is decoded and checked with its labels, once."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from robot_assets.core.label_issues import BadItem, LabelIssue
from robot_assets.data.images import inspect_image, read_bytes
from robot_assets.data.labels import label_format, sum_of
from robot_assets.data.raw_source import RawEntry, RawSource, read_raw
from robot_assets.store.parallel import map_in_groups
from robot_assets.tasks.labels import DEFAULT_TASK

if TYPE_CHECKING:
    from robot_assets.tasks.labels import LabelFormat

_GROUP = 16
"""Images per task: decoding one takes milliseconds."""


@dataclass(frozen=True)
class Frame:
    """One checked image.

    Attributes:
        entry: Its name and path, and those of its file in the folder of the label format.
        session: Its recording session.
        width: In pixels.
        height: In pixels.
        labels: Its labels, a value of the label format; classes are categories of the raw data.
        perceptual_hash: 64 bits; None for a blank image.
        md5: Hash of its encoded bytes.
        side_md5: Hash of the bytes of its file in the folder of the label format; empty for none.
    """

    entry: RawEntry
    session: str
    width: int
    height: int
    labels: Any
    perceptual_hash: int | None
    md5: str
    side_md5: str = ""


@dataclass(frozen=True)
class RawData:
    """The content of a raw data set.

    Attributes:
        folder: Where it is.
        task: The task of its labels.
        categories: Class names in the order of their ids.
        frames: Its good images, ordered by name.
        issues: Its bad items, sorted.
    """

    folder: Path
    task: str
    categories: tuple[str, ...]
    frames: tuple[Frame, ...]
    issues: tuple[LabelIssue, ...]

    @property
    def sessions(self) -> tuple[str, ...]:
        """The recording sessions with good images, sorted."""
        return tuple(sorted({frame.session for frame in self.frames}))

    @property
    def counts(self) -> dict[str, int]:
        """Number of labels, by category."""
        counts = sum_of(map(label_format(self.task).counts, [frame.labels for frame in self.frames]))
        return {name: counts[index] for index, name in enumerate(self.categories)}

    @property
    def amounts(self) -> dict[str, int]:
        """What charts compare, by category: pixels of masks, for example."""
        amounts = sum_of(map(label_format(self.task).amounts, [frame.labels for frame in self.frames]))
        return {name: amounts[index] for index, name in enumerate(self.categories)}


def load_raw(
    folder: Path,
    what: str = "check images",
    *,
    task: str = DEFAULT_TASK,
    name: str = "",
    is_simulated: bool = False,
) -> RawData:
    """Decode every image and check all labels of a raw data set.

    Args:
        folder: Folder with annotations.json and images/SESSION/FILE.
        what: Name of the work in progress reports.
        task: The task of its labels.
        name: Name of the data set in params.yaml, for errors.
        is_simulated: Whether that data set is a simulation, for errors.

    Raises:
        DataError: It is no raw data, or its labels cannot be read.
    """
    source = read_raw(folder, task, name, is_simulated=is_simulated)
    loaded = map_in_groups(partial(_frame, source, label_format(task)), source.entries, what, _GROUP)
    frames = tuple(one for one in loaded if isinstance(one, Frame))
    issues = [*source.issues, *(one for one in loaded if isinstance(one, LabelIssue))]
    return RawData(folder, task, source.categories, frames, tuple(sorted(issues)))


def read_side(entry: RawEntry) -> bytes | None:
    """The file of an image in the folder of the label format; None when there is none.

    Raises:
        BadItem: It cannot be read.
    """
    return read_bytes(entry.side_path, entry.side_name) if entry.side_path else None


def md5_of(encoded: bytes) -> str:
    """Hash of some bytes."""
    return hashlib.md5(encoded, usedforsecurity=False).hexdigest()


def _frame(source: RawSource, format: LabelFormat, entry: RawEntry) -> Frame | LabelIssue:
    try:
        encoded = read_bytes(entry.path, entry.file_name)
        facts = inspect_image(encoded, entry.file_name)
        side = read_side(entry)
        labels = format.read(source.image(entry, (facts.width, facts.height), side))
    except BadItem as bad:
        return bad.issue
    return Frame(
        entry=entry,
        session=PurePosixPath(entry.file_name).parent.as_posix(),
        width=facts.width,
        height=facts.height,
        labels=labels,
        perceptual_hash=facts.perceptual_hash,
        md5=md5_of(encoded),
        side_md5="" if side is None else md5_of(side),
    )
