"""Decodes masks, and turns their values or colours into classes."""

from __future__ import annotations

import io
import shlex
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from robot_assets.core.ignored_warnings import IGNORED_WARNINGS
from robot_assets.core.label_issues import BadItem
from robot_assets.core.text import listed, plural
from robot_assets.data.images import MAX_MEGAPIXELS
from robot_assets.data.importing.headers import is_intact_png
from robot_assets.data.importing.masks.legend import Key, Legend, shown_key
from robot_assets.data.importing.masks.published import VOC_VOID
from robot_assets.data.importing.segmentation.labels import CLASSES_MAX, Classes, Mask
from robot_assets.tasks.segmentation.classes import IGNORED

Keys: TypeAlias = NDArray[np.uint32]
"""Value or colour (0xRRGGBB) of each pixel, (H, W)."""

_PNG_START = b"\x89PNG\r\n\x1a\n"
_HEADER_BYTES = 26
_JPEG_START = b"\xff\xd8\xff"
_GREY = 0
_SCALES = {2: 85, 4: 17}
"""What Pillow multiplies the values of grey PNGs of 2 and of 4 bits by."""
_UNKNOWN = CLASSES_MAX
_SMOOTHED = 24
"""More unknown values than these are of a mask that was scaled or compressed with loss, or has instances."""
_SHOWN = 4
LOSSY = "a JPEG mask: its compression changes values along every edge"
_AS_PNG = "export the masks as PNG; a conversion of the JPEG does not restore them"
_SIZE = "export the masks in the size of the images; scale them by nearest neighbour only"


