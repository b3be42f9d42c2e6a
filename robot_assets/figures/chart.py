"""The card that every chart stands on: Matplotlib's objects alone, no pyplot, no state shared by figures."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

from robot_assets.figures.style import CARD, FAINT, INK, MUTED

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 840
_DPI = 100

# Points at 100 dpi. At 700 pixels wide the smallest is still ten pixels high.
TITLE = 13.0
TEXT = 9.5
SMALL = 9.0

_NAME_LENGTH = 18


def new_card(height: int, title: str, subtitle: str = "", *, width: int = WIDTH) -> Figure:
    """An opaque card with what the picture says at its top left.

    Args:
        height: In pixels.
        title: The finding in a few words.
        subtitle: What is shown and in which unit.
        width: In pixels.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI, facecolor=CARD)
    figure.text(20 / width, 1 - 18 / height, title, size=TITLE, weight="bold", color=INK, va="top", parse_math=False)
    figure.text(20 / width, 1 - 46 / height, subtitle, size=TEXT, color=MUTED, va="top", parse_math=False)
    return figure


def panel(figure: Figure, left: float, top: float, right: float, bottom: float) -> Axes:
    """Axes inside a card, given in pixels from its top left corner, without frame or tick marks."""
    width, height = figure.get_size_inches() * _DPI
    place = (left / width, 1 - bottom / height, (right - left) / width, (bottom - top) / height)
    axes = figure.add_axes(place, facecolor="none")
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.tick_params(length=0, colors=MUTED, labelsize=SMALL, pad=5)
    axes.set_axisbelow(True)
    return axes


def rules(axes: Axes, along: str) -> None:
    """Faint lines across an axis, ``x`` or ``y``."""
    axes.grid(visible=True, axis=along, color=FAINT, linewidth=0.7)  # type: ignore[arg-type]


def row_name(
    axes: Axes,
    row: float,
    name: str,
    *,
    colour: str = INK,
    weight: str = "normal",
    gap: float = 12,
    lift: float = 0,
    length: int = _NAME_LENGTH,
) -> None:
    """Name of a row, left of its axes; a long one keeps its beginning and its end, where numbers are.

    Args:
        axes: Where the row is.
        row: Its height in the axes' own units.
        name: Shown as it is: a dollar sign begins no formula.
        colour: Of the text.
        weight: Of the text.
        gap: Points between the text and the axes.
        lift: Points by which the text stands above the row.
        length: Characters that there is room for.
    """
    axes.annotate(
        _shortened(name, length),
        (0.0, row),
        xycoords=("axes fraction", "data"),
        xytext=(-gap, lift),
        textcoords="offset points",
        ha="right",
        va="center",
        color=colour,
        size=TEXT if colour != MUTED else SMALL,
        weight=weight,
        parse_math=False,
    )


def _shortened(name: str, length: int) -> str:
    if len(name) <= length:
        return name
    end = length // 3
    return f"{name[: length - end - 1].rstrip()}…{name[-end:].lstrip()}"


def percentile_mark(axes: Axes, base: float, top: float, share: int, value: float, *, weight: str = "normal") -> None:
    """A tick at a percentile of a distribution, with its name and value at the end.

    Args:
        axes: Where the distribution stands.
        base: Where the tick begins, in the axes' own units.
        top: Where it ends.
        share: Of the percentile, 0 to 100.
        value: The percentile itself.
        weight: Of the text.
    """
    axes.plot((value, value), (base, top), color=INK, linewidth=0.9)
    axes.annotate(
        f"p{share}  {value:.1f}",
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
    """PNG of a figure; the same figure gives the same bytes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    buffer = io.BytesIO()
    FigureCanvasAgg(figure).print_png(buffer, metadata={"Software": None})  # type: ignore[no-untyped-call]
    return buffer.getvalue()


def empty_card(title: str, reason: str) -> bytes:
    """A card that says why there is nothing to show yet."""
    return png_bytes(new_card(92, title, reason))


def spread(positions: Sequence[float], gap: float) -> list[float]:
    """Move labels apart until no two are closer than ``gap``, each as little as it can.

    Clusters of labels that touch are laid out around the mean of where they wanted to be (pool adjacent
    violators), so order is kept and no label drifts to one side.
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
