"""The distribution of the latency of engines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from robot_assets.figures.chart import (
    SMALL,
    add_panel,
    draw_grid,
    draw_percentile,
    draw_row_name,
    empty_card,
    name_in_title,
    new_card,
    png_bytes,
)
from robot_assets.figures.style import ALARM, MUTED, variant_colour

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BINS = 170
_ROW = 128
_TOP = 96


def latency_histogram(
    latencies_ms: Mapping[str, Sequence[float]],
    budget_ms: float | None,
    *,
    condition: str = "",
) -> bytes:
    """Draw the distribution of each engine with its percentiles, one above the other on one axis from zero.

    Args:
        latencies_ms: Milliseconds of each inference by the name of the engine, in this order.
        budget_ms: Limit of the target, or None.
        condition: Conditions of the measurement for the subtitle: device, threads, input size.

    Returns:
        PNG bytes.

    Raises:
        ValueError: A latency that is negative or not finite.
    """
    runs = {name: np.asarray(times, dtype=np.float64) for name, times in latencies_ms.items() if len(times)}
    for name, times in runs.items():
        if not (np.isfinite(times).all() and (times >= 0).all()):
            raise ValueError(f"latencies of {name!r} contain a value that is negative or not finite")
    if not runs:
        return empty_card("Latency", "Nothing has been measured yet.")
    height = _TOP + _ROW * len(runs) + 48
    figure = new_card(height, _headline(runs, budget_ms), _subtitle(runs, condition))
    axes = add_panel(figure, 120, _TOP, 800, height - 48)
    limit = _limit(runs, budget_ms)
    axes.set_xlim(0, limit)
    axes.set_ylim(len(runs) + 0.02, 0)
    axes.set_yticks([])
    axes.set_xlabel("milliseconds per image", size=SMALL, color=MUTED)
    draw_grid(axes, "x")
    for row, (name, times) in enumerate(runs.items()):
        _draw_distribution(axes, row + 1, name, times, limit)
    if budget_ms is not None:
        _draw_budget(axes, budget_ms, limit)
    return png_bytes(figure)


def _limit(runs: Mapping[str, npt.NDArray[np.float64]], budget_ms: float | None) -> float:
    """Right end of the axis: beyond every 99th percentile, and beyond the budget unless it is far away."""
    slowest = max(float(np.percentile(times, 99)) for times in runs.values()) or 1.0
    shown_budget = budget_ms if budget_ms is not None and budget_ms <= 1.6 * slowest else 0.0
    return 1.2 * max(slowest, shown_budget)


def _headline(runs: Mapping[str, npt.NDArray[np.float64]], budget_ms: float | None) -> str:
    medians = {name: float(np.median(times)) for name, times in runs.items()}
    fast, slow = min(medians, key=lambda n: medians[n]), max(medians, key=lambda n: medians[n])
    if len(runs) > 1 and medians[fast] > 0:
        ratio = medians[slow] / medians[fast]
        return f"{name_in_title(fast)} is {ratio:.1f}× as fast as {name_in_title(slow)} at the median"
    p95 = float(np.percentile(runs[fast], 95))
    if budget_ms is None:
        return f"{name_in_title(fast)}: p95 of {p95:.1f} ms"
    side = "within" if p95 <= budget_ms else "over"
    return f"{name_in_title(fast)}: p95 of {p95:.1f} ms, {side} the budget of {budget_ms:g} ms"


def _subtitle(runs: Mapping[str, npt.NDArray[np.float64]], condition: str) -> str:
    counts = sorted({len(times) for times in runs.values()})
    number = f"{counts[0]:,}" if len(counts) == 1 else f"{counts[0]:,} to {counts[-1]:,}"
    noun = "inference" if counts == [1] else "inferences"
    conditions = f", {condition}" if condition else ""
    return f"Latency of {number} {noun}{' per engine' if len(runs) > 1 else ''}{conditions}"


def _draw_distribution(axes: Axes, base: float, name: str, times: npt.NDArray[np.float64], limit: float) -> None:
    colour = variant_colour(name)
    counts, edges = np.histogram(times, bins=_BINS, range=(0.0, limit))
    heights = counts / max(int(counts.max()), 1) * 0.46
    axes.bar(edges[:-1], -heights, width=np.diff(edges), bottom=base, align="edge", color=colour)
    axes.axhline(base, color=MUTED, linewidth=0.8)
    draw_row_name(axes, base - 0.24, name, colour=colour, weight="bold", lift=6)
    draw_row_name(axes, base - 0.24, f"max {times.max():.1f}", colour=MUTED, lift=-7)
    _draw_percentiles(axes, base, times)


def _draw_percentiles(axes: Axes, base: float, times: npt.NDArray[np.float64]) -> None:
    """Draw p50, p95 and p99 with labels at different heights, so that close ones do not overlap."""
    for line, percent in enumerate((50, 95, 99)):
        value = float(np.percentile(times, percent))
        top = base - 0.84 + line * 0.125
        draw_percentile(axes, base, top, percent, value, weight="bold" if percent == 50 else "normal")


def _draw_budget(axes: Axes, budget_ms: float, limit: float) -> None:
    is_on_axis = budget_ms <= limit
    if is_on_axis:
        axes.axvline(budget_ms, color=ALARM, linewidth=1.4, linestyle=(0, (4, 3)))
    axes.annotate(
        f"budget {budget_ms:g} ms" + ("" if is_on_axis else ", beyond this axis →"),
        (budget_ms if is_on_axis else limit, 1.0),
        xycoords=("data", "axes fraction"),
        xytext=(0, 5),
        textcoords="offset points",
        ha="right",
        color=ALARM,
        size=SMALL,
        weight="bold",
    )
