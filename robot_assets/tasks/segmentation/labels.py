"""The labels of semantic segmentation: one PNG an image, with the class index of every pixel.

A mask is an 8-bit grey PNG, or one with a palette whose indices are the class indices; 255 is ignored. A packed split
keeps grey ones.
"""

from __future__ import annotations

import io
import struct
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from robot_assets.core.errors import DataError
from robot_assets.core.ignored_warnings import IGNORED_WARNINGS
from robot_assets.core.label_issues import BadItem
from robot_assets.core.text import listed, plural
from robot_assets.store.parallel import map_in_groups
from robot_assets.tasks.labels import Counted, Inspected, LabelGate, RawImage
from robot_assets.tasks.segmentation.classes import CLASSES_MAX, IGNORED

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from robot_assets.tasks.task import Split

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_END = b"IEND\xaeB`\x82"
"""The last chunk of a PNG with its checksum. Pillow decodes a file without it, and its last pixels may be missing."""
_LFS = b"version https://git-lfs"
_GREY, _PALETTE = 0, 3
_KINDS = {_GREY: "grey", 2: "RGB", _PALETTE: "palette", 4: "grey with alpha", 6: "RGBA"}
"""Colour types of PNG (W3C PNG 1.2, section 4.1.1)."""
_AGAIN = "export it again, or remove it with its image"
_GROUP = 16
"""Masks per task: decoding one takes about a millisecond."""


@dataclass(frozen=True)
class Mask:
    """A checked mask, without its pixels.

    Attributes:
        pixels: Number of pixels by class index.
        numbers: New class index of each value of the file that keeps a class; others become ignored.
        is_plain: Whether the file is grey and its values are the class indices, so that it is packed as it is.
    """

    pixels: Mapping[int, int]
    numbers: Mapping[int, int]
    is_plain: bool


class MaskFormat:
    """Labels are a :class:`Mask`; drawing takes uint8 (H, W) of class indices. See :class:`LabelFormat`."""

    counted = Counted(
        noun="mask",
        plural="masks",
        amount="pixels",
        removal=f"set these pixels to {IGNORED} (ignored) in the source",
        is_of_one_class=False,
    )
    folder = "masks"
    suffix = ".png"
    gate = LabelGate(
        name="masks_sane",
        description="Every image has one mask of its size, with class indices or ignored pixels alone.",
        inspect="robot_assets.tasks.segmentation.labels:inspect_masks",
        valid="of the size of their images, with known classes, none ignored as a whole",
    )

    def read(self, image: RawImage) -> Mask:
        """The mask of an image."""
        if image.annotations:
            fix = "remove it: the classes of pixels are in the mask alone"
            raise BadItem(image.annotations[0][0], "an annotation beside a mask", fix)
        if image.side is None:
            raise BadItem(image.side_name, "no such mask", "add it, or remove its image")
        values, is_grey = _checked(image.side, image.side_name, (image.width, image.height))
        pixels = _pixels(values)
        _refuse_values(pixels, image)
        pixels.pop(IGNORED, None)
        return Mask(pixels, {index: index for index in pixels}, is_grey)

    def counts(self, labels: Mask) -> Counter[int]:
        """1 for each class that has pixels."""
        return Counter(dict.fromkeys(labels.pixels, 1))

    def scored_counts(self, labels: Mask) -> Counter[int]:
        """1 for each class that has pixels."""
        return self.counts(labels)

    def amounts(self, labels: Mask) -> Counter[int]:
        """Number of pixels by class index."""
        return Counter(labels.pixels)

    def renumbered(self, labels: Mask, numbers: Mapping[int, int]) -> Mask:
        """The mask with other class indices; pixels of no class in ``numbers`` become ignored."""
        kept = {value: numbers[index] for value, index in labels.numbers.items() if index in numbers}
        return replace(
            labels,
            pixels={numbers[index]: count for index, count in labels.pixels.items() if index in numbers},
            numbers=kept,
            is_plain=labels.is_plain and kept == {index: index for index in labels.pixels},
        )

    def annotations(self, labels: Mask) -> tuple[Mapping[str, Any], ...]:
        """None: classes are in the payload."""
        return ()

    def payload(self, labels: Mask, side: bytes | None) -> bytes:
        """A grey PNG: the bytes of the source where they are one with the same class indices."""
        return (side or b"") if labels.is_plain else encoded_mask(self.shown(labels, side))

    def shown(self, labels: Mask, side: bytes | None) -> NDArray[np.uint8]:
        """Class indices uint8 (H, W); ``IGNORED`` for ignored pixels."""
        import numpy as np

        table = np.full(256, IGNORED, dtype=np.uint8)
        for value, index in labels.numbers.items():
            table[value] = index
        found: NDArray[np.uint8] = table[decoded_mask(side or b"")]
        return found

    def unpacked(self, split: Split, index: int) -> NDArray[np.uint8]:
        """Class indices of image ``index``, uint8 (H, W); ``IGNORED`` for ignored pixels.

        Raises:
            DataError: The mask is missing or damaged.
        """
        try:
            return decoded_mask(split.payload(index))
        except ValueError as error:
            raise DataError(
                f"the mask of image {split.image_ids[index]} of a packed split is damaged ({error})",
                needed="a split of a data set built by robot-assets",
                fix="build the data set again: robot-assets data build NAME, or materialize datasets/NAME",
            ) from None

    def unpacked_counts(self, split: Split, index: int) -> Counter[int]:
        """1 for each class that image ``index`` has pixels of."""
        return Counter(dict.fromkeys(_pixels(self.unpacked(split, index)).keys() - {IGNORED}, 1))


