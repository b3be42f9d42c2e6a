"""The style of all figures: palette, the background of cards, and PNG encoding.

A class or a variant has the same colour in all figures. Figures have an opaque near-white background, so that they look
the same on a white page and in a dark user interface.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

Colour = tuple[int, int, int]

CARD = "#fcfcfa"
INK = "#26292e"
MUTED = "#6b7078"
FAINT = "#d9dbdd"
ALARM = "#b3261e"

# After Wong, "Points of view: Color blindness", Nature Methods 8 (2011): eight colours that are distinguishable with
# every common colour deficiency. The first ones also contrast with a lawn, a road and a dark hall. Violet replaces
# black, which is the colour of text, and yellow, which is invisible on white, is darker. Eight more follow for masks,
# whose classes are often more: they differ from the first eight and from each other in lightness as well as in hue.
_CLASSES: tuple[Colour, ...] = (
    (230, 159, 0),  # orange
    (86, 180, 233),  # sky blue
    (204, 121, 167),  # reddish purple
    (120, 94, 240),  # violet
    (213, 94, 0),  # vermilion
    (0, 158, 115),  # bluish green
    (196, 182, 30),  # dark yellow
    (0, 114, 178),  # blue
    (122, 30, 40),  # maroon
    (246, 184, 206),  # pink
    (30, 44, 110),  # navy
    (166, 217, 106),  # light green
    (128, 128, 128),  # grey
    (120, 72, 32),  # brown
    (226, 208, 168),  # sand
    (40, 200, 210),  # turquoise
)

# Float is grey, post-training quantization blue, quantization-aware training vermilion.
_VARIANTS = (
    ("control", "#9298a1"),
    ("percentile", "#56b4e9"),
    ("ptq", "#0072b2"),
    ("qat", "#d55e00"),
    ("int8", "#009e73"),
    ("engine", "#009e73"),
    ("fp32", "#565d66"),
)
_OTHER_VARIANT = "#785ef0"

SPLITS = {"train": "#565d66", "val": "#0072b2", "test": "#d55e00"}


def class_colour(index: int) -> Colour:
    """Colour of a class, determined by its index.

    Args:
        index: Class index from 0. After sixteen classes the palette repeats, each time darker by a third.

    Returns:
        RGB in 0..255.

    Raises:
        ValueError: The index is negative.
    """
    if index < 0:
        raise ValueError(f"class index {index}; needed: 0 or more")
    repetition, position = divmod(index, len(_CLASSES))
    red, green, blue = _CLASSES[position]
    brightness = (2 / 3) ** repetition
    return round(red * brightness), round(green * brightness), round(blue * brightness)


def variant_colour(name: str) -> str:
    """Colour of a variant of a model by its name: ``FP32 control``, ``PTQ mse``, ``QAT``, ``INT8``."""
    folded = name.casefold()
    return next((colour for word, colour in _VARIANTS if word in folded), _OTHER_VARIANT)


def hex_colour(colour: Colour) -> str:
    """``#rrggbb`` of an RGB triple."""
    return "#{:02x}{:02x}{:02x}".format(*colour)


def rgb_colour(text: str) -> Colour:
    """RGB triple of ``#rrggbb``."""
    return int(text[1:3], 16), int(text[3:5], 16), int(text[5:7], 16)


def text_colour_on(background: Colour) -> Colour:
    """Black or white, whichever has the higher contrast with the background (WCAG 2.2 relative luminance)."""
    linear = [(c / 255 / 12.92) if c <= 10 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in background]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return (0, 0, 0) if (luminance + 0.05) / 0.05 > 1.05 / (luminance + 0.05) else (255, 255, 255)


def image_png(image: Image, *, size_bytes_max: int | None = None) -> bytes:
    """Encode an image that contains photographs as PNG, within a size.

    PNG compresses photographs badly. If the exact pixels exceed the size, the number of colours is reduced first, then
    the resolution.

    Args:
        image: An RGB image.
        size_bytes_max: Limit of the size of the PNG; None keeps the exact pixels.

    Returns:
        PNG bytes, the same for the same image.

    Raises:
        ValueError: The limit is too small for a readable image.
    """
    exact = _png(image)
    if size_bytes_max is None or len(exact) <= size_bytes_max:
        return exact
    shrink = 1.0
    while shrink > 0.2:
        smaller = _resized(image, shrink)
        for colours in (232, 120):
            if len(data := _png(_with_few_colours(smaller, colours))) <= size_bytes_max:
                return data
        shrink *= min(0.95, max(0.6, (size_bytes_max / len(data)) ** 0.5))
    raise ValueError(f"an image of {image.width}x{image.height} pixels does not fit in {size_bytes_max} bytes")


def _resized(image: Image, factor: float) -> Image:
    from PIL import Image as Images

    size = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
    return image if factor == 1.0 else image.resize(size, Images.Resampling.LANCZOS)


def _with_few_colours(image: Image, colours: int) -> Image:
    """Reduce the colours by median cut; the colours of classes and text keep their exact value."""
    import numpy as np
    from PIL import Image as Images

    found = image.quantize(colours, method=Images.Quantize.MEDIANCUT).getpalette() or []
    kept = [*_CLASSES, rgb_colour(CARD), rgb_colour(INK), (0, 0, 0), (255, 255, 255)]
    palette = Images.new("P", (1, 1))
    palette.putpalette([value for colour in kept for value in colour] + found[: 3 * colours])
    # Pillow looks up colours in coarse cells, so an exact one may be mapped to its neighbour.
    pixels = np.asarray(image)
    indices = np.array(image.quantize(palette=palette, dither=Images.Dither.NONE))
    for index, colour in enumerate(kept):
        indices[(pixels == colour).all(axis=-1)] = index
    reduced = Images.fromarray(indices)
    reduced.putpalette(palette.getpalette() or [])
    return reduced


def _png(image: Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()
