"""Engines side by side in time: when each one worked on what, and how long its answers took."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from robot_assets.figures.chart import (
    SMALL,
    TEXT,
    empty_card,
    new_card,
    panel,
    percentile_mark,
    png_bytes,
    row_name,
    rules,
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
    """One engine. Times are milliseconds after a common origin, one entry a frame that was worked on.

    Attributes:
        name: What to call it.
        note: What is special about it in a few words: its rate, its threads.
        period_ms: From one frame to the next.
        deadline_ms: From the release of a frame to its answer.
        release_ms: The sensor delivers the frame.
        start_ms: The engine begins.
        finish_ms: The engine ends.
        skipped_ms: Releases of the frames that were never worked on.
        alone_ms: Latencies of the same engine by itself, to compare.
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
        """From the sensor to the answer."""
        return self.finish_ms - self.release_ms

    @property
    def is_late(self) -> npt.NDArray[np.bool_]:
        """Which answers came after their deadline."""
        return np.asarray(self.latency_ms > self.deadline_ms)


def engine_timeline(lanes: Sequence[Lane], title: str, condition: str = "") -> bytes:
    """Draw a stretch of the run with a lane for each engine, and below it the latencies of the whole run.

    The stretch is the beginning; when deadlines were missed, it is around the first that was.

    Args:
        lanes: In this order, from top to bottom.
        title: What was found.
        condition: Where it was measured, for the subtitle.

    Returns:
        PNG bytes.
    """
    lanes = [lane for lane in lanes if len(lane.release_ms)]
    if not lanes:
        return empty_card("Engines together", "Nothing has been measured yet.")
    middle = _TOP + _LANE * len(lanes)
    height = middle + _BETWEEN + _ROW * len(lanes) + _BOTTOM
    figure = new_card(height, title, condition)
    _timeline(panel(figure, _LEFT, _TOP, _RIGHT, middle), lanes)
    _distributions(panel(figure, _LEFT, middle + _BETWEEN, _RIGHT, height - _BOTTOM), lanes)
    return png_bytes(figure)


def _timeline(axes: Axes, lanes: Sequence[Lane]) -> None:
    begin, end = _window(lanes)
    axes.set_xlim(begin, end)
    axes.set_ylim(len(lanes) - 0.5, -0.5)
    axes.set_yticks([])
    rules(axes, "x")
    axes.set_xlabel("milliseconds after the start", size=SMALL, color=MUTED)
    for row, lane in enumerate(lanes):
        colour = hex_colour(class_colour(row))
        axes.axhline(row + _BAR, color=MUTED, linewidth=0.8)
        row_name(axes, row, lane.name, colour=INK, weight="bold", lift=6)
        row_name(axes, row, lane.note, colour=MUTED, lift=-7)
        _frames(axes, row, lane, begin, end)
        _jobs(axes, row, lane, colour)
    _legend(axes, any(_first_miss(lane) is not None for lane in lanes))


def _window(lanes: Sequence[Lane]) -> tuple[float, float]:
    """The stretch that is shown: some periods of the slowest sensor, from the start or before the first miss."""
    length = min(max(_PERIODS_SHOWN * max(lane.period_ms for lane in lanes), _WINDOW_MS[0]), _WINDOW_MS[1])
    misses = [miss for lane in lanes if (miss := _first_miss(lane)) is not None]
    begin = max(0.0, min(misses, default=0.0) - 0.25 * length)
    margin = 0.01 * length
    return begin - margin, begin + length


def _first_miss(lane: Lane) -> float | None:
    """Release of the first frame that had no answer in time."""
    missed = [*lane.release_ms[lane.is_late][:1], *lane.skipped_ms[:1]]
    return float(min(missed)) if missed else None


def _frames(axes: Axes, row: int, lane: Lane, begin: float, end: float) -> None:
    """A tick for each frame of the sensor, and a cross for each that nobody worked on."""
    shown = lane.release_ms[(lane.release_ms >= begin) & (lane.release_ms <= end)]
    axes.vlines(shown, row + _BAR, row + _BAR + _TICK, color=INK, linewidth=1.1)
    skipped = lane.skipped_ms[(lane.skipped_ms >= begin) & (lane.skipped_ms <= end)]
    height = np.full(len(skipped), row + _BAR + _TICK / 2)
    axes.plot(skipped, height, "x", color=ALARM, markersize=5.5, markeredgewidth=1.6)


def _jobs(axes: Axes, row: int, lane: Lane, colour: str) -> None:
    """A line while a frame waits, a bar while the engine works, a red bar for an answer that came too late."""
    low, high = axes.get_xlim()
    pixel = (high - low) / (_RIGHT - _LEFT)
    shown = (lane.finish_ms >= low) & (lane.release_ms <= high)
    for release, start, finish, is_late in zip(
        lane.release_ms[shown], lane.start_ms[shown], lane.finish_ms[shown], lane.is_late[shown], strict=True
    ):
        height = row + _BAR + _TICK / 2
        axes.plot((release, start), (height, height), color=colour, linewidth=2, solid_capstyle="butt")
        width = finish - start
        # Bars that touch are told apart by a gap of one pixel, and a short one has at least two.
        shown_width = width - pixel if width > 6 * pixel else max(width, 2 * pixel)
        axes.add_patch(_rectangle((start, row - _BAR), shown_width, ALARM if is_late else colour))


