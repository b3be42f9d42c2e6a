"""The card of a chart, and the elements that charts share. Uses Matplotlib's objects, not pyplot: no shared state."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

from robot_assets.figures.style import CARD, FAINT, INK, MUTED
from robot_assets.figures.text import drawable, font_families, shortened, text_width

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 840
_DPI = 100

# Points at 100 dpi. In a figure scaled to 700 pixels the smallest is still ten pixels high.
TITLE = 13.0
TEXT = 9.5
SMALL = 9.0

_MARGIN = 20
_NAME_MARGIN = 8
"""Pixels at the edges of a card: of its title, and of the names of rows."""
_NAME_IN_TITLE = 190.0


def new_card(height: int, title: str, subtitle: str = "", *, width: int = WIDTH) -> Figure:
    """Create an opaque card with a title and a subtitle at its top left.

    Args:
        height: Pixels.
        title: The result in a few words.
        subtitle: The quantity shown and its unit.
        width: Pixels.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI, facecolor=CARD)
    room = width - 2 * _MARGIN
    title, subtitle = fitted_text(title, room, TITLE, bold=True), fitted_text(subtitle, room, TEXT)
    figure.text(_MARGIN / width, 1 - 18 / height, title, size=TITLE, weight="bold", color=INK, va="top")
    figure.text(_MARGIN / width, 1 - 46 / height, subtitle, size=TEXT, color=MUTED, va="top")
    return figure


def fitted_text(text: str, width: float, size: float, *, bold: bool = False) -> str:
    """A :func:`drawable` text, shortened in the middle to a width in pixels; ``size`` in points."""
    return shortened(text, width, _pixels(size), bold=bold)


def name_in_title(name: str) -> str:
    """A name as it is written in the title of a card: shortened in the middle, so that the title keeps its end."""
    return fitted_text(name, _NAME_IN_TITLE, TITLE, bold=True)


def width_of(text: str, size: float, *, bold: bool = False) -> float:
    """Width of a text in pixels; ``size`` in points."""
    return text_width(drawable(text), _pixels(size), bold=bold)


def _pixels(points: float) -> float:
    return points * _DPI / 72


def add_panel(figure: Figure, left: float, top: float, right: float, bottom: float) -> Axes:
    """Add axes without frame and tick marks to a card; edges in pixels from its top left corner."""
    width, height = figure.get_size_inches() * _DPI
    rectangle = (left / width, 1 - bottom / height, (right - left) / width, (bottom - top) / height)
    axes = figure.add_axes(rectangle, facecolor="none")
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.tick_params(length=0, colors=MUTED, labelsize=SMALL, labelfontfamily=font_families()[0], pad=5)
    axes.set_axisbelow(True)
    return axes


def draw_grid(axes: Axes, axis: str) -> None:
    """Draw faint grid lines of an axis, ``x`` or ``y``."""
    axes.grid(visible=True, axis=axis, color=FAINT, linewidth=0.7)  # type: ignore[arg-type]


def draw_row_name(
    axes: Axes,
    row: float,
    name: str,
    *,
    colour: str = INK,
    weight: str = "normal",
    gap: float = 12,
    lift: float = 0,
) -> None:
    """Draw the name of a row left of its axes, shortened in the middle to the space that is there.

    Args:
        axes: The axes.
        row: Position of the row in data coordinates.
        name: The name.
        colour: Colour of the text.
        weight: Weight of the text.
        gap: Points between the text and the axes.
        lift: Points of the text above the row.
    """
    size = TEXT if colour != MUTED else SMALL
    left = axes.get_position().x0 * axes.figure.get_figwidth() * _DPI  # type: ignore[union-attr]
    axes.annotate(
        fitted_text(name, left - _pixels(gap) - _NAME_MARGIN, size, bold=weight == "bold"),
        (0.0, row),
        xycoords=("axes fraction", "data"),
        xytext=(-gap, lift),
        textcoords="offset points",
        ha="right",
        va="center",
        color=colour,
        size=size,
        weight=weight,
    )


def draw_percentile(axes: Axes, base: float, top: float, percent: int, value: float, *, weight: str = "normal") -> None:
    """Draw a line at a percentile of a distribution, with its name and value at the top.

    Args:
        axes: The axes of the distribution.
        base: Bottom of the line in data coordinates.
        top: Top of the line.
        percent: Which percentile, 0 to 100.
        value: Value of the percentile.
        weight: Weight of the text.
    """
    axes.plot((value, value), (base, top), color=INK, linewidth=0.9)
    axes.annotate(
        f"p{percent}  {value:.1f}",
        (value, top),
        xytext=(4, 0),
        textcoords="offset points",
        va="center",
        color=INK,
        size=SMALL,
        weight=weight,
        bbox={"facecolor": CARD, "edgecolor": "none", "pad": 0.5},
    )


def png_bytes(figure: Figure) -> bytes:
    """Render a figure as PNG; the same figure gives the same bytes.

    All texts are drawn in the fonts of :mod:`robot_assets.figures.text`, and literally: a dollar sign starts no
    formula.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        text.set_text(drawable(text.get_text()))
        text.set_fontfamily(font_families())
        text.set_parse_math(False)
    buffer = io.BytesIO()
    FigureCanvasAgg(figure).print_png(buffer, metadata={"Software": None})  # type: ignore[no-untyped-call]
    return buffer.getvalue()


def empty_card(title: str, reason: str) -> bytes:
    """Draw a card without data, with the reason."""
    return png_bytes(new_card(92, title, reason))


def counted(count: int, noun: str) -> str:
    """``1 image``, ``12,000 images``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def separate(positions: Sequence[float], gap: float) -> list[float]:
    """Move labels as little as possible so that no two are closer than ``gap``.

    Overlapping labels are centred on the mean of their positions (pool adjacent violators), which keeps their order
    and shifts no label to one side.
    """
    order = sorted(range(len(positions)), key=lambda i: positions[i])
    pools: list[tuple[float, int]] = []
    for rank, i in enumerate(order):
        pools.append((positions[i] - rank * gap, 1))
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            (one, few), (other, many) = pools[-2:]
            pools[-2:] = [((one * few + other * many) / (few + many), few + many)]
    starts = [start for start, count in pools for _ in range(count)]
    moved = [0.0] * len(positions)
    for rank, i in enumerate(order):
        moved[i] = starts[rank] + rank * gap
    return moved
