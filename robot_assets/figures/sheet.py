"""Images side by side on one card, with a line below each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from robot_assets.figures.style import CARD, INK, MUTED, image_png, pixel_font

if TYPE_CHECKING:
    from PIL.Image import Image

_MARGIN = 12
_GAP = 10
_LINE = 20
_TEXT_SIZE = 12


def contact_sheet(
    images: Sequence[npt.NDArray[np.uint8]],
    columns: int,
    captions: Sequence[str] | None = None,
    *,
    note: str = "",
    width: int = 840,
    size_bytes_max: int | None = 150_000,
) -> bytes:
    """Lay images out in rows, each scaled to the width of its column.

    Args:
        images: uint8 (H, W, 3), RGB; sizes may differ.
        columns: Images in a row.
        captions: A line for below each image; what is too long ends in an ellipsis.
        note: A line above all of them, such as a key.
        width: Width of the sheet in pixels.
        size_bytes_max: The most bytes that the PNG may have; see ``style.image_png``.

    Returns:
        PNG bytes.

    Raises:
        ValueError: Captions that are not one an image, no columns, or a sheet too narrow for them.
    """
    from PIL import Image as Images
    from PIL import ImageDraw as Draws

    if captions is not None and len(captions) != len(images):
        raise ValueError(f"{len(images)} images with {len(captions)} captions; needed: one an image")
    cell = cell_width(width, columns)
    pictures = [_fitted(image, cell) for image in images]
    rows = [pictures[i : i + columns] for i in range(0, len(pictures), columns)]
    below = _LINE if captions else 0
    top = _MARGIN + (_LINE + 4 if note or not images else 0)
    heights = [max(picture.height for picture in row) + below for row in rows]
    sheet = Images.new("RGB", (width, top + sum(heights) + _GAP * max(0, len(rows) - 1) + _MARGIN), CARD)
    pen, font = Draws.Draw(sheet), pixel_font(_TEXT_SIZE)
    pen.text((_MARGIN, _MARGIN - 3), note if images else "No images.", fill=MUTED, font=font)
    y = top
    for number, (row, height) in enumerate(zip(rows, heights, strict=True)):
        for column, picture in enumerate(row):
            x = _MARGIN + column * (cell + _GAP)
            sheet.paste(picture, (x, y))
            if captions:
                text = _shortened(captions[number * columns + column], cell)
                pen.text((x, y + height - _LINE + 3), text, fill=INK, font=font)
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
        raise ValueError(f"width {width} with {columns} columns leaves {cell} pixels an image; needed: 16")
    return cell


def fitted(image: npt.NDArray[np.uint8], width: int) -> npt.NDArray[np.uint8]:
    """An image scaled to a width, its proportions kept; uint8 (H, W, 3), RGB, in and out."""
    return np.asarray(_fitted(image, width))


def _fitted(image: npt.NDArray[np.uint8], width: int) -> Image:
    from PIL import Image as Images

    picture = Images.fromarray(image)
    if picture.width == width:
        return picture
    height = max(1, round(picture.height * width / picture.width))
    return picture.resize((width, height), Images.Resampling.LANCZOS)


def _shortened(text: str, width: int) -> str:
    font = pixel_font(_TEXT_SIZE)
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(f"{text}…") > width:
        text = text[:-1]
    return f"{text.rstrip()}…"
