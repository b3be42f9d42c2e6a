"""The accuracy that a model loses with each layer quantized."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from robot_assets.figures.chart import (
    SMALL,
    TEXT,
    add_panel,
    counted,
    draw_grid,
    draw_row_name,
    empty_card,
    name_in_title,
    new_card,
    png_bytes,
)
from robot_assets.figures.style import INK, MUTED, variant_colour

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_ROW = 23
_TOP = 112
_LEFT, _RIGHT = 196, 524
_COLUMNS = {"points": 52, "head error": 122, "latency in float": 202}
"""Right edges of the columns beside the bars, in points from the axes."""
_RANGE_MIN = 1.0


def layer_losses(
    losses: Mapping[str, float],
    *,
    errors: Mapping[str, float],
    in_float: Collection[str],
    latency_added: Mapping[str, float],
    images: int,
    measure: str,
) -> bytes:
    """Draw a bar for each layer: the points that are lost when it alone is quantized.

    Args:
        losses: Points (of 100) by layer, in execution order; negative for a gain.
        errors: Relative error of the heads by layer.
        in_float: The layers that are left in float.
        latency_added: Relative increase of the latency with one layer in float, by layer; layers may be missing.
        images: Number of images of the measurement.
        measure: Name of the metric.

    Returns:
        PNG bytes.

    Raises:
        ValueError: A loss is not finite, or ``in_float`` has a name without a layer.
    """
    if not losses:
        return empty_card("Layers", "The graph has no quantized layer.")
    if unknown := sorted(set(in_float) - set(losses)):
        raise ValueError(f"no layer {unknown[0]!r}; there are {', '.join(losses)}")
    if not all(math.isfinite(loss) for loss in losses.values()):
        raise ValueError("a loss that is not finite")
    height = _TOP + _ROW * len(losses) + 44
    note = f"{measure} points lost on {counted(images, 'validation image')} when this layer alone is quantized"
    if in_float:
        note += "; grey: left in float"
    figure = new_card(height, _headline(losses, errors, in_float), note)
    axes = add_panel(figure, _LEFT, _TOP, _RIGHT, height - 44)
    axes.set_xlim(*_limits(losses.values()))
    axes.set_ylim(len(losses) - 0.4, -0.6)
    axes.set_yticks([])
    axes.set_xlabel(f"points of {measure}, of 100", size=SMALL, color=MUTED)
    draw_grid(axes, "x")
    axes.axvline(0, color=MUTED, linewidth=0.8)
    for name, right in _COLUMNS.items():
        _draw_beside(axes, None, name, right, MUTED)
    for row, (name, loss) in enumerate(losses.items()):
        added = latency_added.get(name)
        cells = (_points(loss), f"{100 * errors[name]:.1f} %", "" if added is None else _percent(added))
        _draw_layer(axes, row, name, loss, cells, in_float=name in in_float)
    return png_bytes(figure)


def _headline(losses: Mapping[str, float], errors: Mapping[str, float], in_float: Collection[str]) -> str:
    worst = max(losses, key=lambda name: (round(losses[name], 1), errors[name]))
    is_loss = round(losses[worst], 1) > 0
    start = "No layer alone loses accuracy"
    if is_loss:
        start = f"{name_in_title(worst)} loses most: {_points(losses[worst])} points"
    if not in_float:
        return f"{start}; no layer is left in float"
    return f"{start}; {counted(len(in_float), 'layer')} left in float"


def _limits(losses: Collection[float]) -> tuple[float, float]:
    low, high = min(0.0, *losses, 0.0), max(0.0, *losses, 0.0)
    room = 0.06 * max(high - low, _RANGE_MIN)
    return low - (room if low < 0 else 0), max(high, low + _RANGE_MIN) + room


def _draw_layer(axes: Axes, row: int, name: str, loss: float, cells: tuple[str, str, str], *, in_float: bool) -> None:
    colour, weight = variant_colour("FP32" if in_float else "INT8"), "bold" if in_float else "normal"
    axes.barh(row, loss, height=0.62, color=colour)
    draw_row_name(axes, row, name, weight=weight)
    for text, right in zip(cells, _COLUMNS.values(), strict=True):
        _draw_beside(axes, row, text, right, INK, weight)


def _points(loss: float) -> str:
    rounded = round(loss, 1) + 0.0
    return f"{rounded:.1f}".replace("-", "−")


def _percent(share: float) -> str:
    percent = round(100 * share)
    return "±0 %" if percent == 0 else f"{percent:+d} %".replace("-", "−")


def _draw_beside(axes: Axes, row: int | None, text: str, offset: float, colour: str, weight: str = "normal") -> None:
    """Draw text with its right edge ``offset`` points right of the axes; above the rows if ``row`` is None."""
    axes.annotate(
        text,
        (1.0, 1.0 if row is None else row),
        xycoords=("axes fraction", "axes fraction" if row is None else "data"),
        xytext=(offset, 6 if row is None else 0),
        textcoords="offset points",
        ha="right",
        va="baseline" if row is None else "center",
        color=colour,
        size=SMALL if row is None else TEXT,
        weight=weight,
    )
