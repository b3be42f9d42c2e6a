"""What a reader of a label format hands to the importer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from robot_assets.data.boxes import Box
from robot_assets.data.findings import Finding


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
        unlisted: Images that the labels do not speak of; they are not imported.
    """

    categories: tuple[str, ...]
    entries: tuple[Entry, ...]
    findings: tuple[Finding, ...] = field(default=())
    unlisted: int = 0
