"""What an import gave, read from the raw data that it wrote: sizes, sessions, and the split that a build would make."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path
from statistics import median_low
from typing import Any

from robot_assets.data.spec import SplitSpec
from robot_assets.data.split import SPLITS, Unit, split_units


@dataclass(frozen=True)
class Outcome:
    """Figures of raw data.

    Attributes:
        image_size: Median width and median height, pixels.
        classes: Names in the order of their ids.
        units: Its sessions, each for itself: only a check of the pixels finds near-duplicates.
    """

    image_size: tuple[int, int]
    classes: tuple[str, ...]
    units: tuple[Unit, ...]

    @property
    def images(self) -> int:
        """Number of images."""
        return sum(unit.images for unit in self.units)

    @property
    def sessions(self) -> tuple[str, ...]:
        """Names of the sessions, sorted."""
        return tuple(session for unit in self.units for session in unit.sessions)

    @property
    def can_be_split(self) -> bool:
        """Whether there are as many sessions as splits."""
        return len(self.units) >= len(SPLITS)

    def split(self, spec: SplitSpec) -> dict[str, tuple[int, int]]:
        """Number of sessions and of images, by split.

        Raises:
            DataError: Fewer than three sessions.
        """
        images = {session: unit.images for unit in self.units for session in unit.sessions}
        splits = split_units(self.units, spec)
        return {split: (len(names), sum(images[name] for name in names)) for split, names in splits.items()}


def outcome_of(raw: Path) -> Outcome:
    """Read the labels of raw data that was just imported; the images are not opened."""
    document = json.loads((raw / "annotations.json").read_text("utf-8"))
    classes = {category["id"]: category["name"] for category in document["categories"]}
    images = document["images"]
    return Outcome(
        image_size=(median_low(image["width"] for image in images), median_low(image["height"] for image in images)),
        classes=tuple(classes.values()),
        units=tuple(_units(document, classes)),
    )


def _units(document: dict[str, Any], classes: dict[int, str]) -> list[Unit]:
    session_of = {image["id"]: image["session"] for image in document["images"]}
    images = Counter(session_of.values())
    boxes: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for annotation in document["annotations"]:
        boxes[session_of[annotation["image_id"]]][classes[annotation["category_id"]]] += 1
    return [Unit((session,), images[session], boxes[session]) for session in sorted(images)]
