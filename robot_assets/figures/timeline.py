"""The timeline of several engines on one device, and the distributions of their latencies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from robot_assets.figures.chart import (
    SMALL,
    TEXT,
    add_panel,
    draw_grid,
    draw_percentile,
    draw_row_name,
    empty_card,
    new_card,
    png_bytes,
)
from robot_assets.figures.style import ALARM, CARD, INK, MUTED, class_colour, hex_colour

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.patches import Rectangle

Times = npt.NDArray[np.float64]

_LEFT, _RIGHT = 186, 810
_TOP = 104
_LANE = 54
_BETWEEN = 92
_ROW = 92
_BOTTOM = 50
_BINS = 150
_PERIODS_SHOWN = 7
_WINDOW_MS = (400.0, 2000.0)
_BAR = 0.19
_TICK = 0.14


@dataclass(frozen=True)
class Lane:
    """One engine. Times are milliseconds after a common origin, one entry per processed frame.

    Attributes:
        name: Name of the engine.
        note: A short note, such as its rate and its threads.
        period_ms: Time between two frames.
        deadline_ms: Limit of the time from the release of a frame to its result.
        release_ms: When the sensor releases the frame.
        start_ms: When the engine starts.
        finish_ms: When the engine finishes.
        skipped_ms: Releases of frames that were not processed.
        alone_ms: Latencies of the engine alone, for comparison.
    """

    name: str
    note: str
    period_ms: float
    deadline_ms: float
    release_ms: Times
    start_ms: Times
    finish_ms: Times
    skipped_ms: Times
    alone_ms: Times

    @property
    def latency_ms(self) -> Times:
        """Time from the release of each frame to its result."""
        return self.finish_ms - self.release_ms

    @property
    def is_late(self) -> npt.NDArray[np.bool_]:
        """Whether each result was after its deadline."""
        return np.asarray(self.latency_ms > self.deadline_ms)


def engine_timeline(lanes: Sequence[Lane], title: str, condition: str = "") -> bytes:
    """Draw a part of the run with a lane for each engine, and below it the latencies of the whole run.

    The part is the beginning of the run, or around the first missed deadline.

    Args:
        lanes: The engines, from top to bottom.
        title: The result in a few words.
        condition: Conditions of the measurement, for the subtitle.

    Returns:
        PNG bytes.
    """
    lanes = [lane for lane in lanes if len(lane.release_ms)]
    if not lanes:
        return empty_card("Engines together", "Nothing has been measured yet.")
    middle = _TOP + _LANE * len(lanes)
    height = middle + _BETWEEN + _ROW * len(lanes) + _BOTTOM
    figure = new_card(height, title, condition)
    _draw_timeline(add_panel(figure, _LEFT, _TOP, _RIGHT, middle), lanes)
    _draw_distributions(add_panel(figure, _LEFT, middle + _BETWEEN, _RIGHT, height - _BOTTOM), lanes)
    return png_bytes(figure)


def _draw_timeline(axes: Axes, lanes: Sequence[Lane]) -> None:
    begin, end = _window(lanes)
    axes.set_xlim(begin, end)
    axes.set_ylim(len(lanes) - 0.5, -0.5)
    axes.set_yticks([])
    draw_grid(axes, "x")
    axes.set_xlabel("milliseconds after the start", size=SMALL, color=MUTED)
    for row, lane in enumerate(lanes):
        colour = hex_colour(class_colour(row))
        axes.axhline(row + _BAR, color=MUTED, linewidth=0.8)
        draw_row_name(axes, row, lane.name, colour=INK, weight="bold", lift=6)
        draw_row_name(axes, row, lane.note, colour=MUTED, lift=-7)
        _draw_frames(axes, row, lane, begin, end)
        _draw_jobs(axes, row, lane, colour)
    _draw_legend(axes, any(_first_miss(lane) is not None for lane in lanes))


def _window(lanes: Sequence[Lane]) -> tuple[float, float]:
    """The part of the run to draw: some periods of the slowest sensor, from the start or around the first miss."""
    length = min(max(_PERIODS_SHOWN * max(lane.period_ms for lane in lanes), _WINDOW_MS[0]), _WINDOW_MS[1])
    misses = [miss for lane in lanes if (miss := _first_miss(lane)) is not None]
    begin = max(0.0, min(misses, default=0.0) - 0.25 * length)
    margin = 0.01 * length
    return begin - margin, begin + length


def _first_miss(lane: Lane) -> float | None:
    """Release of the first frame without a result before its deadline."""
    missed = [*lane.release_ms[lane.is_late][:1], *lane.skipped_ms[:1]]
    return float(min(missed)) if missed else None


def _draw_frames(axes: Axes, row: int, lane: Lane, begin: float, end: float) -> None:
    """Draw a tick for each processed frame, and a cross for each skipped one."""
    shown = lane.release_ms[(lane.release_ms >= begin) & (lane.release_ms <= end)]
    axes.vlines(shown, row + _BAR, row + _BAR + _TICK, color=INK, linewidth=1.1)
    skipped = lane.skipped_ms[(lane.skipped_ms >= begin) & (lane.skipped_ms <= end)]
    height = np.full(len(skipped), row + _BAR + _TICK / 2)
    axes.plot(skipped, height, "x", color=ALARM, markersize=5.5, markeredgewidth=1.6)


def _draw_jobs(axes: Axes, row: int, lane: Lane, colour: str) -> None:
    """Draw a line while a frame waits, and a bar while the engine runs; the bar of a late result is red."""
    low, high = axes.get_xlim()
    pixel = (high - low) / (_RIGHT - _LEFT)
    shown = (lane.finish_ms >= low) & (lane.release_ms <= high)
    for release, start, finish, is_late in zip(
        lane.release_ms[shown], lane.start_ms[shown], lane.finish_ms[shown], lane.is_late[shown], strict=True
    ):
        height = row + _BAR + _TICK / 2
        axes.plot((release, start), (height, height), color=colour, linewidth=2, solid_capstyle="butt")
        width = finish - start
        # A gap of one pixel separates adjacent bars; a short bar has at least two pixels.
        drawn_width = width - pixel if width > 6 * pixel else max(width, 2 * pixel)
        axes.add_patch(_rectangle((start, row - _BAR), drawn_width, ALARM if is_late else colour))


def _rectangle(corner: tuple[float, float], width: float, colour: str) -> Rectangle:
    from matplotlib.patches import Rectangle

    return Rectangle(corner, width, 2 * _BAR, facecolor=colour, edgecolor="none")


def _draw_legend(axes: Axes, has_misses: bool) -> None:
    """Draw the legend in one line above the lanes."""
    entries = [("❘", INK, "frame"), ("■", MUTED, "inference"), ("—", MUTED, "waiting")]
    if has_misses:
        entries += [("■", ALARM, "late"), ("✕", ALARM, "skipped")]
    start = 0.0
    for symbol, colour, name in entries:
        for text, text_colour, offset in ((symbol, colour, 0.0), (name, MUTED, 13.0)):
            axes.annotate(
                text,
                (0.0, 1.0),
                xycoords="axes fraction",
                xytext=(start + offset, 8),
                textcoords="offset points",
                color=text_colour,
                size=SMALL,
            )
        start += 5.4 * len(name) + 32


def _draw_distributions(axes: Axes, lanes: Sequence[Lane]) -> None:
    limit = _limit(lanes)
    axes.set_xlim(0, limit)
    axes.set_ylim(len(lanes) + 0.02, 0)
    axes.set_yticks([])
    axes.set_xlabel("milliseconds from the release of a frame to its result", size=SMALL, color=MUTED)
    draw_grid(axes, "x")
    axes.annotate(
        "Latency: all together (filled), each alone (outline)",
        (0.0, 1.0),
        xycoords="axes fraction",
        xytext=(20 - _LEFT, 14),
        textcoords="offset pixels",
        color=INK,
        size=TEXT,
        weight="bold",
    )
    for row, lane in enumerate(lanes):
        _draw_distribution(axes, row + 1, lane, hex_colour(class_colour(row)), limit)


def _limit(lanes: Sequence[Lane]) -> float:
    """Right end of the axis: beyond every 99th percentile, and beyond deadlines that are not far away."""
    slowest = max(float(np.percentile(lane.latency_ms, 99)) for lane in lanes)
    near = [lane.deadline_ms for lane in lanes if lane.deadline_ms <= 2.5 * slowest]
    # The label of a deadline beyond the axis needs room at its right end.
    room = 1.25 if len(near) == len(lanes) else 1.5
    return room * max([slowest, *near, 1e-3])


def _draw_distribution(axes: Axes, base: float, lane: Lane, colour: str, limit: float) -> None:
    heights, edges = _heights(lane.latency_ms, limit)
    axes.bar(edges[:-1], -heights, width=np.diff(edges), bottom=base, align="edge", color=colour)
    if len(lane.alone_ms):
        outline, _ = _heights(lane.alone_ms, limit)
        axes.stairs(base - outline, edges, baseline=base, color=INK, linewidth=0.9)
    axes.axhline(base, color=MUTED, linewidth=0.8)
    missed = int(lane.is_late.sum()) + len(lane.skipped_ms)
    frames = len(lane.release_ms) + len(lane.skipped_ms)
    draw_row_name(axes, base - 0.24, lane.name, colour=INK, weight="bold", lift=13)
    draw_row_name(axes, base - 0.24, f"{missed:,} of {frames:,} missed", colour=ALARM if missed else MUTED, lift=0)
    draw_row_name(axes, base - 0.24, f"max {lane.latency_ms.max():.1f}", colour=MUTED, lift=-12)
    _draw_deadline(axes, base, lane.deadline_ms, limit)
    _draw_percentiles(axes, base, lane.latency_ms)


def _heights(times: Times, limit: float) -> tuple[Times, Times]:
    counts, edges = np.histogram(times, bins=_BINS, range=(0.0, limit))
    return counts / max(int(counts.max()), 1) * 0.5, edges


def _draw_percentiles(axes: Axes, base: float, times: Times) -> None:
    for line, percent in enumerate((50, 99)):
        value = float(np.percentile(times, percent))
        top = base - 0.82 + line * 0.17
        draw_percentile(axes, base, top, percent, value, weight="bold" if percent == 99 else "normal")


def _draw_deadline(axes: Axes, base: float, deadline_ms: float, limit: float) -> None:
    is_on_axis = deadline_ms <= limit
    if is_on_axis:
        axes.plot((deadline_ms, deadline_ms), (base, base - 0.9), color=ALARM, linewidth=1.4, linestyle=(0, (4, 3)))
    axes.annotate(
        f"deadline {deadline_ms:.3g} ms" + ("" if is_on_axis else " →"),
        (deadline_ms if is_on_axis else limit, base - 0.47),
        xytext=(-5 if is_on_axis and deadline_ms > 0.8 * limit else 5 if is_on_axis else 0, 0),
        textcoords="offset points",
        ha="left" if is_on_axis and deadline_ms <= 0.8 * limit else "right",
        va="center",
        color=ALARM,
        size=SMALL,
        bbox={"facecolor": CARD, "edgecolor": "none", "pad": 0.5},
    )
