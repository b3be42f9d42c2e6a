"""What an import gave: sizes, sessions, and the split that a build would make."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median_low
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from robot_assets.data.spec import SplitSpec


@dataclass(frozen=True)
class Session:
    """Figures of one recording session.

    Attributes:
        name: Its folder.
        images: Number of its images.
        labels: Number of their boxes, or of their masks that have the class, by class name.
    """

    name: str
    images: int
    labels: dict[str, int]


@dataclass(frozen=True)
class Outcome:
    """Figures of imported images.

    Attributes:
        image_size: Median width and median height, pixels.
        classes: Names in the order of their ids.
        sessions: Ordered by name. Sessions with near-duplicate images are not linked: an import decodes no image.
    """

    image_size: tuple[int, int]
    classes: tuple[str, ...]
    sessions: tuple[Session, ...]

    @property
    def images(self) -> int:
        """Number of images."""
        return sum(session.images for session in self.sessions)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the sessions."""
        return tuple(session.name for session in self.sessions)

    @property
    def used_classes(self) -> tuple[str, ...]:
        """Classes that have a label; all of them when no class has one."""
        used = {name for session in self.sessions for name, count in session.labels.items() if count}
        return tuple(name for name in self.classes if name in used) or self.classes

    @property
    def can_be_split(self) -> bool:
        """Whether there are as many sessions as splits."""
        return len(self.sessions) >= 3

    def split(self, spec: SplitSpec) -> dict[str, tuple[int, int]]:
        """Number of sessions and of images, by split.

        Raises:
            DataError: Fewer than three sessions.
        """
        from robot_assets.data.split import Unit, split_units

        images = {session.name: session.images for session in self.sessions}
        units = [Unit((session.name,), session.images, session.labels) for session in self.sessions]
        return {
            split: (len(names), sum(images[name] for name in names))
            for split, names in split_units(units, spec).items()
        }


def outcome_of(images: Iterable[tuple[str, int, int, Mapping[int, int]]], classes: Sequence[str]) -> Outcome:
    """Count images and labels.

    Args:
        images: File name, width, height and number of labels by class index of each; at least one.
        classes: Names in the order of their ids.
    """
    widths, heights = [], []
    counts: Counter[str] = Counter()
    labels: defaultdict[str, Counter[int]] = defaultdict(Counter)
    for file_name, width, height, found in images:
        session = file_name.rpartition("/")[0] or "."
        widths.append(width)
        heights.append(height)
        counts[session] += 1
        labels[session].update(found)
    sessions = [
        Session(name, counts[name], {label: labels[name][index] for index, label in enumerate(classes)})
        for name in sorted(counts)
    ]
    return Outcome((median_low(widths), median_low(heights)), tuple(classes), tuple(sessions))