@dataclass(frozen=True)
class Raster:
    """A decoded mask.

    Attributes:
        values: Value or index of each pixel, (H, W); None for RGB.
        colours: Colour of each pixel of RGB; None else.
        palette: Colour of each index; None without a palette.
    """

    values: NDArray[np.uint8] | None
    colours: Keys | None
    palette: Keys | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Height and width."""
        return (self.values if self.values is not None else self.as_colours).shape

    @property
    def as_colours(self) -> Keys:
        """Colour of each pixel; that of a grey value is a level of grey."""
        if self.colours is not None:
            return self.colours
        values = np.zeros((0, 0), np.uint8) if self.values is None else self.values
        if self.palette is None:
            return values.astype(np.uint32) * 0x010101
        return self.palette[values]

    @property
    def is_grey(self) -> bool:
        """Whether all pixels are grey levels, so that RGB says no more than grey."""
        colours = self.as_colours
        return self.palette is None and bool((colours == (colours & 0xFF) * 0x010101).all())


def decoded_raster(encoded: bytes, place: str) -> Raster:
    """Decode a mask.

    Args:
        encoded: Bytes of a PNG.
        place: Name of the file, for findings.

    Raises:
        BadItem: It is no PNG of 8 bits, damaged, too large, or transparent.
    """
    depth, colour = _checked_header(encoded, place)
    from PIL import Image

    try:
        with IGNORED_WARNINGS, Image.open(io.BytesIO(encoded), formats=("PNG",)) as image:
            image.load()
    except Exception as error:  # whatever Pillow raises on damaged bytes: an IndexError is among it
        raise _damaged(place, str(error) or type(error).__name__) from None
    if not is_intact_png(encoded):
        raise _damaged(place, "a chunk with a wrong checksum, or no end")
    if image.mode in ("LA", "PA", "RGBA"):
        image = _opaque(image, place)
    if image.mode == "RGB":
        red, green, blue = np.moveaxis(np.asarray(image).astype(np.uint32), 2, 0)
        return Raster(None, red << 16 | green << 8 | blue)
    values = np.asarray(image).astype(np.uint8)
    if colour == _GREY and depth in _SCALES:
        values = values // _SCALES[depth]
    return Raster(values, None, _palette(image) if image.mode == "P" else None)


def _damaged(place: str, why: str) -> BadItem:
    return BadItem(place, f"the mask is damaged ({why})", "copy it again, or export it again")


def _checked_header(encoded: bytes, place: str) -> tuple[int, int]:
    """Bits per channel and colour type of a PNG."""
    if encoded.startswith(_JPEG_START):
        raise BadItem(place, LOSSY, _AS_PNG)
    if not encoded.startswith(_PNG_START):
        raise BadItem(place, "a mask that is not PNG", "export or convert the masks as PNG, without loss")
    if len(encoded) < _HEADER_BYTES:
        raise _damaged(place, "no header")
    width, height, depth, colour = struct.unpack_from(">IIBB", encoded, 16)
    if width * height > MAX_MEGAPIXELS * 1_000_000:
        found = f"a mask of {width}x{height} px; at most {MAX_MEGAPIXELS} megapixels are decoded"
        raise BadItem(place, found, "resize it together with its image, by nearest neighbour")
    if depth > 8:
        found = f"a mask of {depth} bits per channel, needed 8: values from 0 to 255"
        raise BadItem(
            place, found, "export masks of classes with 8 bits; 16 bits are mostly ids of instances, or depth"
        )
    return depth, colour


def _opaque(image: Any, place: str) -> Any:
    """An image without its alpha channel, which has to be opaque."""
    if image.getextrema()[-1] != (255, 255):
        found = "a mask with transparent pixels, of which the class is not known"
        raise BadItem(place, found, "export it without transparency: grey, palette or RGB")
    return image.convert("L" if image.mode == "LA" else "RGB")


def _palette(image: Any) -> Keys:
    """The palette as 256 colours; black where it has fewer."""
    levels = np.zeros(768, np.uint32)
    flat = np.array(image.getpalette("RGB"), dtype=np.uint32)
    levels[: len(flat)] = flat
    red, green, blue = levels.reshape(-1, 3).T
    colours: Keys = (red << 16 | green << 8 | blue).astype(np.uint32)
    return colours


def require_size(raster: Raster, place: str, width: int, height: int) -> None:
    """Refuse a mask of another size than its image.

    Raises:
        BadItem: It has another size.
    """
    if raster.shape != (height, width):
        found = f"a mask of {raster.shape[1]}x{raster.shape[0]} px, but its image has {width}x{height}"
        turned = "; one of the two is turned by 90 degrees" if raster.shape == (width, height) else ""
        raise BadItem(place, found + turned, _SIZE)


@dataclass(frozen=True)
class PixelRules:
    """How the pixels of masks become classes.

    Attributes:
        legend: The classes of the source.
        classes: Those that are kept.
        ignored_values: Values that are ignored, besides those of the legend.
        ignored_colours: Colours that are ignored.
    """

    legend: Legend
    classes: Classes
    ignored_values: frozenset[Key] = frozenset()
    ignored_colours: frozenset[Key] = frozenset()

    def mask(self, raster: Raster, place: str) -> Mask:
        """The mask of an image.

        Raises:
            BadItem: It has a value or colour that is no class.
        """
        if not self.legend.has_colours:
            values = raster.values if raster.values is not None else self._grey(raster, place)
            return self._checked(self._by_value[values], values.astype(np.uint32), False, place)
        if self._are_indices(raster) and raster.values is not None:
            values = raster.values
            return self._checked(self._by_index[values], values.astype(np.uint32), False, place)
        if raster.values is not None and raster.palette is not None:
            return self._of_palette(raster.values, raster.palette, place)
        colours = raster.as_colours
        return self._checked(self._by_colour[colours], colours, True, place)

    def _are_indices(self, raster: Raster) -> bool:
        """Whether a grey mask has indices although the legend has colours."""
        return raster.values is not None and raster.palette is None and not self.legend.has_grey_colours

    def _grey(self, raster: Raster, place: str) -> NDArray[np.uint8]:
        """The values of an RGB mask whose pixels are grey."""
        colours = raster.as_colours
        if raster.is_grey:
            return (colours & 0xFF).astype(np.uint8)
        raise BadItem(place, f"an RGB mask with the colours {_some(np.unique(colours), True)}", colour_fix(colours))

    def _of_palette(self, values: NDArray[np.uint8], palette: Keys, place: str) -> Mask:
        """A mask with a palette by the colours of its indices: the same colour may be of several."""
        table = self._by_colour[palette]
        if palette[IGNORED] == VOC_VOID or table[IGNORED] == _UNKNOWN:
            table[IGNORED] = IGNORED
        return self._checked(table[values], palette[values], True, place)

    def _checked(self, mask: Mask, keys: Keys, are_colours: bool, place: str) -> Mask:
        """Refuse unknown pixels."""
        is_unknown = mask == _UNKNOWN
        if not is_unknown.any():
            return mask
        unknown = np.unique(keys[is_unknown])
        if len(unknown) > _SMOOTHED:
            kind = "colours" if are_colours else "values"
            found = f"{len(unknown)} {kind} of no class: smoothed, compressed with loss, or ids of instances"
            raise BadItem(place, found, "export masks of classes, as PNG and without anti-aliasing")
        raise BadItem(place, *self._about_unknown(unknown, are_colours))

    def _about_unknown(self, unknown: NDArray[Any], are_colours: bool) -> tuple[str, str]:
        first, where = int(unknown[0]), self.legend.place
        if are_colours:
            noun = "colour" if len(unknown) == 1 else "colours"
            found = f"the {noun} {_some(unknown, True)}, which {where} does not have"
            fix = f"add a class with this colour to {where}, or ignore it: --ignore '{shown_key(first, True)}'"
        else:
            noun = "class id" if len(unknown) == 1 else "class ids"
            known = plural(len(self.legend.names), "class", "classes")
            found = f"{noun} {_some(unknown, False)}, beyond the {known} of {where} ({self._ids()})"
            fix = f"add the class, or ignore it: --ignore {first}"
            if unknown.tolist() == [len(self.legend.names)] and len(self.legend.names) == len(self.legend.keys):
                fix += f"; if values start at 1: --classes {self._from_one()}"
        return found, fix

    def _from_one(self) -> str:
        pairs = ",".join(f"{name}={value}" for value, name in enumerate(self.legend.names, start=1))
        return shlex.quote(pairs)

    def _ids(self) -> str:
        table = self._by_index if self.legend.has_colours else self._by_value
        ids = [value for value in range(256) if table[value] != _UNKNOWN and value != IGNORED]
        if len(ids) > 2 and ids == list(range(ids[0], ids[-1] + 1)):
            return f"{ids[0]} to {ids[-1]}"
        return listed(map(str, ids))

    @cached_property
    def _by_value(self) -> Mask:
        """Class of each value."""
        table = np.full(256, _UNKNOWN, np.uint8)
        table[[IGNORED, *self._ignored_below_256]] = IGNORED
        for key, index in self.legend.keys.items():
            table[key] = self.classes.numbers[index]
        return table

    @cached_property
    def _by_index(self) -> Mask:
        """Class of each index of the legend."""
        table = np.full(256, _UNKNOWN, np.uint8)
        table[[IGNORED, *self._ignored_below_256]] = IGNORED
        for index in range(len(self.legend.names)):
            table[index] = self.classes.numbers[index]
        return table

    @property
    def _ignored_below_256(self) -> list[int]:
        ignored = self.ignored_values | (frozenset() if self.legend.has_colours else self.legend.ignored)
        return sorted(key for key in ignored if key < 256)

    @cached_property
    def _by_colour(self) -> Mask:
        """Class of each colour, 16 MiB: looking up is several times as fast as sorting the pixels of each mask."""
        table = np.full(1 << 24, _UNKNOWN, np.uint8)
        table[[VOC_VOID, *self.ignored_colours]] = IGNORED
        for key, index in self.legend.keys.items():
            table[key] = self.classes.numbers[index]
        return table


def colour_fix(colours: Sequence[int] | NDArray[Any]) -> str:
    """How to give the classes of these colours."""
    found = np.unique(np.asarray(colours))[: _SHOWN * 4].tolist()
    pairs = ",".join(f"NAME_{number}={shown_key(colour, True)}" for number, colour in enumerate(found))
    return f"run the same command with --classes '{pairs}'   # your names; or --classes labelmap.txt"


def _some(keys: NDArray[Any], are_colours: bool) -> str:
    return listed([shown_key(int(key), are_colours) for key in keys.tolist()], _SHOWN)
