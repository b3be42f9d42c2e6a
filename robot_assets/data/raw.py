"""Checks a raw data set without building a data set from it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from robot_assets.core.progress import report
from robot_assets.data.label_issues import BadItem, LabelIssue
from robot_assets.data.raw_source import read_raw
from robot_assets.data.source import load


@dataclass(frozen=True)
class RawReport:
    """Figures of a raw data set, and its bad items.

    Attributes:
        images: Number of good images.
        sessions: Number of their recording sessions.
        boxes: Number of boxes, by category.
        findings: One per bad item.
    """

    images: int
    sessions: int
    boxes: dict[str, int]
    findings: tuple[LabelIssue, ...]


def inspect_raw(raw: Path) -> RawReport:
    """Decode every image and check every box of ``raw``.

    Raises:
        DataError: It has no readable labels.
    """
    source = read_raw(raw)
    issues = [*source.issues, *source.unlisted]
    sessions: set[str] = set()
    boxes: Counter[str] = Counter()
    images = 0
    for done, entry in enumerate(source.entries, start=1):
        report("check images", done, len(source.entries))
        try:
            item = load(entry)
        except BadItem as bad:
            issues.append(bad.issue)
            continue
        images += 1
        sessions.add(PurePosixPath(entry.file_name).parent.as_posix())
        boxes.update(source.categories[box.category] for box in item.boxes)
    counts = {name: boxes[name] for name in source.categories}
    return RawReport(images, len(sessions), counts, tuple(sorted(issues)))
