"""A split of drawn shapes: a disc, a bar and a square on a background, with noise and with ignored pixels."""

import io
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from robot_assets.tasks.interface import Input, Interface
from robot_assets.tasks.registry import task_of
from robot_assets.tasks.segmentation.classes import IGNORED

CLASSES = ("background", "disc", "bar", "square")
_COLOURS = np.array([(90, 110, 90), (190, 60, 60), (60, 60, 190), (190, 190, 60)])


def png(mask: NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(mask).save(file, format="PNG")
    return file.getvalue()


@dataclass
class Shapes:
    """The part of a packed split that learning and scoring read."""

    images: list[NDArray[np.uint8]]
    masks: list[NDArray[np.uint8]]
    classes: tuple[str, ...] = CLASSES
    image_ids: tuple[int, ...] = field(default=())

    def __post_init__(self) -> None:
        self.image_ids = tuple(range(1, len(self.images) + 1))

    def __len__(self) -> int:
        return len(self.images)

    def image(self, i: int) -> NDArray[np.uint8]:
        return self.images[i]

    def payload(self, i: int) -> bytes:
        return png(self.masks[i])

    def coco(self) -> dict[str, Any]:
        return {"images": [], "annotations": [], "categories": []}


def shapes(count: int, seed: int, height: int = 64, width: int = 96) -> Shapes:
    rng = np.random.default_rng(seed)
    masks = [_mask(height, width, rng) for _ in range(count)]
    return Shapes([_image(mask, rng) for mask in masks], masks)


def interface(height: int = 64, width: int = 96, classes: tuple[str, ...] = CLASSES, **options: Any) -> Interface:
    """Of the compact network for an input of a size; ``options`` are those of the input."""
    task = task_of("segmentation")
    input = Input(height=height, width=width, **options)
    heads = task.own_decoder.heads(input, task.own_decoder.options(), classes, {})
    return Interface(task="segmentation", classes=classes, input=input, heads=heads, decoder="map")


def _mask(height: int, width: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    y, x = np.mgrid[:height, :width]
    mask = np.zeros((height, width), np.uint8)
    (cx, bx, sx), (cy, by, sy) = rng.uniform(12, width - 12, 3), rng.uniform(12, height - 12, 3)
    mask[np.abs(x - bx) < 6] = CLASSES.index("bar")
    mask[np.maximum(np.abs(x - sx), np.abs(y - sy)) < rng.uniform(8, 12)] = CLASSES.index("square")
    mask[np.hypot(x - cx, y - cy) < rng.uniform(9, 14)] = CLASSES.index("disc")
    mask[: int(by) // 8, :8] = IGNORED
    return mask


def _image(mask: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    colours = _COLOURS[np.minimum(mask, len(CLASSES) - 1)]
    noise = rng.normal(0, 15, (*mask.shape, 3))
    return (colours + noise).clip(0, 255).astype(np.uint8)
