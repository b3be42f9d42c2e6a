"""Some images of a raw data set with their labels, for pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from robot_assets.data.images import decode_rgb, read_bytes
from robot_assets.data.labels import label_format
from robot_assets.data.raw import read_side
from robot_assets.data.raw_source import read_raw


class RawSample(NamedTuple):
    """Some images; in the order of the arguments of ``Drawing.labelled_sheet``.

    Attributes:
        images: uint8 (H, W, 3), RGB.
        labels: As drawing takes them.
        classes: Names by class index.
    """

    images: list[NDArray[np.uint8]]
    labels: list[Any]
    classes: tuple[str, ...]


def sample_raw(raw: Path, task: str, count: int) -> RawSample:
    """Images spread over a raw data set, with their labels.

    Raises:
        DataError: It is no raw data of this task.
        BadItem: One of the images or of their labels is bad.
    """
    source, format = read_raw(raw, task), label_format(task)
    sample = RawSample([], [], source.categories)
    for one in source.entries[:: max(1, len(source.entries) // count)][:count]:
        image, side = decode_rgb(read_bytes(one.path, one.file_name)), read_side(one)
        labels = format.read(source.image(one, (image.shape[1], image.shape[0]), side))
        sample.images.append(image)
        sample.labels.append(format.shown(labels, side))
    return sample
