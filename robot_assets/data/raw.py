"""Reads the images of a raw data set: each is decoded and checked with its boxes, once."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from robot_assets.tasks.detection.boxes import Box
from robot_assets.core.label_issues import BadItem, LabelIssue
from robot_assets.data.raw_source import read_raw
from robot_assets.data.source import Entry, load
from robot_assets.store.parallel import map_in_groups

_GROUP = 16
"""Images per task: decoding one takes milliseconds."""


@dataclass(frozen=True)
class Frame:
    """One checked image.

    Attributes:
        entry: Its name and path.
        session: Its recording session.
        width: In pixels.
        height: In pixels.
        boxes: Its boxes; ``Box.category`` indexes the categories of the raw data.
        perceptual_hash: 64 bits; None for a blank image.
        md5: Hash of its encoded bytes.
    """

    entry: Entry
    session: str
    width: int
    height: int
    boxes: tuple[Box, ...]
    perceptual_hash: int | None
    md5: str


@dataclass(frozen=True)
class RawData:
    """The content of a raw data set.

    Attributes:
        folder: Where it is.
        categories: Class names in the order of their ids.
        frames: Its good images, ordered by name.
        issues: Its bad items, sorted.
    """

    folder: Path
    categories: tuple[str, ...]
    frames: tuple[Frame, ...]
    issues: tuple[LabelIssue, ...]

    @property
    def sessions(self) -> tuple[str, ...]:
        """The recording sessions with good images, sorted."""
        return tuple(sorted({frame.session for frame in self.frames}))

    @property
    def boxes(self) -> dict[str, int]:
        """Number of boxes, by category."""
        counts = Counter(box.category for frame in self.frames for box in frame.boxes)
        return {name: counts[index] for index, name in enumerate(self.categories)}


def load_raw(folder: Path, what: str = "check images") -> RawData:
    """Decode every image and check every box of a raw data set.

    Args:
        folder: Folder with annotations.json and images/SESSION/FILE.
        what: Name of the work in progress reports.

    Raises:
        DataError: It is no raw data, or its labels cannot be read.
    """
    source = read_raw(folder)
    loaded = map_in_groups(_frame, source.entries, what, _GROUP)
    frames = tuple(one for one in loaded if isinstance(one, Frame))
    issues = [*source.issues, *source.unlisted, *(one for one in loaded if isinstance(one, LabelIssue))]
    return RawData(folder, source.categories, frames, tuple(sorted(issues)))


def _frame(entry: Entry) -> Frame | LabelIssue:
    try:
        item = load(entry)
    except BadItem as bad:
        return bad.issue
    return Frame(
        entry=entry,
        session=PurePosixPath(entry.file_name).parent.as_posix(),
        width=item.facts.width,
        height=item.facts.height,
        boxes=item.boxes,
        perceptual_hash=item.facts.perceptual_hash,
        md5=hashlib.md5(item.encoded, usedforsecurity=False).hexdigest(),
    )
