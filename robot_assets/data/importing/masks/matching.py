"""Matches the images of a source with their masks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from robot_assets.core.label_issues import LabelIssue
from robot_assets.core.text import listed, plural
from robot_assets.data.images import FOREIGN_SUFFIXES
from robot_assets.data.importing.layout import LabelFiles
from robot_assets.data.importing.masks.layouts import (
    candidates_of,
    file_names,
    is_other,
    masks_by_label,
    stem_of_mask,
)
from robot_assets.data.tree import Tree

SAMPLED = 16
"""Masks that are decoded to find out what all of them have."""


@dataclass
class Matching:
    """The mask of each image; what does not match becomes an issue."""

    tree: Tree
    files: LabelFiles

    def __post_init__(self) -> None:
        self.issues: list[LabelIssue] = []
        self.masks = masks_by_label(self.tree, self.files.labels.values())
        self._foreign = {stem_of_mask(name) for name in self.tree.with_suffix(*FOREIGN_SUFFIXES)}
        self._refused = {stem_of_mask(issue.place) for issue in self.tree.issues}

    def sample(self) -> list[str]:
        """Some masks, from all over the source."""
        every = [self.masks[label][0] for label in self.files.labels.values() if label in self.masks]
        step = max(1, len(every) // SAMPLED)
        return every[::step][:SAMPLED]

    def matched(self) -> Iterator[tuple[str, str, str | None]]:
        """Image, its name in the raw data set, and its mask, None for a missing one; ordered by that name."""
        names, users = file_names(self.files.labels), Counter(self.files.labels.values())
        owners = Counter(names.values())
        for image in sorted(names, key=names.__getitem__):
            label, name = self.files.labels[image], names[image]
            masks = self.masks.get(label, [])
            if users[label] > 1:
                self._add(
                    image, "another image has the same name without its suffix, and so the same mask", "rename one"
                )
            elif owners[name] > 1:
                self._add(image, f"becomes {name}, as another image does", "rename one of the two")
            elif len(masks) > 1:
                self._add(image, f"{len(masks)} masks: {listed(masks)}", "remove all but one")
            elif masks or not self._is_reported(label):
                yield image, name, masks[0] if masks else None

    def orphans(self) -> Iterator[LabelIssue]:
        """Masks without an image, as in an incomplete copy. Where the image is not read, its own finding is enough."""
        used = {name for label in self.files.labels.values() for name in self.masks.get(label, ())}
        reported = {_base(label) for label in (*self._foreign, *self._refused)}
        for name in sorted(candidates_of(self.tree) - used):
            if _base(stem_of_mask(name)) not in reported:
                yield LabelIssue(name, "a mask without its image", "restore the image, or remove the mask")

    def strays(self) -> Iterator[LabelIssue]:
        """Images outside the folders of the layout, and those that its lists do not have."""
        masks = candidates_of(self.tree)
        for name in self.tree.images():
            if name not in self.files.labels and name not in masks and not is_other(name):
                if _is_second_ids(name):
                    continue
                yield LabelIssue(name, "without a mask, and not in a list of the source", "add its mask, or remove it")

    def notes(self) -> Iterator[str]:
        """What was left aside."""
        strays = list(self.strays())
        if strays:
            names = listed((issue.place for issue in strays), 3)
            yield f"{plural(len(strays), 'image')} without a mask left out, as no list of the source has them: {names}"

    def _add(self, place: str, found: str, fix: str) -> None:
        self.issues.append(LabelIssue(place, found, fix))

    def _is_reported(self, label: str) -> bool:
        """Whether a mask is there in a form that is not read, which the walk over the tree has reported."""
        return label in self._foreign or label in self._refused


def _is_second_ids(name: str) -> bool:
    """Whether a file is a mask of Cityscapes beside the one with train ids."""
    return name.endswith("_labelIds.png")


def _base(path: str) -> str:
    return path[path.rfind("/") + 1 :]
