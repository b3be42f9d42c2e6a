"""The composition of a data set: labels of each class, recording sessions of each split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

from robot_assets.figures.chart import (
    SMALL,
    TEXT,
    add_panel,
    counted,
    draw_row_name,
    empty_card,
    fitted_text,
    name_in_title,
    new_card,
    png_bytes,
    width_of,
)
from robot_assets.figures.style import (
    ALARM,
    CARD,
    INK,
    MUTED,
    SPLITS,
    class_colour,
    hex_colour,
    rgb_colour,
    text_colour_on,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_ROW = 34
_TOP = 114
_BLOCK_MIN_PX = 4
_MILLIONS = 1_000_000
"""Counts from here on are shown in millions."""


def class_balance(counts: Mapping[str, Mapping[str, int]], nouns: str = "boxes") -> bytes:
    """Draw the share of each class in the boxes of each split, or in whatever labels are counted in.

    Shares make splits of different sizes comparable; the numbers beside the bars are counts. A class that a split does
    not contain is highlighted.

    Args:
        counts: Split to class to number. The classes are in the order of their index, which determines their colour;
            a class that is missing in a split has none there.
        nouns: What the numbers are of, such as ``boxes`` or ``pixels``.

    Returns:
        PNG bytes.
    """
    classes = list(dict.fromkeys(name for split in counts.values() for name in split))
    if not classes:
        return empty_card(f"{nouns.capitalize()} of each class", "The data set has no classes yet.")
    total = sum(sum(split.values()) for split in counts.values())
    height = _TOP + _ROW * len(classes) + 26
    subtitle = f"{_total(total, nouns)}; share of the {nouns} of each split"
    figure = new_card(height, _balance_headline(counts, classes, nouns), subtitle)
    left, right, gap = 130.0, 820.0, 26.0
    width = (right - left - gap * (len(counts) - 1)) / len(counts)
    largest = max(_share(split, name) for split in counts.values() for name in classes) or 1.0
    for column, (split, of_split) in enumerate(counts.items()):
        start = left + column * (width + gap)
        axes = add_panel(figure, start, _TOP, start + width, height - 26)
        axes.set_xlim(0, largest * 1.75)
        axes.set_ylim(len(classes) - 0.5, -0.5)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.axvline(0, color=MUTED, linewidth=0.8)
        axes.set_title(
            fitted_text(split, width, TEXT, bold=True), loc="left", size=TEXT, weight="bold", color=INK, pad=10
        )
        for row, name in enumerate(classes):
            if column == 0:
                draw_row_name(axes, row, name)
            _draw_class(axes, row, of_split.get(name, 0), _share(of_split, name))
    return png_bytes(figure)


def session_split(sessions: Mapping[str, Mapping[str, int]]) -> bytes:
    """Draw each split as a bar of its recording sessions; the length of a session is its number of images.

    Args:
        sessions: Split to session to number of images.

    Returns:
        PNG bytes.
    """
    sessions = {split: found for split, found in sessions.items() if found}
    if not sessions:
        return empty_card("Recording sessions", "The data set has no images yet.")
    count = len({name for found in sessions.values() for name in found})
    images = sum(sum(found.values()) for found in sessions.values())
    height = 92 + 52 * len(sessions) + 14
    subtitle = f"{counted(count, 'session')}, {counted(images, 'image')}; the length of a block is a session's images"
    figure = new_card(height, _split_headline(sessions), subtitle)
    axes = add_panel(figure, 130, 92, 820, height - 14)
    longest = max(sum(found.values()) for found in sessions.values())
    axes.set_xlim(0, longest)
    axes.set_ylim(len(sessions) - 0.5, -0.5)
    axes.set_xticks([])
    axes.set_yticks([])
    for row, (split, found) in enumerate(sessions.items()):
        _draw_sessions(axes, row, split, found, images)
    return png_bytes(figure)


def _split_headline(sessions: Mapping[str, Mapping[str, int]]) -> str:
    splits_of = Counter(name for found in sessions.values() for name in found)
    shared = sorted(name for name, splits in splits_of.items() if splits > 1)
    if not shared:
        return "No recording session is in two splits"
    if len(shared) == 1:
        return f"Session {name_in_title(shared[0])} is in more than one split"
    return f"{len(shared):,} sessions are in more than one split, such as {name_in_title(shared[0])}"


def _share(counts: Mapping[str, int], name: str) -> float:
    return counts.get(name, 0) / max(sum(counts.values()), 1)


def _total(count: int, nouns: str) -> str:
    """A count with its noun, whose plural is given: ``1 box``, ``3 boxes``, ``2.1 million pixels``."""
    if count == 1:
        return f"1 {nouns.removesuffix('es' if nouns.endswith('xes') else 's')}"
    return f"{count / 1e6:,.1f} million {nouns}" if count >= _MILLIONS else f"{count:,} {nouns}"


def _balance_headline(counts: Mapping[str, Mapping[str, int]], classes: list[str], nouns: str) -> str:
    missing = [(name, split) for split, of_split in counts.items() for name in classes if not of_split.get(name)]
    if missing:
        name, split = missing[0]
        more = f", and {counted(len(missing) - 1, 'more gap')}" if len(missing) > 1 else ""
        return f"No {nouns} of {name_in_title(name)} in {split}{more}"
    totals = {name: sum(of_split.get(name, 0) for of_split in counts.values()) for name in classes}
    rare, common = min(totals, key=lambda n: totals[n]), max(totals, key=lambda n: totals[n])
    if rare == common:
        return f"{_total(totals[rare], nouns)} of {name_in_title(rare)}"
    ratio = _ratio(totals[common] / totals[rare])
    return f"{name_in_title(common)} is {ratio} as frequent as {name_in_title(rare)}"


def _ratio(ratio: float) -> str:
    return f"{ratio:.0f}×" if ratio >= 9.5 else f"{ratio:.1f}×"


def _draw_class(axes: Axes, row: int, count: int, share: float) -> None:
    axes.barh(row, share, height=0.58, color=hex_colour(class_colour(row)))
    shown = f"{count / 1e6:,.1f} M" if count >= _MILLIONS else f"{count:,}"
    text = f"{shown}  {_percent(share)}" if count else "none"
    axes.annotate(
        text,
        (share, row),
        xytext=(6, 0),
        textcoords="offset points",
        va="center",
        size=SMALL,
        color=INK if count else ALARM,
        weight="normal" if count else "bold",
    )


def _percent(share: float) -> str:
    if 0 < share < 0.0005:
        return "<0.1%"
    return f"{share:.0%}" if share >= 0.095 else f"{share:.1%}"


def _draw_sessions(axes: Axes, row: int, split: str, sessions: Mapping[str, int], images: int) -> None:
    colour = SPLITS.get(split, MUTED)
    images_of_split = sum(sessions.values())
    draw_row_name(axes, row, split, weight="bold", lift=6)
    share = _percent(images_of_split / images)
    draw_row_name(axes, row, f"{images_of_split:,}  {share}", colour=MUTED, lift=-7)
    pixels_per_image = 690 / axes.get_xlim()[1]
    start = 0
    for name, size in _blocks(sessions, pixels_per_image):
        axes.barh(row, size, left=start, height=0.66, color=colour, edgecolor=CARD, linewidth=1)
        if size * pixels_per_image > width_of(name, 8) + 6:
            ink = hex_colour(text_colour_on(rgb_colour(colour)))
            axes.text(start + size / 2, row, name, ha="center", va="center", size=8, color=ink)
        start += size


def _blocks(sessions: Mapping[str, int], pixels_per_image: float) -> list[tuple[str, int]]:
    """Name and images of each block, the largest first; sessions of which only the gaps would be seen are one block."""
    ordered = sorted(sessions.items(), key=lambda item: (-item[1], item[0]))
    narrow = [size for _, size in ordered if size * pixels_per_image < _BLOCK_MIN_PX]
    if len(narrow) < 2:
        return ordered
    together = (counted(len(narrow), "session"), sum(narrow))
    return [*ordered[: len(ordered) - len(narrow)], together]