MASKS = MaskFormat()


def encoded_mask(classes: NDArray[np.uint8]) -> bytes:
    """Class indices uint8 (H, W) as an 8-bit grey PNG; equal masks give equal bytes."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(classes).save(file, format="PNG", compress_level=6)
    return file.getvalue()


def decoded_mask(encoded: bytes) -> NDArray[np.uint8]:
    """Values of an 8-bit grey PNG, or indices of one with a palette: uint8 (H, W).

    Raises:
        ValueError: It is damaged, or no PNG.
    """
    import numpy as np
    from PIL import Image

    try:
        with IGNORED_WARNINGS, Image.open(io.BytesIO(encoded), formats=("PNG",)) as image:
            return np.array(image, dtype=np.uint8)
    except Exception as error:  # whatever Pillow raises on damaged bytes: an IndexError is among it
        raise ValueError(str(error) or type(error).__name__) from None


def inspect_masks(split: Split, classes: int) -> Inspected:
    """The masks of a packed split that are no 8-bit grey PNG of their image's size with known classes."""
    images = split.coco()["images"]
    faults = map_in_groups(
        lambda i: _fault(split.payload(i), images[i], classes), range(len(split)), "check masks", _GROUP
    )
    found = [f"{image['file_name']}: {fault}" for image, fault in zip(images, faults, strict=True) if fault]
    return Inspected(len(split), found)


def _fault(encoded: bytes, image: Mapping[str, Any], classes: int) -> str:
    if not encoded:
        return "no mask"
    try:
        values, is_grey = _checked(encoded, "", (image["width"], image["height"]))
    except BadItem as bad:
        return bad.issue.found
    pixels = _pixels(values)
    unknown = sorted(value for value in pixels if value >= classes and value != IGNORED)
    if unknown:
        return f"unknown class {unknown[0]}"
    if pixels.keys() == {IGNORED}:
        return "all pixels are ignored"
    return "" if is_grey else "a palette, needed grey"


def _checked(encoded: bytes, place: str, size: tuple[int, int]) -> tuple[NDArray[np.uint8], bool]:
    """The values of a mask, and whether it is grey.

    Raises:
        BadItem: It is no PNG of that size with one 8-bit channel, or damaged.
    """
    kind, depth, width, height = _header(encoded, place)
    if kind not in (_GREY, _PALETTE):
        found = f"the mask is {_KINDS.get(kind, f'of colour type {kind}')}, needed grey or a palette"
        fix = "import the source with its colours: robot-assets data import masks SOURCE --classes NAME=#RRGGBB,..."
        raise BadItem(place, found, fix)
    if kind == _GREY and depth != 8:
        found = f"the mask has {plural(depth, 'bit')} a pixel, needed 8"
        raise BadItem(place, found, "export it as 8-bit grey with the class index of each pixel")
    if (width, height) != size:
        found = f"the mask has {width}x{height} pixels, and the image {size[0]}x{size[1]}"
        raise BadItem(place, found, "export the mask at the size of the image, without interpolation")
    try:
        values = decoded_mask(encoded)
    except ValueError as error:
        raise BadItem(place, f"the mask is damaged ({error})", _AGAIN) from None
    if _END not in encoded:
        raise BadItem(place, "the mask is damaged (it ends early)", _AGAIN)
    if values.shape != (height, width):
        raise BadItem(place, f"the mask is damaged (it decodes to {values.shape})", _AGAIN)
    return values, kind == _GREY


def _header(encoded: bytes, place: str) -> tuple[int, int, int, int]:
    """Colour type, bits a sample, width and height of a PNG: Pillow scales grey values of 1, 2 and 4 bits."""
    if encoded.startswith(_LFS):
        raise BadItem(place, "the content is a pointer of Git LFS", "git lfs pull   # in the repository it is from")
    if not encoded.startswith(_SIGNATURE):
        raise BadItem(place, "the mask is not a PNG", "export it as PNG: other formats change the values of pixels")
    if len(encoded) < 33 or encoded[12:16] != b"IHDR":
        raise BadItem(place, "the mask is damaged (its header is incomplete)", _AGAIN)
    width, height, depth, kind = struct.unpack(">IIBB", encoded[16:26])
    return kind, depth, width, height


def _pixels(values: NDArray[np.uint8]) -> dict[int, int]:
    """Number of pixels of each value."""
    import numpy as np

    counts = np.bincount(values.ravel(), minlength=256)
    return {int(value): int(counts[value]) for value in np.flatnonzero(counts)}


def _refuse_values(pixels: Mapping[int, int], image: RawImage) -> None:
    known = min(len(image.classes), CLASSES_MAX)
    unknown = [value for value in pixels if value >= known and value != IGNORED]
    if unknown:
        values = listed([str(value) for value in unknown], 5)
        found = (
            f"class index {values}, and there {'is' if known == 1 else 'are'} {plural(known, 'category', 'categories')}"
        )
        fix = f"use 0 to {known - 1}, or {IGNORED} for pixels that are ignored; or add the categories"
        raise BadItem(image.side_name, found, fix)
    if pixels.keys() == {IGNORED}:
        raise BadItem(image.side_name, "all pixels are ignored", "label it, or remove it with its image")
