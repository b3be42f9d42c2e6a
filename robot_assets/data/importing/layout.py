"""Layouts: how annotation tools arrange images and labels in a folder. A source is recognized first, then read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from robot_assets.data.tree import Tree


@dataclass(frozen=True)
class LabelFiles:
    """The files of a source by their part in it. All paths are relative to the source, as :class:`Tree` names them.

    Attributes:
        labels: YOLO: image -> its label file, whether that exists or not. Empty for COCO.
        documents: COCO: label file -> the folders ("" is the source) below which its images are, in order of
            preference. Empty for YOLO.
        class_files: YOLO: files that name the classes; all of them have to agree.
        others: Files of the tool itself, such as lists of images and read-me files; they are no labels.
        splits: Top folders that are splits of the export and no recording sessions, such as "train" and "valid".
    """

    labels: Mapping[str, str] = field(default_factory=dict)
    documents: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    class_files: tuple[str, ...] = ()
    others: frozenset[str] = frozenset()
    splits: tuple[str, ...] = ()


@dataclass(frozen=True)
class Layout:
    """One arrangement.

    Attributes:
        name: What ``--layout`` takes, such as "roboflow".
        format: "yolo" or "coco".
        title: For people, such as "Roboflow export (YOLO)".
        looked_for: What it consists of, for the finding about an unknown layout, such as
            "SPLIT/images/ and SPLIT/labels/ with data.yaml at the top".
        find: Its files in a tree; None when the tree is not arranged so.
    """

    name: str
    format: str
    title: str
    looked_for: str
    find: Callable[[Tree], LabelFiles | None]
