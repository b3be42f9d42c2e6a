"""What an import keeps of the labels of one image, and which classes it keeps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from robot_assets.core.errors import DataError
from robot_assets.core.label_issues import BadItem
from robot_assets.core.text import listed, near_misses
from robot_assets.data.source import Entry
from robot_assets.tasks.segmentation.classes import IGNORED

CLASSES_MAX = 254
"""Classes of a data set: a pixel is one byte, and one value marks what is unknown while a mask is read."""
FOLDER, SUFFIX = "masks", ".png"

Mask: TypeAlias = NDArray[np.uint8]
"""Class index of each pixel, uint8 (H, W); ``IGNORED`` for none."""


@dataclass(frozen=True)
class SegmentationOptions:
    """What a person says of an import of segmentations.

    Attributes:
        classes: Class names, with the values or colours of masks, or the path of a file that has them.
        ignore: Classes, values or colours that are ignored.
        background: Class of the pixels that no polygon covers; None: they are ignored.
    """

    classes: str | None = None
    ignore: tuple[str, ...] = ()
    background: str | None = None


@dataclass(frozen=True)
class MaskLabels:
    """The labels of one image.

    Attributes:
        mask: Its pixels.
        shapes: Number of polygons and runs that were painted; 0 for a mask.
        hidden: How many of them no pixel is left of: they are smaller than one, or below smaller ones.
        covered: Pixels of which more than one shape claims to be.
        clipped: Number of polygons that exceeded the image and were clipped.
    """

    mask: Mask
    shapes: int = 0
    hidden: int = 0
    covered: int = 0
    clipped: int = 0


def filled(value: int, width: int, height: int) -> MaskLabels:
    """The mask of an image that is all of one class."""
    return MaskLabels(np.full((height, width), value, np.uint8))


def no_box(width: int, height: int) -> list[Any]:
    """No boxes: the labels of a :class:`MaskEntry` are in its mask."""
    return []


@dataclass(frozen=True)
class MaskEntry(Entry):
    """One image of a source, and the function that reads its mask.

    Attributes:
        read_mask: Called with (width, height) of the image in pixels; raises BadItem.
        place: The file that has its labels, for messages; "" for the image itself.
    """

    place: str = field(default="", kw_only=True)
    read_mask: Callable[[int, int], MaskLabels] = field(kw_only=True)


@dataclass(frozen=True)
class Classes:
    """The classes of a source, and those that an import keeps.

    Attributes:
        names: Those that are kept, in the order of their index in the raw data.
        numbers: Value of a pixel by class index of the source; ``IGNORED`` for those that are left out.
        rest: Value of a pixel that nothing covers.
        notes: For people.
    """

    names: tuple[str, ...]
    numbers: Mapping[int, int]
    rest: int
    notes: tuple[str, ...]


def classes_of(names: Sequence[str], options: SegmentationOptions, ids: Mapping[str, int] | None = None) -> Classes:
    """Apply ``--ignore`` and ``--background`` to the classes of a source.

    Args:
        names: Class names in the order of their index.
        options: What a person says.
        ids: Class index by its id in the labels, as text, for ``--ignore``.

    Raises:
        DataError: An ignored class is unknown, none is left, or there are too many.
    """
    ignored = {_index(one, names, ids or {}) for one in options.ignore}
    kept = [name for index, name in enumerate(names) if index not in ignored]
    notes = [f"{_quoted(names[index] for index in sorted(ignored))} ignored, as --ignore says"] if ignored else []
    background = options.background
    if background is not None and background not in kept:
        _refuse_background(background, names)
        kept.append(background)
        notes.append(f"--background {background!r} is a class of its own, the last one")
    _refuse_number(kept)
    numbers = {index: kept.index(name) if index not in ignored else IGNORED for index, name in enumerate(names)}
    rest = IGNORED if background is None else kept.index(background)
    return Classes(tuple(kept), numbers, rest, tuple(notes))


def _index(text: str, names: Sequence[str], ids: Mapping[str, int]) -> int:
    if text in names:
        return list(names).index(text)
    if text in ids:
        return ids[text]
    near = near_misses(text, names, at_most=1)
    raise DataError(
        f"--ignore {text!r} is no class of the labels" + (f"; did you mean {near[0]!r}?" if near else ""),
        needed=f"one of {listed(map(repr, names))}" + (", or its id" if ids else ""),
        fix=f"use --ignore {near[0]!r}" if near else "correct --ignore, or leave it out",
    )


def _refuse_background(name: str, names: Sequence[str]) -> None:
    if name in names:
        raise DataError(
            f"--background {name!r} is also ignored by --ignore",
            needed="a class, or pixels that are ignored",
            fix="leave one of the two out",
        )
    if not name.strip() or not name.isprintable():
        raise DataError(f"--background is {name!r}", needed="the name of a class", fix="use --background background")


def _refuse_number(names: Sequence[str]) -> None:
    if not names:
        raise DataError("no class is left", needed="at least one class", fix="leave out --ignore")
    if len(names) > CLASSES_MAX:
        raise DataError(
            f"the labels have {len(names)} classes",
            needed=f"at most {CLASSES_MAX}: a pixel of a mask is one byte",
            fix="ignore classes with --ignore NAME, or merge some in the annotation tool",
        )


def _quoted(names: Any) -> str:
    return listed(map(repr, names))


def require_class_pixels(labels: MaskLabels, place: str, is_painted: bool) -> None:
    """Refuse an image of which every pixel is ignored: nothing is learned from it.

    Raises:
        BadItem: It is such an image.
    """
    if (labels.mask == IGNORED).all():
        found = "every pixel is ignored: nothing is learned from it"
        fix = "label it, or remove the image"
        raise BadItem(place, found, f"{fix}; or run with --background NAME" if is_painted else fix)
