"""Reads packed splits: one memory-mapped file of encoded images, one of labels, and one of payloads if any.

A split needs two or three open files for any number of images, and its readers share the page cache.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from robot_assets.core.errors import DataError
from robot_assets.data.images import decode_rgb
from robot_assets.data.labels import PAYLOAD, PAYLOAD_OFFSETS
from robot_assets.data.split import SPLITS

Pixels = np.ndarray[Any, np.dtype[np.uint8]]
Floats = np.ndarray[Any, np.dtype[np.float32]]
Integers = np.ndarray[Any, np.dtype[np.int64]]


class PackedSplit:
    """Images and labels of one split, in pack order.

    Labels are COCO annotations and a payload of bytes for each image; the label format of a task reads them. Crowd
    regions (COCO's iscrowd) are in :meth:`coco`, where evaluation ignores them, and not in :meth:`boxes`.
    Pickling transfers the path only and maps the file again, so instances can be sent to data-loader workers.
    """

    def __init__(self, folder: Path, indices: Sequence[int] | None = None) -> None:
        """Open ``folder``, or only its images at ``indices``.

        Raises:
            DataError: The files are missing or inconsistent.
        """
        self._folder = folder
        document = _read_json(folder / "annotations.json")
        if not all(isinstance(document.get(key), list) for key in ("images", "annotations", "categories")):
            raise _broken(folder, "annotations.json lacks images, annotations or categories")
        count = len(document["images"])
        self._indices = tuple(range(count)) if indices is None else tuple(indices)
        if any(not 0 <= index < count for index in self._indices):
            raise _broken(folder, f"an index is outside 0 to {count - 1}")
        try:
            self._read(document)
        except (LookupError, TypeError):
            raise _broken(folder, "annotations.json has an entry without its fields") from None
        self._map(count)

    def _read(self, document: dict[str, Any]) -> None:
        self._images = [document["images"][index] for index in self._indices]
        self._categories = document["categories"]
        self._annotations = _by_image(document["annotations"])
        self.classes: tuple[str, ...] = tuple(category["name"] for category in self._categories)
        self.names: tuple[str, ...] = tuple(image["file_name"] for image in self._images)
        self.sessions: tuple[str, ...] = tuple(image["session"] for image in self._images)
        self.image_ids: tuple[int, ...] = tuple(image["id"] for image in self._images)

    def _map(self, count: int) -> None:
        self._encoded = _Blobs(self._folder, "images.bin", "offsets.npy", count)
        has_payload = (self._folder / PAYLOAD).exists()
        self._payload = _Blobs(self._folder, PAYLOAD, PAYLOAD_OFFSETS, count) if has_payload else None

    def __reduce__(self) -> tuple[Any, ...]:
        return PackedSplit, (self._folder, self._indices)

    def __len__(self) -> int:
        return len(self._indices)

    def encoded(self, i: int) -> bytes:
        """Encoded bytes of image ``i``, as recorded."""
        return self._encoded.read(self._indices[i])

    def payload(self, i: int) -> bytes:
        """What the label format of the task keeps of image ``i`` beside the COCO document; empty for none."""
        return self._payload.read(self._indices[i]) if self._payload else b""

    def annotations(self, i: int) -> list[dict[str, Any]]:
        """The annotations of image ``i`` in :meth:`coco`."""
        return self._annotations[self.image_ids[i]]

    def image(self, i: int) -> Pixels:
        """Image ``i`` as uint8 (H, W, 3), RGB."""
        return decode_rgb(self.encoded(i))

    def boxes(self, i: int) -> Floats:
        """Boxes of image ``i`` as float32 (n, 4): left, top, right, bottom in pixels."""
        rows = [annotation["bbox"] for annotation in self._objects(i)]
        boxes = np.array(rows, dtype=np.float64).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        return boxes.astype(np.float32)

    def labels(self, i: int) -> Integers:
        """Class index of each box of image ``i``, int64 (n,)."""
        return np.array([annotation["category_id"] - 1 for annotation in self._objects(i)], dtype=np.int64)

    def coco(self) -> dict[str, Any]:
        """COCO ground truth; ``category_id`` is the class index + 1."""
        annotations = [a for image_id in self.image_ids for a in self._annotations[image_id]]
        return {
            "info": {},
            "licenses": [],
            "images": [dict(image) for image in self._images],
            "annotations": [dict(annotation) for annotation in annotations],
            "categories": [dict(category) for category in self._categories],
        }

    def _objects(self, i: int) -> list[dict[str, Any]]:
        return [a for a in self.annotations(i) if not a["iscrowd"]]


class _Blobs:
    """A memory-mapped file of one blob for each image, and where each begins.

    Raises:
        DataError: The files are missing or do not fit to ``count`` images.
    """

    def __init__(self, folder: Path, name: str, offsets: str, count: int) -> None:
        try:
            self._offsets = np.load(folder / offsets, allow_pickle=False)
            self._bytes = np.memmap(folder / name, dtype=np.uint8, mode="r")
        except (OSError, ValueError) as error:
            raise _broken(folder, str(error)) from None
        if self._offsets.shape != (count + 1,) or int(self._offsets[-1]) != len(self._bytes):
            raise _broken(folder, f"{offsets}, {name} and annotations.json do not match")

    def read(self, at: int) -> bytes:
        """The blob at an index."""
        return self._bytes[int(self._offsets[at]) : int(self._offsets[at + 1])].tobytes()


def open_split(dataset: Path, name: str) -> PackedSplit:
    """Open "train", "val" or "test" of a packed data set.

    Raises:
        DataError: No such split, or its files are inconsistent.
    """
    if name not in SPLITS:
        raise DataError(f"no split {name!r}", needed=", ".join(SPLITS), fix="use one of these splits")
    return PackedSplit(dataset / name)


def open_calibration(dataset: Path) -> PackedSplit:
    """Open the calibration images, a subset of train.

    Raises:
        DataError: The files are missing or inconsistent.
    """
    return PackedSplit(dataset / "train", _read_json(dataset / "calibration.json")["indices"])


def _by_image(annotations: list[dict[str, Any]]) -> defaultdict[int, list[dict[str, Any]]]:
    grouped: defaultdict[int, list[dict[str, Any]]] = defaultdict(list)
    for annotation in annotations:
        grouped[annotation["image_id"]].append(annotation)
    return grouped


def _read_json(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise _broken(path.parent, f"{path.name}: {error}") from None
    if not isinstance(document, dict):
        raise _broken(path.parent, f"{path.name} is not an object")
    return document


def _broken(folder: Path, reason: str) -> DataError:
    return DataError(
        f"{folder} is not a packed split: {reason}",
        needed="a split of a data set built by robot-assets",
        fix="build the data set again: robot-assets data build NAME, or materialize datasets/NAME",
    )
