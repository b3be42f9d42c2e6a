"""Small sources of images with masks, as annotation tools arrange them."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tests.data.image_sources import HEIGHT, WIDTH, encoded_image

CLASSES = ("sky", "road", "kerb")
COLOURS = ((0, 0, 0), (128, 64, 128), (196, 196, 196))
LABEL_MAP = "# label:color_rgb:parts:actions\nsky:0,0,0::\nroad:128,64,128::   # index 1\n\nkerb:196,196,196::\n"

Array = NDArray[np.uint8]


def mask(shift: int = 0) -> Array:
    """Sky above the road, with a kerb on it; the first two rows are ignored."""
    made = np.zeros((HEIGHT, WIDTH), np.uint8)
    made[20:] = 1
    made[30:40, 10 + shift : 30 + shift] = 2
    made[:2] = 255
    return made


def png(pixels: Array, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", **options)
    return buffer.getvalue()


def coloured(pixels: Array, colours: Sequence[tuple[int, int, int]] = COLOURS) -> Array:
    """The mask as RGB; ignored pixels have the first colour."""
    table = np.zeros((256, 3), np.uint8)
    table[: len(colours)] = colours
    table[255] = colours[0]
    return table[pixels]


def paletted(pixels: Array, palette: Mapping[int, tuple[int, int, int]]) -> bytes:
    """The mask as PNG with a palette."""
    flat = np.zeros((256, 3), np.uint8)
    for index, colour in palette.items():
        flat[index] = colour
    image = Image.frombytes("P", (pixels.shape[1], pixels.shape[0]), pixels.tobytes())
    image.putpalette(flat.tobytes())
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def write(root: Path, files: Mapping[str, bytes | str]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return root


def grey(root: Path, count: int = 4, **others: bytes | str) -> Path:
    """images/d and masks/d with classes.txt."""
    files: dict[str, bytes | str] = {"classes.txt": "\n".join(CLASSES) + "\n"}
    for number in range(count):
        files[f"images/d/{number:03}.jpg"] = encoded_image(f"{number}")
        files[f"masks/d/{number:03}.png"] = png(mask(number))
    return write(root, {**files, **others})


def read_mask(raw: Path, name: str) -> Array:
    with Image.open(raw / "masks" / f"{name}.png") as image:
        assert image.mode == "L"
        return np.asarray(image)
