"""The accuracy of the variants of a model, side by side."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from robot_assets.figures.chart import (
    SMALL,
    TEXT,
    add_panel,
    draw_grid,
    draw_row_name,
    empty_card,
    name_in_title,
    new_card,
    png_bytes,
    width_of,
)
from robot_assets.figures.style import ALARM, CARD, INK, MUTED, variant_colour

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_ROW = 40
_TOP = 100
_RANGE_MIN = 0.02


def variant_comparison(
    variants: Mapping[str, float | None],
    chosen: str | None,
    *,
    reference: str | None = None,
    drop_points_max: float | None = None,
    measure: str,
    split: str = "validation",
) -> bytes:
    """Draw each variant as a dot, with its difference to the reference in points (hundredths).

    Dots, not bars, because the axis does not begin at zero. It spans at least two points, so that noise of a tenth of
    a point looks small.

    Args:
        variants: Value in [0, 1] by name, drawn in this order; None or not finite: not measured.
        chosen: The variant that was chosen, or None.
        reference: The variant that the others are compared with; by default the first one.
        drop_points_max: Points that a variant may lose; drawn as a line if it lies within the axis.
        measure: Name of the value.
        split: Split that it was measured on.

    Returns:
        PNG bytes.

    Raises:
        ValueError: ``chosen`` or ``reference`` is not among the variants.
    """
    for name in (chosen, reference):
        if name is not None and name not in variants:
            raise ValueError(f"no variant {name!r}; there are {', '.join(variants) or 'none'}")
    values = {name: value for name, value in variants.items() if value is not None and math.isfinite(value)}
    if not values:
        return empty_card(f"{measure} by variant", "No variant has been measured yet.")
    base = reference or next(iter(variants))
    height = _TOP + _ROW * len(variants) + 44
    figure = new_card(height, _headline(values, chosen, base, measure), _axis_note(measure, split))
    axes = add_panel(figure, 172, _TOP, 600, height - 44)
    axes.set_xlim(*_limits(list(values.values())))
    axes.set_ylim(len(variants) - 0.5, -0.5)
    axes.set_yticks([])
    draw_grid(axes, "x")
    zero = values.get(base)
    if zero is not None:
        axes.axvline(zero, color=variant_colour(base), linewidth=1.2)
        _draw_gate(axes, zero, drop_points_max)
    _draw_column_titles(axes, "" if zero is None else base)
    for row, name in enumerate(variants):
        zero_of_row = None if name == base else zero
        _draw_variant(axes, row, name, values.get(name), zero=zero_of_row, is_chosen=name == chosen)
    return png_bytes(figure)


def per_class_comparison(
    values: Mapping[str, Mapping[str, float | None]],
    classes: Sequence[str],
    *,
    measure: str = "AP50",
    split: str = "validation",
) -> bytes:
    """Draw a dot per class and variant, with its difference to the first variant.

    Args:
        values: Variant to class to value in [0, 1]; None or a missing class: not measured.
        classes: The classes from top to bottom, in order of their index.
        measure: Name of the value.
        split: Split that it was measured on.

    Returns:
        PNG bytes.
    """
    if not values or not classes:
        return empty_card(f"{measure} by class", "No variant has been measured yet.")
    height = 118 + 46 * len(classes) + 44
    figure = new_card(
        height,
        f"{measure} by class",
        f"{measure} on the {split} split, and the difference of each variant to {next(iter(values))}",
    )
    axes = add_panel(figure, 172, 118, 780, height - 44)
    axes.set_xlim(*_limits_in_tenths([v for found in values.values() for v in found.values()]))
    axes.set_ylim(len(classes) - 0.5, -0.5)
    axes.set_yticks([])
    draw_grid(axes, "x")
    _draw_legend(axes, list(values))
    for row, name in enumerate(classes):
        _draw_class(axes, row, name, {variant: found.get(name) for variant, found in values.items()})
    return png_bytes(figure)


def _headline(values: Mapping[str, float], chosen: str | None, base: str, measure: str) -> str:
    if chosen is None or chosen not in values:
        return f"{measure} by variant"
    title = f"{name_in_title(chosen)}: {measure} {values[chosen]:.3f}"
    if base not in values or base == chosen:
        return title
    points = _points(values[chosen] - values[base]).removeprefix("±")
    relation = "equal to" if points == "0.0" else f"{points[1:]} points {'above' if points[0] == '+' else 'below'}"
    return f"{title}, {relation} {name_in_title(base)}"


def _axis_note(measure: str, split: str) -> str:
    return f"{measure} on the {split} split; differences in points (hundredths). The axis does not begin at 0."


def _points(difference: float) -> str:
    """Points with a sign; ``±0.0`` for zero."""
    tenths = round(difference * 100, 1)
    return "±0.0" if tenths == 0 else f"{tenths:+.1f}".replace("-", "−")


def _limits(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    middle, half = (low + high) / 2, max(high - low, _RANGE_MIN) / 2 * 1.25
    return middle - half, middle + half


def _limits_in_tenths(values: Sequence[float | None]) -> tuple[float, float]:
    """Whole tenths around the measured values."""
    known = [value for value in values if value is not None and math.isfinite(value)]
    low, high = math.floor(min(known, default=0.0) * 10), math.ceil(max(known, default=1.0) * 10)
    return (low - (low == high)) / 10, high / 10


def _draw_gate(axes: Axes, zero: float, drop_points_max: float | None) -> None:
    if drop_points_max is None or not axes.get_xlim()[0] < zero - drop_points_max / 100:
        return
    floor = zero - drop_points_max / 100
    axes.axvline(floor, color=ALARM, linewidth=1, linestyle=(0, (4, 3)))
    _draw_above(axes, floor, f"gate {_points(-drop_points_max / 100)}", ALARM)


def _draw_column_titles(axes: Axes, base: str) -> None:
    _draw_beside(axes, 0.0, "value", 36, MUTED, align="right", above=True)
    if base:
        title = "to FP32" if "fp32" in base.casefold() else "difference"
        _draw_beside(axes, 0.0, title, 100, MUTED, align="right", above=True)


def _draw_variant(axes: Axes, row: int, name: str, value: float | None, *, zero: float | None, is_chosen: bool) -> None:
    colour, weight = variant_colour(name), "bold" if is_chosen else "normal"
    draw_row_name(axes, row, name, weight=weight, gap=14)
    if value is None:
        _draw_beside(axes, row, "not measured", 36, MUTED, align="right")
        return
    if zero is not None:
        axes.plot((zero, value), (row, row), color=colour, linewidth=2.2, solid_capstyle="butt")
    size = 11 if is_chosen else 8
    axes.plot(value, row, "o", color=colour, markersize=size, markeredgecolor=CARD, markeredgewidth=1)
    if is_chosen:
        axes.plot(
            value,
            row,
            "o",
            markersize=17,
            markerfacecolor="none",
            markeredgecolor=colour,
            markeredgewidth=1.4,
        )
        _draw_beside(axes, row, "chosen", 112, colour, weight="bold")
    _draw_beside(axes, row, f"{value:.3f}", 36, INK, weight=weight, align="right")
    if zero is not None:
        _draw_beside(axes, row, _points(value - zero), 100, INK, weight=weight, align="right")


def _draw_class(axes: Axes, row: int, name: str, values: Mapping[str, float | None]) -> None:
    draw_row_name(axes, row, name, gap=14)
    known = {variant: value for variant, value in values.items() if value is not None and math.isfinite(value)}
    if not known:
        axes.text(axes.get_xlim()[0], row, " not measured", va="center", color=MUTED, size=SMALL)
        return
    lanes = {name: row + ((i + 0.5) / len(values) - 0.5) * 0.62 for i, name in enumerate(values)}
    base = known.get(next(iter(values)))
    if base is not None:
        reference = variant_colour(next(iter(values)))
        axes.plot((base, base), (row - 0.36, row + 0.36), color=reference, linewidth=1.2, zorder=1)
    for variant, value in known.items():
        lane, colour = lanes[variant], variant_colour(variant)
        if base is not None:
            axes.plot((base, value), (lane, lane), color=colour, linewidth=1.6, zorder=1)
        axes.plot(value, lane, "o", color=colour, markersize=6.5, markeredgecolor=CARD)


def _draw_legend(axes: Axes, variants: Sequence[str]) -> None:
    """Draw the names of the variants in their colours above the first row."""
    start = 0.0
    for name in map(name_in_title, variants):
        axes.annotate(
            f"● {name}",
            (0.0, 1.0),
            xycoords="axes fraction",
            xytext=(start, 10),
            textcoords="offset points",
            color=variant_colour(name),
            size=TEXT,
        )
        start += width_of(name, TEXT) * 0.72 + 26


def _draw_above(axes: Axes, x: float, text: str, colour: str) -> None:
    axes.annotate(
        text,
        (x, 1.0),
        xycoords=("data", "axes fraction"),
        xytext=(0, 4),
        textcoords="offset points",
        ha="center",
        color=colour,
        size=SMALL,
    )


def _draw_beside(
    axes: Axes,
    row: float,
    text: str,
    offset: float,
    colour: str,
    *,
    weight: str = "normal",
    align: str = "left",
    above: bool = False,
) -> None:
    """Draw text ``offset`` points to the right of the axes, as in the columns of a table."""
    axes.annotate(
        text,
        (1.0, 1.0 if above else row),
        xycoords=("axes fraction", "axes fraction" if above else "data"),
        xytext=(offset + 14, 4 if above else 0),
        textcoords="offset points",
        ha=align,
        va="baseline" if above else "center",
        color=colour,
        size=SMALL if above else TEXT,
        weight=weight,
    )
