"""Decodes the heads of segmentations to class maps. NumPy and Pillow: robots, which have no torch, run this too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from robot_assets.tasks.segmentation.classes import CLASSES_MAX
from robot_assets.tasks.segmentation.heads import BinaryOptions
from robot_assets.tasks.segmentation.predictions import ClassMap

if TYPE_CHECKING:
    from robot_assets.tasks.interface import Interface


def decode_map(outputs: Sequence[NDArray[Any]], interface: Interface) -> list[ClassMap]:
    """Decode logits, or scores, of all classes on a grid that covers the input.

    Args:
        outputs: One, (N, classes, rows, columns), or (N, rows, columns, classes) where the head says NHWC.
        interface: Of the network.

    Returns:
        One class map an image, in pixels of the input.

    Raises:
        ValueError: The output is not that of the interface.
    """
    logits = _only(outputs, interface)
    if interface.heads[0].layout == "NHWC":
        logits = logits.transpose(0, 3, 1, 2)
    if logits.shape[1] != len(interface.classes):
        raise ValueError(f"logits of {logits.shape[1]} classes; needed {len(interface.classes)}")
    return [_map(image.astype(np.float32, copy=False), interface) for image in logits]


def decode_labels(outputs: Sequence[NDArray[Any]], interface: Interface) -> list[ClassMap]:
    """Decode class indices on a grid that covers the input.

    Args:
        outputs: One, (N, rows, columns) or with an axis of length 1 more, integers or whole floats.
        interface: Of the network.

    Returns:
        One class map an image, in pixels of the input.

    Raises:
        ValueError: The output is not that of the interface, or an index is of no class.
    """
    return [_map(_indices(image, len(interface.classes)), interface) for image in _only(outputs, interface)]


def decode_binary(outputs: Sequence[NDArray[Any]], interface: Interface) -> list[ClassMap]:
    """Decode one score a cell: the second of two classes where it is at least ``threshold``, else the first.

    Args:
        outputs: One, (N, rows, columns) or with an axis of length 1 more, float.
        interface: Of the network; its options are :class:`BinaryOptions`.

    Returns:
        One class map an image, in pixels of the input.

    Raises:
        ValueError: The output is not that of the interface.
    """
    options = BinaryOptions.model_validate(interface.options)
    threshold = options.threshold
    if options.values == "logits":
        threshold = float(np.log(threshold / (1 - threshold)))
    scores = (_plane(image).astype(np.float32, copy=False) for image in _only(outputs, interface))
    # The first class has the largest value below the threshold: of equals, the first one would win.
    below = np.nextafter(np.float32(threshold), np.float32(-np.inf))
    return [_map(np.stack([np.full_like(score, below), score]), interface) for score in scores]


def _only(outputs: Sequence[NDArray[Any]], interface: Interface) -> NDArray[Any]:
    if len(outputs) != 1:
        raise ValueError(f"{len(outputs)} outputs; needed 1, {interface.heads[0].name}")
    shape = interface.heads[0].shape
    if outputs[0].shape[1:] != shape[1:]:
        raise ValueError(f"{interface.heads[0].name} has shape {outputs[0].shape}; needed (N, {str(shape[1:])[1:-1]})")
    return outputs[0]


def _map(grid: NDArray[Any], interface: Interface) -> ClassMap:
    rows, columns = grid.shape[-2:]
    return ClassMap(grid, (0.0, 0.0, columns, rows), interface.input.width, interface.input.height)


def _indices(image: NDArray[Any], classes: int) -> NDArray[np.uint8]:
    plane = _plane(image)
    if not (plane.min() >= 0 and plane.max() < min(classes, CLASSES_MAX)):
        raise ValueError(f"class indices from {plane.min():g} to {plane.max():g}; needed 0 to {classes - 1}")
    return plane.astype(np.uint8)


def _plane(image: NDArray[Any]) -> NDArray[Any]:
    """The rows and columns of one image, without an axis of length 1 before or after them."""
    if image.ndim == 2:
        return image
    return image[0] if image.shape[0] == 1 else image[..., 0]
