"""Copies the images of a source into raw data, with their checked labels. Runs on several threads."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from robot_assets.core.label_issues import BadItem, LabelIssue
from robot_assets.data.images import decoded_size, read_bytes
from robot_assets.data.importing.headers import size_of
from robot_assets.data.importing.segmentation.labels import (
    FOLDER,
    SUFFIX,
    MaskEntry,
    MaskLabels,
    require_class_pixels,
)
from robot_assets.data.source import Entry, checked_boxes
from robot_assets.store.receiving import Receiver, Written
from robot_assets.tasks.detection.boxes import Box
from robot_assets.tasks.segmentation.labels import encoded_mask

IMAGES = "images"


@dataclass(frozen=True)
class MaskFacts:
    """What is kept of a mask after it was written.

    Attributes:
        pixels: Number of pixels by value.
        shapes: As of :class:`MaskLabels`.
        hidden: As of :class:`MaskLabels`.
        covered: As of :class:`MaskLabels`.
        clipped: As of :class:`MaskLabels`.
    """

    pixels: Mapping[int, int]
    shapes: int
    hidden: int
    covered: int
    clipped: int


@dataclass(frozen=True)
class Copied:
    """An image that passed every check and was written to the result.

    Attributes:
        file_name: Below images/.
        width: In pixels.
        height: In pixels.
        written: Its files, by their path in the result.
        boxes: Its boxes.
        mask: Of a segmentation.
    """

    file_name: str
    width: int
    height: int
    written: Mapping[str, Written]
    boxes: tuple[Box, ...] = ()
    mask: MaskFacts | None = None

    @property
    def session(self) -> str:
        """Its recording session."""
        return self.file_name.rpartition("/")[0] or "."

    @property
    def labels(self) -> Counter[int]:
        """Number of boxes by class index; of a mask, 1 for each class that it has."""
        if self.mask is None:
            return Counter(box.category for box in self.boxes)
        return Counter(self.mask.pixels.keys())


@dataclass(frozen=True)
class Copier:
    """Writes images and masks.

    Attributes:
        root: Folder of the result.
        receiver: Gets all files; None: they are added later.
        painted_from: Format of the labels that masks are painted from; "" for labels that are masks, or boxes.
    """

    root: Path
    receiver: Receiver | None = None
    painted_from: str = ""

    def make_folders(self, entries: Iterable[Entry]) -> None:
        """Make the folders of the images, and of their masks."""
        below = {(entry.file_name.rpartition("/")[0], isinstance(entry, MaskEntry)) for entry in entries}
        for folder, has_masks in sorted(below):
            for top in (IMAGES, FOLDER)[: 1 + has_masks]:
                (self.root / top / folder).mkdir(parents=True, exist_ok=True)

    def copied(self, entry: Entry) -> Copied | LabelIssue:
        """Check an image and its labels, then write exactly the checked bytes."""
        try:
            encoded = read_bytes(entry.path, entry.file_name)
            width, height = size_of(encoded) or decoded_size(encoded, entry.file_name)
            if isinstance(entry, MaskEntry):
                labels = self._checked_mask(entry, width, height)
                files = {f"{IMAGES}/{entry.file_name}": encoded, mask_name(entry): encoded_mask(labels.mask)}
                return Copied(entry.file_name, width, height, self._written(files), mask=_facts(labels))
            boxes = checked_boxes(entry, width, height)
        except BadItem as bad:
            return bad.issue
        return Copied(entry.file_name, width, height, self._written({f"{IMAGES}/{entry.file_name}": encoded}), boxes)

    def _checked_mask(self, entry: MaskEntry, width: int, height: int) -> MaskLabels:
        try:
            labels = entry.read_mask(width, height)
        except OSError as error:
            found = f"its labels cannot be read ({error.strerror or error})"
            raise BadItem(entry.file_name, found, "correct the permissions, or copy the labels again") from None
        require_class_pixels(labels, entry.place or entry.file_name, bool(self.painted_from))
        return labels

    def _written(self, files: Mapping[str, bytes]) -> dict[str, Written]:
        written = {}
        for name, content in files.items():
            md5 = self.receiver.receive(content) if self.receiver else ""
            written[name] = Written.of(_write(f"{self.root}/{name}", content), md5)
        return written


def mask_name(entry: Entry) -> str:
    """Path of the mask of an image in the result: masks/SESSION/STEM.png."""
    return f"{FOLDER}/{PurePosixPath(entry.file_name).with_suffix(SUFFIX)}"


def _facts(labels: MaskLabels) -> MaskFacts:
    counts = np.bincount(labels.mask.ravel(), minlength=256)
    pixels = {int(value): int(counts[value]) for value in np.flatnonzero(counts)}
    return MaskFacts(pixels, labels.shapes, labels.hidden, labels.covered, labels.clipped)


def _write(path: str, content: bytes) -> os.stat_result:
    """Write a new file; return its facts."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        rest = memoryview(content)
        while rest:
            rest = rest[os.write(handle, rest) :]
        return os.fstat(handle)
    finally:
        os.close(handle)
