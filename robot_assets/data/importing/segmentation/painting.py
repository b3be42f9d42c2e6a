"""Paints polygons and runs into masks.

A pixel is of a polygon when its centre is inside, as in COCO's own tools: 0 and 1 are the edges of the first pixel.
Where shapes overlap, the smaller one is on top, so that small objects stay visible; of equal ones, the later one.
docs/decisions/018-masks-of-polygons.md compares rasterizers.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from robot_assets.data.importing.segmentation.labels import MaskLabels
from robot_assets.tasks.detection.boxes import OVERSHOOT_PX, ROUNDING_PX

Area: TypeAlias = NDArray[np.bool_]
"""The pixels of a shape, (H, W)."""

POINTS_MIN = 3


@dataclass(frozen=True)
class Shape:
    """A shape to be painted.

    Attributes:
        value: Class index, or the value of ignored pixels.
        area: Its pixels.
        clipped: Whether it exceeded the image.
    """

    value: int
    area: Area
    clipped: bool = False


def painted(shapes: Sequence[Shape], width: int, height: int, rest: int) -> MaskLabels:
    """The mask of an image; ``rest`` is the value of pixels that no shape covers."""
    owner = np.zeros((height, width), dtype=np.int32)
    claims = np.zeros((height, width), dtype=np.uint16)
    for index in sorted(range(len(shapes)), key=lambda index: -np.count_nonzero(shapes[index].area)):
        owner[shapes[index].area] = index + 1
        claims += shapes[index].area
    values = np.array([rest, *(shape.value for shape in shapes)], dtype=np.uint8)
    return MaskLabels(
        values[owner],
        shapes=len(shapes),
        hidden=len(shapes) - int(np.count_nonzero(np.bincount(owner.ravel(), minlength=len(shapes) + 1)[1:])),
        covered=int(np.count_nonzero(claims > 1)),
        clipped=sum(shape.clipped for shape in shapes),
    )


def fault_of_ring(points: Sequence[Any]) -> str:
    """What is wrong with a polygon x0, y0, x1, y1, ...; "" for nothing."""
    if len(points) % 2:
        return f"a polygon with {len(points)} coordinates, which is an odd number"
    if len(points) < 2 * POINTS_MIN:
        return f"a polygon with {len(points) // 2} {'point' if len(points) == 2 else 'points'}, needed at least 3"
    if not all(map(math.isfinite, points)):
        return "a polygon with a coordinate that is NaN or infinite"
    return ""


def fault_of_place(points: Sequence[float], width: int, height: int) -> str:
    """How far a polygon in pixels is outside its image; "" when by at most ``OVERSHOOT_PX``."""
    overshoot = _overshoot(points, width, height)
    if overshoot > OVERSHOOT_PX:
        return f"a polygon outside the image: {overshoot:.1f} px past the edge of {width}x{height}"
    return ""


def polygon(rings: Iterable[Sequence[float]], width: int, height: int) -> tuple[Area, bool]:
    """The pixels of polygons in pixels of the image, and whether one exceeded it. Rings have no fault."""
    from faster_coco_eval.core import mask as rasterizer

    rings = list(rings)
    is_clipped = any(_overshoot(ring, width, height) > ROUNDING_PX for ring in rings)
    inside = [_clipped(ring, width, height) for ring in rings]
    area: Area = rasterizer.decode(rasterizer.merge(rasterizer.frPyObjects(inside, height, width))).astype(bool)
    return area, is_clipped


def _clipped(ring: Sequence[float], width: int, height: int) -> list[float]:
    """The points moved to the nearest edge of the image."""
    limits = (float(width), float(height))
    return [min(max(float(value), 0.0), limits[index % 2]) for index, value in enumerate(ring)]


def _overshoot(points: Sequence[float], width: int, height: int) -> float:
    x, y = points[::2], points[1::2]
    return max(-min(x), -min(y), max(x) - width, max(y) - height)


def runs(lengths: Sequence[int], width: int, height: int) -> Area:
    """The pixels of runs of 0 and 1 in turn, column by column, whose sum is the number of pixels."""
    values = np.arange(len(lengths)) % 2 == 1
    return np.repeat(values, lengths).reshape(width, height).T
