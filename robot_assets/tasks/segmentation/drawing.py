"""Pictures of masks: images under the colours of their classes, with a legend."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from robot_assets.figures.sheet import cell_width, contact_sheet, fitted
from robot_assets.figures.style import Colour, class_colour
from robot_assets.tasks.segmentation.classes import IGNORED
from robot_assets.tasks.segmentation.masks import Mask, resized

if TYPE_CHECKING:
    from robot_assets.tasks.segmentation.predictions import ClassMap

COLUMNS = 3
SAMPLES_MAX = 4
"""Images of a sheet of predictions, each a row: more would be too small to see edges in."""

_OPACITY = 0.55
_IGNORED_COLOUR: Colour = (45, 48, 54)
_WIDTH = 840
_SIZE_BYTES_MAX = 200_000

Pixels = NDArray[np.uint8]


def labelled_sheet(images: Sequence[Pixels], labels: Sequence[Mask], classes: Sequence[str]) -> bytes:
    """Images under their masks, as PNG.

    Args:
        images: uint8 (H, W, 3), RGB.
        labels: uint8 (H, W), class indices.
        classes: Names by class index.
    """
    width = cell_width(_WIDTH, COLUMNS)
    drawn = [overlaid(fitted(image, width), mask) for image, mask in zip(images, labels, strict=True)]
    return _sheet(drawn, None, labels, classes)


def prediction_sheet(
    images: Sequence[Pixels], labels: Sequence[Mask], predictions: Sequence[ClassMap], classes: Sequence[str]
) -> bytes:
    """Images, each beside its mask and its prediction, as PNG.

    Args:
        images: uint8 (H, W, 3), RGB.
        labels: uint8 (H, W), class indices.
        predictions: Class maps in pixels of the images.
        classes: Names by class index.
    """
    width = cell_width(_WIDTH, COLUMNS)
    found = [prediction.labels for prediction in predictions[:SAMPLES_MAX]]
    drawn: list[Pixels] = []
    captions: list[str] = []
    for image, truth, predicted in zip(images, labels, found, strict=False):
        small = fitted(image, width)
        drawn += [small, overlaid(small, truth), overlaid(small, predicted)]
        captions += ["image", "ground truth", f"prediction, {_right(truth, predicted)}"]
    return _sheet(drawn, captions, [*labels[:SAMPLES_MAX], *found], classes)


def drawn(image: Pixels, prediction: ClassMap, classes: Sequence[str], score_min: float) -> Pixels:
    """An image uint8 (H, W, 3) under the colours of its classes; class maps have no scores."""
    return overlaid(image, prediction.labels)


def findings(prediction: ClassMap, classes: Sequence[str], score_min: float) -> list[dict[str, Any]]:
    """Classes with their share of the pixels, the largest first; class maps have no scores."""
    counts = np.bincount(prediction.labels.ravel(), minlength=len(classes))
    order = np.argsort(-counts, kind="stable")
    return [
        {"class": classes[index], "share": round(float(counts[index] / prediction.labels.size), 4)}
        for index in order
        if counts[index]
    ]


def overlaid(image: Pixels, mask: Mask) -> Pixels:
    """An image under the colours of a mask, which is resized to it; ignored pixels are dark and hatched.

    Args:
        image: uint8 (H, W, 3), RGB.
        mask: uint8, class indices, of any size.
    """
    rows, columns = image.shape[:2]
    indices = resized(mask, columns, rows)
    colours = np.array([*(class_colour(index) for index in range(IGNORED)), _IGNORED_COLOUR], np.float32)
    mixed = image * np.float32(1 - _OPACITY) + colours[indices] * np.float32(_OPACITY)
    y, x = np.ogrid[:rows, :columns]
    mixed[(indices == IGNORED) & ((x + y) % 8 == 0)] = 255
    return mixed.round().astype(np.uint8)


def _sheet(
    drawn: Sequence[Pixels], captions: Sequence[str] | None, masks: Iterable[Mask], classes: Sequence[str]
) -> bytes:
    seen = set(np.unique(np.concatenate([np.unique(mask) for mask in masks] or [np.zeros(0, np.uint8)])).tolist())
    legend = [(name, class_colour(index)) for index, name in enumerate(classes) if index in seen]
    if IGNORED in seen:
        legend.append(("ignored", _IGNORED_COLOUR))
    return contact_sheet(drawn, COLUMNS, captions, legend=legend, width=_WIDTH, size_bytes_max=_SIZE_BYTES_MAX)


def _right(truth: Mask, predicted: Mask) -> str:
    known = truth != IGNORED
    if not known.any():
        return "all ignored"
    return f"{(truth == predicted)[known].mean():.0%} of pixels right"
