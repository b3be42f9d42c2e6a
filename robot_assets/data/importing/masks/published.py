"""Classes of published data sets whose masks come without a file that names them."""

from __future__ import annotations

from collections.abc import Iterator

from robot_assets.data.importing.masks.legend import Legend, of_names

VOC_VOID = 0xE0E0C0
"""Colour of the border of objects in Pascal VOC, whose value is 255."""
_VOC = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip
_CITYSCAPES = (
    "road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign", "vegetation", "terrain",
    "sky", "person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle",
)  # fmt: skip
_CITYSCAPES_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
"""``labelId`` of each class, in the order of ``trainId``. Source: cityscapesscripts/helpers/labels.py"""


def voc_colours(count: int) -> Iterator[int]:
    """Colours of the palette of Pascal VOC, as 0xRRGGBB: the bits of the index are dealt out to the three channels.

    Source: VOClabelcolormap of the development kit
    """
    for index in range(count):
        red = green = blue = 0
        for bit in range(8):
            shift = 7 - bit
            red |= (index & 1) << shift
            green |= (index >> 1 & 1) << shift
            blue |= (index >> 2 & 1) << shift
            index >>= 3
        yield red << 16 | green << 8 | blue


def voc() -> Legend:
    """The 21 classes of Pascal VOC, by their colours; grey masks have their indices."""
    keys = {colour: index for index, colour in enumerate(voc_colours(len(_VOC)))}
    return Legend("Pascal VOC", _VOC, keys, has_colours=True)


def cityscapes(has_train_ids: bool) -> Legend:
    """The 19 classes of Cityscapes that its evaluation counts; its other ids are ignored."""
    if has_train_ids:
        return of_names(_CITYSCAPES, "Cityscapes (trainId)")
    keys = {number: index for index, number in enumerate(_CITYSCAPES_IDS)}
    others = frozenset(range(35)) - keys.keys()
    return Legend("Cityscapes (labelId)", _CITYSCAPES, keys, ignored=others)
