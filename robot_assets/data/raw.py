"""Look a raw data set through without building anything from it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from robot_assets.core.progress import report
from robot_assets.data.coco import read_coco
from robot_assets.data.label_issues import BadItem, Finding
from robot_assets.data.source import load


@dataclass(frozen=True)
class RawReport:
    """What a raw data set has, and everything that is wrong with it.

    Attributes:
        images: Good images.
        sessions: Their recording sessions.
        boxes: Boxes by category.
        findings: One for each bad item.
    """

    images: int
    sessions: int
    boxes: dict[str, int]
    findings: tuple[Finding, ...]


def inspect_raw(raw: Path) -> RawReport:
    """Decode every image and check every box of ``raw``.

    Raises:
        DataError: It has no readable labels at all.
    """
    source = read_coco(raw)
    findings = [*source.findings, *source.unlisted]
    sessions: set[str] = set()
    boxes: Counter[str] = Counter()
    images = 0
    for done, entry in enumerate(source.entries, start=1):
        report("check images", done, len(source.entries))
        try:
            item = load(entry)
        except BadItem as bad:
            findings.append(bad.finding)
            continue
        images += 1
        sessions.add(PurePosixPath(entry.file_name).parent.as_posix())
        boxes.update(source.categories[box.category] for box in item.boxes)
    counts = {name: boxes[name] for name in source.categories}
    return RawReport(images, len(sessions), counts, tuple(sorted(findings)))
