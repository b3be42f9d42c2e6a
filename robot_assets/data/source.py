"""What a reader of a label format hands to the importer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from robot_assets.data.boxes import Box
from robot_assets.data.images import ImageFacts, inspect_image, read_bytes
from robot_assets.data.label_issues import BadItem, Finding


@dataclass(frozen=True)
class Entry:
    """One image of a source and the way to its labels.

    Attributes:
        file_name: Path below images/ of the raw data set; its folder is the recording session.
        path: Where the image lies in the source.
        read_boxes: Called with (width, height) of the image in pixels; raises BadItem.
    """

    file_name: str
    path: Path
    read_boxes: Callable[[int, int], list[Box]]


@dataclass(frozen=True)
class Source:
    """Everything that was found in a source.

    Attributes:
        categories: Class names in the order of their ids.
        entries: Images with labels, by file name.
        findings: What is bad without even opening an image.
        unlisted: Images that the labels do not speak of; an import leaves them be, and
            in a raw data set, which an import has made, they are bad.
    """

    categories: tuple[str, ...]
    entries: tuple[Entry, ...]
    findings: tuple[Finding, ...] = field(default=())
    unlisted: tuple[Finding, ...] = field(default=())


@dataclass(frozen=True)
class Labelled:
    """One image that passed every check: its bytes as they lie in the source, and its boxes."""

    encoded: bytes
    facts: ImageFacts
    boxes: tuple[Box, ...]


def load(entry: Entry) -> Labelled:
    """Read and check one image and its labels.

    Raises:
        BadItem: Something about the image or one of its boxes.
    """
    encoded = read_bytes(entry.path, entry.file_name)
    facts = inspect_image(encoded, entry.file_name)
    boxes = tuple(entry.read_boxes(facts.width, facts.height))
    seen = set()
    for box in boxes:
        key = (box.category, box.x, box.y, box.width, box.height)
        if key in seen:
            place = f"{box.x:g}, {box.y:g}, {box.width:g}, {box.height:g}"
            raise BadItem(entry.file_name, f"the same box twice: {place} px", "remove one of the two labels")
        seen.add(key)
    return Labelled(encoded, facts, boxes)