def _rectangle(corner: tuple[float, float], width: float, colour: str) -> Rectangle:
    from matplotlib.patches import Rectangle

    return Rectangle(corner, width, 2 * _BAR, facecolor=colour, edgecolor="none")


def _legend(axes: Axes, has_misses: bool) -> None:
    """What the marks mean, in one line above the lanes."""
    entries = [("❘", INK, "frame"), ("■", MUTED, "inference"), ("—", MUTED, "waiting")]
    if has_misses:
        entries += [("■", ALARM, "answered late"), ("✕", ALARM, "skipped")]
    start = 0.0
    for mark, colour, text in entries:
        for piece, paint, offset in ((mark, colour, 0.0), (text, MUTED, 13.0)):
            axes.annotate(
                piece,
                (0.0, 1.0),
                xycoords="axes fraction",
                xytext=(start + offset, 8),
                textcoords="offset points",
                color=paint,
                size=SMALL,
            )
        start += 5.4 * len(text) + 32


def _distributions(axes: Axes, lanes: Sequence[Lane]) -> None:
    limit = _limit(lanes)
    axes.set_xlim(0, limit)
    axes.set_ylim(len(lanes) + 0.02, 0)
    axes.set_yticks([])
    axes.set_xlabel("milliseconds from the sensor to the answer", size=SMALL, color=MUTED)
    rules(axes, "x")
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
        _distribution(axes, row + 1, lane, hex_colour(class_colour(row)), limit)


def _limit(lanes: Sequence[Lane]) -> float:
    """Right end of the axis: past each 99th percentile, and past the deadlines that lie near enough."""
    slowest = max(float(np.percentile(lane.latency_ms, 99)) for lane in lanes)
    near = [lane.deadline_ms for lane in lanes if lane.deadline_ms <= 2.5 * slowest]
    # Where a deadline lies beyond the axis, its label needs a place of its own.
    room = 1.25 if len(near) == len(lanes) else 1.5
    return room * max([slowest, *near, 1e-3])


def _distribution(axes: Axes, base: float, lane: Lane, colour: str, limit: float) -> None:
    heights, edges = _heights(lane.latency_ms, limit)
    axes.bar(edges[:-1], -heights, width=np.diff(edges), bottom=base, align="edge", color=colour)
    if len(lane.alone_ms):
        outline, _ = _heights(lane.alone_ms, limit)
        axes.stairs(base - outline, edges, baseline=base, color=INK, linewidth=0.9)
    axes.axhline(base, color=MUTED, linewidth=0.8)
    missed = int(lane.is_late.sum()) + len(lane.skipped_ms)
    frames = len(lane.release_ms) + len(lane.skipped_ms)
    row_name(axes, base - 0.24, lane.name, colour=INK, weight="bold", lift=13)
    row_name(axes, base - 0.24, f"{missed:,} of {frames:,} missed", colour=ALARM if missed else MUTED, lift=0)
    row_name(axes, base - 0.24, f"max {lane.latency_ms.max():.1f}", colour=MUTED, lift=-12)
    _deadline(axes, base, lane.deadline_ms, limit)
    _percentiles(axes, base, lane.latency_ms)


def _heights(times: Times, limit: float) -> tuple[Times, Times]:
    counts, edges = np.histogram(times, bins=_BINS, range=(0.0, limit))
    return counts / max(int(counts.max()), 1) * 0.5, edges


def _percentiles(axes: Axes, base: float, times: Times) -> None:
    for line, share in enumerate((50, 99)):
        value = float(np.percentile(times, share))
        top = base - 0.82 + line * 0.17
        percentile_mark(axes, base, top, share, value, weight="bold" if share == 99 else "normal")


def _deadline(axes: Axes, base: float, deadline_ms: float, limit: float) -> None:
    shown = deadline_ms <= limit
    if shown:
        axes.plot((deadline_ms, deadline_ms), (base, base - 0.9), color=ALARM, linewidth=1.4, linestyle=(0, (4, 3)))
    axes.annotate(
        f"deadline {deadline_ms:.3g} ms" + ("" if shown else " →"),
        (deadline_ms if shown else limit, base - 0.47),
        xytext=(-5 if shown and deadline_ms > 0.8 * limit else 5 if shown else 0, 0),
        textcoords="offset points",
        ha="left" if shown and deadline_ms <= 0.8 * limit else "right",
        va="center",
        color=ALARM,
        size=SMALL,
        bbox={"facecolor": CARD, "edgecolor": "none", "pad": 0.5},
    )
