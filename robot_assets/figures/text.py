r"""Text in pictures: names in any script, on one line, without markup, within a width.

Names of classes, sessions and engines come from outside. Charts and images draw them with the same fonts, all of them
from Python packages: DejaVu Sans of Matplotlib first, then Noto Sans for other scripts. Fonts of the system are never
used, so that a picture is the same on every machine. A character without a glyph is drawn as its escape, ``\u1234``.
"""

from __future__ import annotations

import unicodedata
from bisect import bisect_left
from collections.abc import Iterator
from functools import cache, lru_cache
from importlib.util import find_spec
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL.Image import Image

    from robot_assets.figures.style import Colour

_FAMILY = "robot-assets "
_ASCENT, _DESCENT = 0.928, 0.236
"""Of DejaVu Sans, as a part of the em square."""
_LONGEST = 300
"""Characters of a name that are measured; it does not fit in any picture long before."""

_NOT_DRAWN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Unicode categories that are escaped: controls, formats such as a change of direction, surrogates, line ends."""
_JOINERS = frozenset("\u200c\u200d")
"""Formats that belong to the spelling of Persian, of Indian scripts and of emoji."""
_VARIATION_SELECTORS = frozenset(map(chr, range(0xFE00, 0xFE10)))


def drawable(text: str) -> str:
    r"""The text on one line with glyphs for all of its characters.

    Decomposed characters, such as those in the file names of macOS, are composed. Control characters and characters
    that no font has are escaped: ``\n``, ``\x1b``, ``\u1234``.
    """
    return "".join(_clusters(text))


def text_width(text: str, size: float, *, bold: bool = False) -> float:
    """Width of a :func:`drawable` text in pixels.

    Args:
        text: One line.
        size: Height of the em square in pixels.
        bold: Whether it is drawn in the bold face.
    """
    return float(_laid_out(text, size, bold=bold).get_width_height()[0]) / 64


def shortened(text: str, width: float, size: float, *, bold: bool = False) -> str:
    """A :func:`drawable` text within a width; a long one is shortened in the middle, since numbers are at the end.

    Args:
        text: Any text.
        width: Limit in pixels.
        size: Height of the em square in pixels.
        bold: Whether it is drawn in the bold face.
    """
    clusters = list(_clusters(text))

    def without_middle(kept: int) -> str:
        tail = kept // 3
        start, end = "".join(clusters[: kept - tail]), "".join(clusters[len(clusters) - tail :])
        return f"{start.rstrip()}…{end.lstrip()}"

    def is_too_wide(kept: int) -> bool:
        return text_width(without_middle(kept), size, bold=bold) > width

    if len(clusters) <= _LONGEST and text_width(whole := "".join(clusters), size, bold=bold) <= width:
        return whole
    most = min(len(clusters), _LONGEST)
    return without_middle(max(0, bisect_left(range(most), True, key=is_too_wide) - 1))


def line_height(size: int) -> int:
    """Height in pixels of a line in an image."""
    return _ascent(size) + ceil(_DESCENT * size)


def draw_text(canvas: Image, corner: tuple[int, int], text: str, size: int, colour: Colour) -> None:
    """Draw a :func:`drawable` text on an RGB image.

    Args:
        canvas: The image.
        corner: Left and top of the line in pixels.
        text: One line.
        size: Height of the em square in pixels.
        colour: Colour of the text.
    """
    from PIL import Image as Images

    if not text:
        return
    font = _laid_out(text, size)
    font.draw_glyphs_to_bitmap(antialiased=True)
    glyphs = Images.fromarray(font.get_image().copy())
    baseline = corner[1] + _ascent(size)
    top = baseline + round(font.get_descent() / 64) - glyphs.height
    canvas.paste(colour, (corner[0], top), mask=glyphs)


def font_families() -> list[str]:
    """Names of the fonts in Matplotlib, in order of preference. They are registered with this process alone.

    Their names are ours, because a font of the system could have the same name as one of them.
    """
    return [_FAMILY + font.stem for font in _registered()]


@cache
def _registered() -> tuple[Path, ...]:
    from matplotlib.font_manager import FontEntry, fontManager

    for font in _fonts():
        # Each has both weights: Matplotlib logs a warning for a weight that a family does not have.
        for weight in (400, 700):
            file = _bold(font) if weight == 700 else font
            entry = FontEntry(fname=str(file), name=_FAMILY + font.stem, weight=weight, size="scalable")
            fontManager.ttflist.append(entry)
    return _fonts()


def _clusters(text: str) -> Iterator[str]:
    """The characters to draw, each with its combining marks, or its escape."""
    cluster = ""
    for char in unicodedata.normalize("NFC", text):
        if char in _VARIATION_SELECTORS:
            continue
        if cluster and unicodedata.category(char).startswith("M") and _font_with(char):
            cluster += char
            continue
        if cluster:
            yield cluster
        cluster = char if _is_drawn(char) else char.encode("unicode_escape").decode()
    if cluster:
        yield cluster


def _is_drawn(char: str) -> bool:
    is_text = char in _JOINERS or unicodedata.category(char) not in _NOT_DRAWN
    return is_text and _font_with(char) is not None


@lru_cache(maxsize=8192)
def _font_with(char: str) -> Path | None:
    """The first font that has a glyph of the character."""
    from matplotlib.font_manager import get_font

    return next((font for font in _fonts() if get_font(str(font)).get_char_index(ord(char))), None)


def _laid_out(text: str, size: float, *, bold: bool = False) -> Any:
    """Matplotlib's font of DejaVu Sans with the glyphs of a text, and of the other fonts that it needs."""
    from matplotlib.font_manager import get_font
    from matplotlib.ft2font import LoadFlags

    needed = {_font_with(char) for char in text}
    latin, *others = _fonts()
    fonts = [_bold(latin) if bold else latin, latin, *(font for font in others if font in needed)]
    font = get_font([str(path) for path in dict.fromkeys(fonts)])
    font.set_size(size, 72)
    font.set_text(text, flags=LoadFlags.DEFAULT)
    return font


def _ascent(size: float) -> int:
    """Pixels from the top of a line to its baseline."""
    return ceil(_ASCENT * size)


@cache
def _fonts() -> tuple[Path, ...]:
    """Font files in order of preference."""
    import matplotlib

    latin = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    scripts = [file for file in _files_of("manimgx_fonts", "NotoSans*.ttf") if "Italic" not in file.name]
    east_asia = _files_of("noto_cjk_sans_jp_regular", "*.otf")
    emoji = _files_of("manimgx_fonts", "NotoEmoji*.ttf")
    return (latin, *scripts, *east_asia, *emoji)


def _bold(font: Path) -> Path:
    return font.with_name("DejaVuSans-Bold.ttf") if font.name == "DejaVuSans.ttf" else font


def _files_of(package: str, pattern: str) -> list[Path]:
    """Font files of a package, sorted by name; none where an installation lacks the package."""
    found = find_spec(package)
    folders = (found.submodule_search_locations or []) if found else []
    return [file for folder in folders for file in sorted(Path(folder).glob(pattern))]
