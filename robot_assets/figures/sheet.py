"""Lays out images side by side on one card, with captions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from robot_assets.figures.style import CARD, INK, MUTED, Colour, image_png, rgb_colour
from robot_assets.figures.text import draw_text, shortened, text_width

if TYPE_CHECKING:
    from PIL.Image import Image

_MARGIN = 12
_GAP = 10
_LINE = 20
_TEXT_SIZE = 12
_SWATCH = 12
_ENTRY_GAP = 14


def contact_sheet(
    images: Sequence[npt.NDArray[np.uint8]],
    columns: int,
    captions: Sequence[str] | None = None,
    *,
    note: str = "",
    legend: Sequence[tuple[str, Colour]] = (),
    width: int = 840,
    size_bytes_max: int | None = 150_000,
) -> bytes:
    """Lay out images in rows, each scaled to the width of its column.

    Args:
        images: uint8 (H, W, 3), RGB; sizes may differ.
        columns: Images per row.
        captions: One line below each image; long ones are shortened.
        note: One line above all images, such as a legend.
        legend: Names and their colours, above all images and below the note.
        width: Width of the sheet in pixels.
        size_bytes_max: Limit of the size of the PNG; see ``style.image_png``.

    Returns:
        PNG bytes.

    Raises:
        ValueError: Not one caption per image, no columns, or a sheet too narrow for them.
    """
    from PIL import Image as Images

    if captions is not None and len(captions) != len(images):
        raise ValueError(f"images: {len(images)}, captions: {len(captions)}; needed: one caption per image")
    cell = cell_width(width, columns)
    resized = [_fitted(image, cell) for image in images]
    rows = [resized[i : i + columns] for i in range(0, len(resized), columns)]
    below = _LINE if captions else 0
    keys = _legend_lines(legend, width - 2 * _MARGIN)
    first = _MARGIN + (_LINE + 4 if note or not images else 0)
    top = first + _LINE * len(keys) + (4 if keys else 0)
    heights = [max(image.height for image in row) + below for row in rows]
    sheet = Images.new("RGB", (width, top + sum(heights) + _GAP * max(0, len(rows) - 1) + _MARGIN), CARD)
    _draw_line(sheet, (_MARGIN, _MARGIN - 3), note if images else "No images.", width - 2 * _MARGIN, MUTED)
    _draw_legend(sheet, keys, first)
    y = top
    for number, (row, height) in enumerate(zip(rows, heights, strict=True)):
        for column, image in enumerate(row):
            x = _MARGIN + column * (cell + _GAP)
            sheet.paste(image, (x, y))
            if captions:
                _draw_line(sheet, (x, y + height - _LINE + 3), captions[number * columns + column], cell, INK)
        y += height + _GAP
    return image_png(sheet, size_bytes_max=size_bytes_max)


def cell_width(width: int, columns: int) -> int:
    """Width in pixels of an image on a sheet.

    Raises:
        ValueError: No columns, or a sheet too narrow for them.
    """
    if columns < 1:
        raise ValueError(f"columns {columns}; needed: 1 or more")
    cell = (width - 2 * _MARGIN - _GAP * (columns - 1)) // columns
    if cell < 16:
        raise ValueError(f"width {width} with {columns} columns leaves {cell} pixels per image; needed: 16")
    return cell


def fitted(image: npt.NDArray[np.uint8], width: int) -> npt.NDArray[np.uint8]:
    """Scale an image to a width with its aspect ratio kept; uint8 (H, W, 3), RGB, in and out."""
    return np.asarray(_fitted(image, width))


def _fitted(image: npt.NDArray[np.uint8], width: int) -> Image:
    from PIL import Image as Images

    original = Images.fromarray(image)
    if original.width == width:
        return original
    height = max(1, round(original.height * width / original.width))
    return original.resize((width, height), Images.Resampling.LANCZOS)


def _draw_line(sheet: Image, corner: tuple[int, int], text: str, width: int, colour: str) -> None:
    draw_text(sheet, corner, shortened(text, width, _TEXT_SIZE), _TEXT_SIZE, rgb_colour(colour))


def _legend_lines(legend: Sequence[tuple[str, Colour]], width: int) -> list[list[tuple[int, str, Colour]]]:
    """The entries of a legend in lines of a width, each with its left edge; a name has at most half a line."""
    lines: list[list[tuple[int, str, Colour]]] = []
    right = width + 1
    for name, colour in legend:
        text = shortened(name, width / 2, _TEXT_SIZE)
        size = _SWATCH + 6 + round(text_width(text, _TEXT_SIZE))
        if right + size > width:
            lines.append([])
            right = 0
        lines[-1].append((right, text, colour))
        right += size + _ENTRY_GAP
    return lines


def _draw_legend(sheet: Image, lines: Sequence[Sequence[tuple[int, str, Colour]]], top: int) -> None:
    for number, line in enumerate(lines):
        y = top + _LINE * number
        for left, text, colour in line:
            x = _MARGIN + left
            sheet.paste(colour, (x, y, x + _SWATCH, y + _SWATCH))
            draw_text(sheet, (x + _SWATCH + 6, y - 2), text, _TEXT_SIZE, rgb_colour(INK))
