"""The interface between the readers of label formats and the importer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from robot_assets.core.label_issues import BadItem, LabelIssue
from robot_assets.data.images import ImageFacts, inspect_image, read_bytes
from robot_assets.tasks.detection.boxes import Box
from robot_assets.tasks.detection.labels import refuse_duplicates


@dataclass(frozen=True)
class Entry:
    """One image of a source, and the function that reads its labels.

    Attributes:
        file_name: Path below images/ of the raw data set; its folder is the recording session.
        path: Path of the image in the source.
        read_boxes: Called with (width, height) of the image in pixels; raises BadItem.
    """

    file_name: str
    path: Path
    read_boxes: Callable[[int, int], list[Box]]


@dataclass(frozen=True)
class Source:
    """The content of a source.

    Attributes:
        categories: Class names in the order of their ids.
        entries: Images with labels, ordered by file name.
        issues: Issues found without opening an image.
        unlisted: Images without an entry in the labels. An import leaves them out; in a raw data set they are issues.
        layout: The arrangement that was recognized, for people; "" for raw data of this project.
        splits: Top folders of ``file_name`` that are splits of an export and no recording sessions.
        notes: What an importer did that a person should know of, one line each, such as the number of polygons that
            were read as their enclosing boxes.
    """

    categories: tuple[str, ...]
    entries: tuple[Entry, ...]
    issues: tuple[LabelIssue, ...] = field(default=())
    unlisted: tuple[LabelIssue, ...] = field(default=())
    layout: str = ""
    splits: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Labelled:
    """An image that passed every check: its encoded bytes, and its boxes."""

    encoded: bytes
    facts: ImageFacts
    boxes: tuple[Box, ...]


def load(entry: Entry) -> Labelled:
    """Read and check one image and its labels; the image is decoded completely.

    Raises:
        BadItem: The image or one of its boxes is invalid.
    """
    encoded = read_bytes(entry.path, entry.file_name)
    facts = inspect_image(encoded, entry.file_name)
    return Labelled(encoded, facts, checked_boxes(entry, facts.width, facts.height))


def checked_boxes(entry: Entry, width: int, height: int) -> tuple[Box, ...]:
    """The boxes of an image of ``width`` x ``height`` pixels.

    Raises:
        BadItem: One of them is invalid or there twice, or the labels cannot be read.
    """
    try:
        boxes = tuple(entry.read_boxes(width, height))
    except OSError as error:
        found = f"its labels cannot be read ({error.strerror or error})"
        raise BadItem(entry.file_name, found, "correct the permissions, or copy the labels again") from None
    refuse_duplicates(boxes, entry.file_name)
    return boxes
