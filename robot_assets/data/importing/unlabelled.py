"""Images without labels: left out, or imported as images without objects where a person asks for it.

Tools differ. CVAT (Ultralytics YOLO), FiftyOne, labelImg and Label Studio write no label for an image without objects,
and Ultralytics trains with such images as background. An incomplete copy of labels looks the same.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from robot_assets.core.label_issues import printable
from robot_assets.core.text import listed, plural
from robot_assets.tasks.detection.boxes import Box

UNLABELLED = ("background",)
"""What ``--unlabelled`` takes."""
BACKGROUND = "run the same command with --unlabelled background"


def no_boxes(width: int, height: int) -> list[Box]:
    """The boxes of an image without objects."""
    return []


def about_background(images: Collection[str], class_name: str | None = None) -> Iterator[str]:
    """The images that are imported as images without objects, or as images of one class, for people."""
    if images:
        names = listed(map(printable, sorted(images)), 3)
        what = "images without objects" if class_name is None else f"images of {class_name!r} only"
        yield f"{plural(len(images), 'image')} without labels imported as {what}: {names}"


def about_unlisted(images: Collection[str]) -> Iterator[str]:
    """The images that are left out, for people."""
    if images:
        names = listed(map(printable, sorted(images)), 3)
        count = plural(len(images), "image")
        yield f"{count} without an entry in the labels left out: {names}; if without objects, {BACKGROUND}"
