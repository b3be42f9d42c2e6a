"""What quantization costs: the variants of a model side by side."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from robot_assets.figures.chart import SMALL, TEXT, empty_card, new_card, panel, png_bytes, rules
from robot_assets.figures.style import ALARM, CARD, INK, MUTED, class_colour, hex_colour, variant_colour

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_ROW = 40
_TOP = 100
_NARROWEST = 0.02


def variant_comparison(
    variants: Mapping[str, float | None],
    chosen: str | None,
    *,
    reference: str | None = None,
    drop_points_max: float | None = None,
    measure: str = "mAP@50",
) -> bytes:
    """Draw each variant as a dot, with its distance to the FP32 checkpoint in points (hundredths).

    Dots, not bars, because the axis does not begin at zero; it spans at least two points, so that noise of a
    tenth of a point looks like what it is.

    Args:
        variants: Value in [0, 1] by name, drawn in this order; None or a value that is not finite was not measured.
        chosen: The variant that goes on, or None.
        reference: What the others are measured against; by default the first variant.
        drop_points_max: Points that a variant may lose; drawn as a line where it lies within the axis.
        measure: Name of the value.

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
    figure = new_card(height, _headline(values, chosen, base, measure), _axis_note(measure, base))
    axes = panel(figure, 172, _TOP, 600, height - 44)
    low, high = _zoom(list(values.values()))
    axes.set_xlim(low, high)
    axes.set_ylim(len(variants) - 0.5, -0.5)
    axes.set_yticks([])
    rules(axes, "x")
    zero = values.get(base)
    if zero is not None:
        axes.axvline(zero, color=variant_colour(base), linewidth=1.2)
        _mark_gate(axes, zero, drop_points_max)
    _head(axes, "" if zero is None else base)
    for row, name in enumerate(variants):
        _variant_row(
            axes, row, name, values.get(name), zero=None if name == base else zero, chosen=name == chosen
        )
    return png_bytes(figure)


def per_class_comparison(
    values: Mapping[str, Mapping[str, float | None]],
    classes: Sequence[str],
    *,
    measure: str = "AP50",
) -> bytes:
    """Draw each class as a line with a dot per variant: which class quantization hurts.

    Args:
        values: Variant to class to value in [0, 1]; None, or a class that is missing, was not measured.
        classes: The classes from top to bottom, in order of their index.
        measure: Name of the value.

    Returns:
        PNG bytes.
    """
    if not values or not classes:
        return empty_card(f"{measure} by class", "No variant has been measured yet.")
    height = 118 + 34 * len(classes) + 44
    figure = new_card(height, f"{measure} by class", "Each dot is a variant")
    axes = panel(figure, 172, 118, 780, height - 44)
    axes.set_xlim(0, 1)
    axes.set_ylim(len(classes) - 0.5, -0.5)
    axes.set_yticks([])
    rules(axes, "x")
    _variant_key(axes, list(values))
    for row, name in enumerate(classes):
        _class_row(axes, row, name, {variant: found.get(name) for variant, found in values.items()})
    return png_bytes(figure)


def _headline(values: Mapping[str, float], chosen: str | None, base: str, measure: str) -> str:
    if chosen is None or chosen not in values:
        return f"{measure} by variant"
    if base not in values or base == chosen:
        return f"{chosen}: {measure} {values[chosen]:.3f}"
    return (
        f"{chosen}: {measure} {values[chosen]:.3f}, {_points(values[chosen] - values[base])} points to {base}"
    )


def _axis_note(measure: str, base: str) -> str:
    return (
        f"{measure} on the validation split. The axis is zoomed; differences to {base} are in points (0.01)."
    )


def _points(difference: float) -> str:
    """Points with a sign, and zero without one."""
    tenths = round(difference * 100, 1)
    return "±0.0" if tenths == 0 else f"{tenths:+.1f}".replace("-", "−")


def _zoom(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    middle, half = (low + high) / 2, max(high - low, _NARROWEST) / 2 * 1.25
    return middle - half, middle + half


def _mark_gate(axes: Axes, zero: float, drop_points_max: float | None) -> None:
    if drop_points_max is None or not axes.get_xlim()[0] < zero - drop_points_max / 100:
        return
    floor = zero - drop_points_max / 100
    axes.axvline(floor, color=ALARM, linewidth=1, linestyle=(0, (4, 3)))
    _above(axes, floor, f"gate {_points(-drop_points_max / 100)}", ALARM)


def _head(axes: Axes, base: str) -> None:
    _beside(axes, 0.0, "value", 36, MUTED, align="right", above=True)
    if base:
        _beside(
            axes,
            0.0,
            "to FP32" if "fp32" in base.casefold() else "difference",
            100,
            MUTED,
            align="right",
            above=True,
        )


def _variant_row(
    axes: Axes, row: int, name: str, value: float | None, *, zero: float | None, chosen: bool
) -> None:
    colour, weight = variant_colour(name), "bold" if chosen else "normal"
    axes.annotate(
        name,
        (0.0, row),
        xycoords=("axes fraction", "data"),
        xytext=(-14, 0),
        textcoords="offset points",
        ha="right",
        va="center",
        color=INK,
        size=TEXT,
        weight=weight,
    )
    if value is None:
        axes.text(
            sum(axes.get_xlim()) / 2, row, "not measured", ha="center", va="center", color=MUTED, size=SMALL
        )
        return
    if zero is not None:
        axes.plot((zero, value), (row, row), color=colour, linewidth=2.2, solid_capstyle="butt")
    axes.plot(
        value, row, "o", color=colour, markersize=11 if chosen else 8, markeredgecolor=CARD, markeredgewidth=1
    )
    if chosen:
        axes.plot(
            value,
            row,
            "o",
            markersize=17,
            markerfacecolor="none",
            markeredgecolor=colour,
            markeredgewidth=1.4,
        )
        _beside(axes, row, "chosen", 112, colour, weight="bold")
    _beside(axes, row, f"{value:.3f}", 36, INK, weight=weight, align="right")
    if zero is not None:
        _beside(axes, row, _points(value - zero), 100, INK, weight=weight, align="right")


def _class_row(axes: Axes, row: int, name: str, values: Mapping[str, float | None]) -> None:
    axes.annotate(
        name,
        (0.0, row),
        xycoords=("axes fraction", "data"),
        xytext=(-14, 0),
        textcoords="offset points",
        ha="right",
        va="center",
        color=INK,
        size=TEXT,
    )
    known = {
        variant: value for variant, value in values.items() if value is not None and math.isfinite(value)
    }
    if not known:
        axes.text(0.01, row, "no object of this class", va="center", color=MUTED, size=SMALL)
        return
    axes.plot(
        (min(known.values()), max(known.values())), (row, row), color=hex_colour(class_colour(0)), linewidth=0
    )
    axes.plot((min(known.values()), max(known.values())), (row, row), color=MUTED, linewidth=1.2, zorder=1)
    for variant, value in known.items():
        axes.plot(value, row, "o", color=variant_colour(variant), markersize=8, markeredgecolor=CARD)


def _variant_key(axes: Axes, variants: Sequence[str]) -> None:
    """Names of the variants in their colours, above the first row."""
    for number, name in enumerate(variants):
        axes.annotate(
            f"● {name}",
            (number / max(len(variants), 4), 1.0),
            xycoords="axes fraction",
            xytext=(0, 10),
            textcoords="offset points",
            color=variant_colour(name),
            size=TEXT,
        )


def _above(axes: Axes, x: float, text: str, colour: str) -> None:
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


def _beside(
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
    """Text right of the axes, ``offset`` points away: the columns of a small table."""
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
