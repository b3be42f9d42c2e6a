"""The picture of a rollout: a step for each batch, and in it a cell for each robot, coloured by its status."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from robot_assets.core.text import plural
from robot_assets.figures.chart import (
    SMALL,
    TEXT,
    WIDTH,
    add_panel,
    draw_row_name,
    empty_card,
    fitted_text,
    name_in_title,
    new_card,
    png_bytes,
    width_of,
)
from robot_assets.figures.style import ALARM, CARD, FAINT, INK, MUTED, rgb_colour, text_colour_on
from robot_assets.fleet.rollout import Phase, Status
from robot_assets.fleet.table import DIGITS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from robot_assets.fleet.rollout import Decision

_LEFT, _RIGHT, _TOP = 166, 820, 92
_GAP = 22
_STEP_MIN = 38
_LEGEND_ROW = 24
_CELLS_HEIGHT_MAX = 360
_CELLS_MAX = 12_000
_NAMED_MAX = 40
_NAMED = (156, 28)
_SQUARES = (28, 22, 18, 14, 11, 9, 7, 6, 5, 4)
_MARKED_MIN = 9
_EDGED_MIN = 7
"""Sizes in pixels: of a cell with a name, of cells without, and of the smallest ones with a mark and with an edge."""


@dataclass(frozen=True)
class _Look:
    """How a status is drawn: the mark repeats what the colour says, for eyes that do not tell the colours apart."""

    fill: str
    edge: str
    mark: str = ""


# From the palette of robot_assets.figures.style; they differ in lightness, too.
_LOOKS: Mapping[Status, _Look] = {
    Status.BAKED: _Look("#009e73", "#009e73"),
    Status.COMMITTED: _Look("#8fd6bd", "#009e73"),
    Status.IN_PROGRESS: _Look("#0072b2", "#0072b2"),
    Status.SILENT: _Look("#e69f00", "#e69f00", "?"),
    Status.FAILED: _Look(ALARM, ALARM, "x"),
    Status.ASSIGNED: _Look("#a9d5f2", "#0072b2"),
    Status.WAITING: _Look(FAINT, FAINT),
    Status.OFFLINE: _Look(CARD, MUTED, "-"),
    Status.UNKNOWN: _Look(CARD, FAINT),
}
_IN_ORDER = tuple(_LOOKS)
"""Robots that have taken a place come first, the furthest before the others."""


@dataclass(frozen=True)
class _Grid:
    """Cells of one size.

    Attributes:
        width: Of a cell with its gap, pixels.
        height: Of a cell with its gap, pixels.
        columns: Cells in one line.
        has_names: Whether names of robots are in the cells.
    """

    width: int
    height: int
    columns: int
    has_names: bool = False

    def height_of(self, cells: int) -> int:
        """Pixels of the cells of one batch, or of its name where that is higher."""
        return max(_STEP_MIN, -(-cells // self.columns) * self.height)


def draw(decision: Decision, group: str) -> bytes:
    """Draw the batches from top to bottom, each with the robots that it adds.

    Robots are in the order of their progress, and in the order of the group where that is equal: which robots take a
    place is decided when they are online. Above 12,000 robots a cell is several robots of one status.

    Args:
        decision: The decision.
        group: Name of the group.

    Returns:
        PNG bytes.
    """
    if decision.phase is Phase.NOTHING:
        return empty_card(f"{name_in_title(group)}: {decision.phase}", _sentence(decision.why))
    per_cell = -(-len(decision.robots) // _CELLS_MAX)
    steps = _steps(decision, per_cell)
    grid = _grid([len(step) for step in steps])
    heights = [grid.height_of(len(step)) for step in steps]
    legend = _legend(Counter(decision.robots.values()))
    bottom = _TOP + sum(heights) + _GAP * (len(steps) - 1)
    figure = new_card(
        bottom + 24 + _LEGEND_ROW * len(legend) + 10, _title(decision, group), _subtitle(decision, per_cell)
    )
    axes = _pixels(add_panel(figure, _LEFT, _TOP, _RIGHT, bottom), bottom - _TOP)
    top = 0
    for number, (step, height) in enumerate(zip(steps, heights, strict=True), 1):
        _draw_step(axes, decision, number, top, height)
        _draw_cells(axes, step, grid, top)
        top += height + _GAP
    panel = add_panel(figure, 20, bottom + 24, _RIGHT, bottom + 24 + _LEGEND_ROW * len(legend))
    _draw_legend(_pixels(panel, _LEGEND_ROW * len(legend), _RIGHT - 20), legend)
    return png_bytes(figure)


def _title(decision: Decision, group: str) -> str:
    baked = sum(status is Status.BAKED for status in decision.robots.values())
    share = f"{baked:,} of {len(decision.robots):,} {'robot' if len(decision.robots) == 1 else 'robots'} baked"
    return f"{name_in_title(group)}: {decision.phase}, {share}"


def _subtitle(decision: Decision, per_cell: int) -> str:
    release = f"release {decision.release.removesuffix('.dir')[:DIGITS]}, " if decision.release else ""
    cells = f"; a cell is {plural(per_cell, 'robot')}" if per_cell > 1 else ""
    return f"{release}batch {decision.batch} of {decision.batches}{cells}"


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def _steps(decision: Decision, per_cell: int) -> list[list[tuple[str, Status]]]:
    """The cells of each batch: a robot and its status."""
    ordered = sorted(decision.robots.items(), key=lambda one: _IN_ORDER.index(one[1]))
    starts = (0, *decision.sizes[:-1])
    return [ordered[start:end][::per_cell] for start, end in zip(starts, decision.sizes, strict=True)]


def _grid(cells: Sequence[int]) -> _Grid:
    """The largest cells that fit."""
    room = _RIGHT - _LEFT
    width, height = _NAMED
    if sum(cells) <= _NAMED_MAX:
        return _Grid(width, height, room // width, has_names=True)
    grids = [_Grid(size, size, room // size) for size in _SQUARES]
    most = max(_CELLS_HEIGHT_MAX, _STEP_MIN * len(cells))
    return next((grid for grid in grids if sum(map(grid.height_of, cells)) <= most), grids[-1])


def _pixels(axes: Axes, height: int, width: int = _RIGHT - _LEFT) -> Axes:
    """Axes whose units are pixels, from the top left corner."""
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
    axes.set_xticks([])
    axes.set_yticks([])
    return axes


def _draw_step(axes: Axes, decision: Decision, number: int, top: int, height: int) -> None:
    """Name a batch left of its cells, with its size, and mark the present one."""
    size = decision.sizes[number - 1]
    is_open, is_present = number <= decision.batch, number == decision.batch
    middle = top + min(height, _STEP_MIN) / 2 - 2
    colour = INK if is_open else MUTED
    draw_row_name(axes, middle, f"Batch {number}", colour=colour, weight="bold" if is_open else "normal", lift=6)
    reach = "all" if number == decision.batches else "up to"
    draw_row_name(axes, middle, f"{reach} {size:,} {'robot' if size == 1 else 'robots'}", colour=MUTED, lift=-7)
    if is_present:
        axes.plot((-8, -8), (top, top + height - 2), color=INK, linewidth=2.5, clip_on=False, solid_capstyle="butt")


def _draw_cells(axes: Axes, cells: Sequence[tuple[str, Status]], grid: _Grid, top: int) -> None:
    from matplotlib.collections import PatchCollection
    from matplotlib.patches import Rectangle

    gap = 4 if grid.has_names else 2 if grid.width > 9 else 1
    corners = [_corner(index, grid, top) for index in range(len(cells))]
    looks = [_LOOKS[status] for _, status in cells]
    has_edges = grid.width >= _EDGED_MIN
    inset = 0.5 if has_edges else 0.0  # an edge of one pixel is inside of its cell
    width, height = grid.width - gap - 2 * inset, grid.height - gap - 2 * inset
    patches = [Rectangle((x + inset, y + inset), width, height) for x, y in corners]
    collection = PatchCollection(
        patches,
        facecolors=[look.fill if has_edges or look.fill != CARD else look.edge for look in looks],
        edgecolors=[look.edge for look in looks] if has_edges else "none",
        linewidths=0.72,
        antialiaseds=False,
        clip_on=False,
    )
    axes.add_collection(collection)
    if grid.has_names:
        _draw_names(axes, cells, corners, grid)
    elif grid.width >= _MARKED_MIN:
        _draw_marks(axes, looks, [(x + (grid.width - gap) / 2, y + (grid.height - gap) / 2) for x, y in corners], grid)


def _corner(index: int, grid: _Grid, top: int) -> tuple[int, int]:
    line, column = divmod(index, grid.columns)
    return column * grid.width, top + line * grid.height


def _draw_names(
    axes: Axes, cells: Sequence[tuple[str, Status]], corners: Sequence[tuple[int, int]], grid: _Grid
) -> None:
    for (robot, status), (x, y) in zip(cells, corners, strict=True):
        mark = f"{_TEXT_MARKS[status]} " if status in _TEXT_MARKS else ""
        axes.annotate(
            mark + fitted_text(robot, grid.width - 22 - (14 if mark else 0), SMALL),
            (x + 8, y + (grid.height - 4) / 2),
            va="center_baseline",
            color=_text_colour(_LOOKS[status].fill),
            size=SMALL,
        )


_TEXT_MARKS: Mapping[Status, str] = {Status.FAILED: "✕", Status.SILENT: "?", Status.OFFLINE: "–"}


def _text_colour(fill: str) -> str:
    return "#{:02x}{:02x}{:02x}".format(*text_colour_on(rgb_colour(fill)))


def _draw_marks(axes: Axes, looks: Sequence[_Look], centres: Sequence[tuple[float, float]], grid: _Grid) -> None:
    """Draw a cross on what failed, a question mark on what is silent, and a line on what is off."""
    for mark, marker in (("x", "x"), ("?", "$?$"), ("-", "_")):
        marked = [(look, centre) for look, centre in zip(looks, centres, strict=True) if look.mark == mark]
        if marked:
            colour = MUTED if mark == "-" else _text_colour(marked[0][0].fill)
            xs, ys = zip(*(centre for _, centre in marked), strict=True)
            size, width = grid.width * (0.34 if mark == "?" else 0.3), 0.3 if mark == "?" else min(1.4, grid.width / 10)
            axes.plot(
                xs, ys, marker=marker, linestyle="", color=colour, markersize=size, markeredgewidth=width, clip_on=False
            )


def _legend(counts: Counter[Status]) -> list[list[tuple[Status, str]]]:
    """Every status that occurs with its number of robots, in lines that fit the card."""
    lines: list[list[tuple[Status, str]]] = [[]]
    for status in _IN_ORDER:
        if counts[status]:
            entry = (status, f"{counts[status]:,} {status}")
            if sum(_entry_width(text) for _, text in (*lines[-1], entry)) > WIDTH - 40:
                lines.append([])
            lines[-1].append(entry)
    return lines


def _entry_width(text: str) -> float:
    return width_of(text, TEXT) + 44


def _draw_legend(axes: Axes, lines: Sequence[Sequence[tuple[Status, str]]]) -> None:
    sample = _Grid(18, 18, 1)
    for row, entries in enumerate(lines):
        x, y = 0.0, row * _LEGEND_ROW
        for status, text in entries:
            _draw_sample(axes, status, x, y, sample)
            axes.annotate(text, (x + 22, y + 8), va="center_baseline", color=INK, size=TEXT, annotation_clip=False)
            x += _entry_width(text)


def _draw_sample(axes: Axes, status: Status, x: float, y: float, sample: _Grid) -> None:
    from matplotlib.patches import Rectangle

    look = _LOOKS[status]
    box = Rectangle((x, y), 16, 16, facecolor=look.fill, edgecolor=look.edge, linewidth=0.72, clip_on=False)
    axes.add_patch(box)
    _draw_marks(axes, [look], [(x + 8, y + 8)], sample)
