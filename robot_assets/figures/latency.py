"""How long an inference takes: distributions, not averages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from robot_assets.figures.chart import SMALL, TEXT, empty_card, new_card, panel, png_bytes, rules
from robot_assets.figures.style import ALARM, INK, MUTED, variant_colour

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BINS = 90
_ROW = 112
_TOP = 96


def latency_histogram(
    latencies_ms: Mapping[str, Sequence[float]],
    budget_ms: float | None,
    *,
    condition: str = "",
) -> bytes:
    """Draw a distribution per engine above one another on one axis from zero, with its percentiles.

    Args:
        latencies_ms: Milliseconds of each inference by the name of the engine, in this order.
        budget_ms: What the target allows, or None.
        condition: Where it was measured, for the subtitle: device, threads, input size.

    Returns:
        PNG bytes.

    Raises:
        ValueError: A latency that is negative or not finite.
    """
    runs = {name: np.asarray(times, dtype=np.float64) for name, times in latencies_ms.items() if len(times)}
    for name, times in runs.items():
        if not (np.isfinite(times).all() and (times >= 0).all()):
            raise ValueError(f"latencies of {name!r} hold a value that is negative or not finite")
    if not runs:
        return empty_card("Latency", "Nothing has been measured yet.")
    height = _TOP + _ROW * len(runs) + 48
    figure = new_card(height, _headline(runs, budget_ms), _subtitle(runs, condition))
    axes = panel(figure, 120, _TOP, 800, height - 48)
    limit = _limit(runs, budget_ms)
    axes.set_xlim(0, limit)
    axes.set_ylim(len(runs), 0)
    axes.set_yticks([])
    axes.set_xlabel("milliseconds an image", size=SMALL, color=MUTED)
    rules(axes, "x")
    for row, (name, times) in enumerate(runs.items()):
        _distribution(axes, row + 1, name, times, limit)
    if budget_ms is not None:
        _mark_budget(axes, budget_ms, limit)
    return png_bytes(figure)


def _limit(runs: Mapping[str, npt.NDArray[np.float64]], budget_ms: float | None) -> float:
    """Right end of the axis: every 99th percentile, and the budget unless it would squeeze all into a corner."""
    slowest = max(float(np.percentile(times, 99)) for times in runs.values()) or 1.0
    near = budget_ms is not None and budget_ms <= 3 * slowest
    return 1.12 * max(slowest, budget_ms if near and budget_ms is not None else 0.0)


def _headline(runs: Mapping[str, npt.NDArray[np.float64]], budget_ms: float | None) -> str:
    medians = {name: float(np.median(times)) for name, times in runs.items()}
    fast, slow = min(medians, key=lambda n: medians[n]), max(medians, key=lambda n: medians[n])
    if len(runs) > 1 and medians[fast] > 0:
        return f"{fast} is {medians[slow] / medians[fast]:.1f}× as fast as {slow} at the median"
    p95 = float(np.percentile(runs[fast], 95))
    within = (
        ""
        if budget_ms is None
        else f", {'within' if p95 <= budget_ms else 'over'} the budget of {budget_ms:g} ms"
    )
    return f"{fast}: 95 of 100 images within {p95:.1f} ms{within}"


def _subtitle(runs: Mapping[str, npt.NDArray[np.float64]], condition: str) -> str:
    counts = sorted({len(times) for times in runs.values()})
    number = f"{counts[0]:,}" if len(counts) == 1 else f"{counts[0]:,} to {counts[-1]:,}"
    return f"Latency of {number} inferences{' an engine' if len(runs) > 1 else ''}" + (
        f", {condition}" if condition else ""
    )


def _distribution(axes: Axes, base: float, name: str, times: npt.NDArray[np.float64], limit: float) -> None:
    colour = variant_colour(name)
    counts, edges = np.histogram(times, bins=_BINS, range=(0.0, limit))
    heights = counts / max(int(counts.max()), 1) * 0.52
    axes.bar(edges[:-1], -heights, width=np.diff(edges), bottom=base, align="edge", color=colour, alpha=0.85)
    axes.axhline(base, color=MUTED, linewidth=0.8)
    axes.annotate(
        name,
        (0.0, base - 0.16),
        xycoords=("axes fraction", "data"),
        xytext=(-12, 0),
        textcoords="offset points",
        ha="right",
        va="center",
        color=colour,
        size=TEXT,
        weight="bold",
    )
    _percentiles(axes, base, times, colour)
    if beyond := int((times > limit).sum()):
        axes.text(
            limit,
            base - 0.05,
            f"{beyond} slower, up to {times.max():.0f} ms  ",
            ha="right",
            color=MUTED,
            size=SMALL,
        )


def _percentiles(axes: Axes, base: float, times: npt.NDArray[np.float64], colour: str) -> None:
    """Ticks at p50, p95 and p99, each name on a line of its own so that close ones stay apart."""
    low, high = axes.get_xlim()
    for line, share in enumerate((50, 95, 99)):
        value = float(np.percentile(times, share))
        top = base - 0.86 + line * 0.1
        axes.plot((value, value), (base, top), color=INK, linewidth=0.9)
        right = value < high * 0.85
        axes.annotate(
            f"p{share}  {value:.1f}",
            (value, top),
            xytext=(4 if right else -4, 0),
            textcoords="offset points",
            ha="left" if right else "right",
            va="center",
            color=INK,
            size=SMALL,
            weight="bold" if share == 50 else "normal",
        )


def _mark_budget(axes: Axes, budget_ms: float, limit: float) -> None:
    shown = budget_ms <= limit
    if shown:
        axes.axvline(budget_ms, color=ALARM, linewidth=1.4, linestyle=(0, (4, 3)))
    axes.annotate(
        f"budget {budget_ms:g} ms" + ("" if shown else " →"),
        (budget_ms if shown else limit, 1.0),
        xycoords=("data", "axes fraction"),
        xytext=(0, 5),
        textcoords="offset points",
        ha="right",
        color=ALARM,
        size=SMALL,
        weight="bold",
    )
