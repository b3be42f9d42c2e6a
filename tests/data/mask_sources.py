"""Small raw data of segmentations, generated from a seed."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from tests.data.image_sources import HEIGHT, WIDTH, encoded_image, write_labels

GROUND = ("road", "sidewalk", "sky")
IGNORED = 255
Mask = np.ndarray


def mask(seed: str, classes: int = len(GROUND)) -> Mask:
    """Bands of class indices with an ignored one: uint8 (H, W)."""
    rng = np.random.default_rng(zlib.crc32(seed.encode()))
    values = np.full((HEIGHT, WIDTH), IGNORED, np.uint8)
    edges = np.sort(rng.choice(np.arange(4, HEIGHT - 8), classes, replace=False))
    for index, (top, bottom) in enumerate(zip(edges, [*edges[1:], HEIGHT - 4], strict=True)):
        values[top:bottom] = index
    return values


def png(values: Mask, **options: object) -> bytes:
    """An 8-bit grey PNG."""
    file = io.BytesIO()
    Image.fromarray(values).save(file, "PNG", **options)
    return file.getvalue()


def palette_png(values: Mask) -> bytes:
    """A PNG whose palette indices are the values."""
    image = Image.fromarray(values).convert("P")
    image.putdata(values.ravel().tolist())
    image.putpalette([level for index in range(256) for level in (index, 255 - index, 7 * index % 256)])
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def chunk(kind: bytes, content: bytes) -> bytes:
    """One chunk of a PNG."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def grey_png(bits: int, width: int = WIDTH, height: int = HEIGHT) -> bytes:
    """A grey PNG of zeros with any number of bits a pixel, whatever Pillow writes."""
    row = b"\0" + bytes((width * bits + 7) // 8)
    header = struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)
    chunks = [chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(row * height)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def write_masks(root: Path, sessions: dict[str, int], classes: tuple[str, ...] = GROUND) -> Path:
    """Raw data of a segmentation."""
    images = []
    for session, count in sessions.items():
        for folder in ("images", "masks"):
            (root / folder / session).mkdir(parents=True)
        for number in range(count):
            stem = f"{session}/{number:03}"
            (root / "images" / f"{stem}.jpg").write_bytes(encoded_image(stem))
            (root / "masks" / f"{stem}.png").write_bytes(png(mask(stem, len(classes))))
            images.append({"id": len(images) + 1, "file_name": f"{stem}.jpg", "width": WIDTH, "height": HEIGHT})
    categories = [{"id": index + 1, "name": name} for index, name in enumerate(classes)]
    write_labels(root, {"images": images, "categories": categories, "annotations": []})
    return root
