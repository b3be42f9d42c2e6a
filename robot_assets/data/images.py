"""Encoded images: validation, decoding and perceptual hash.

EXIF orientation is never applied, and an image that has one is refused: annotation tools disagree on whether
boxes refer to the stored or to the rotated pixels, so either choice would silently misplace all boxes of some
recordings.
"""

from __future__ import annotations

import io
import os
import stat
import struct
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from robot_assets.data.label_issues import BadItem, printable

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

SUFFIXES = (".jpg", ".jpeg", ".png")
FOREIGN_SUFFIXES = (".bmp", ".gif", ".tif", ".tiff", ".webp", ".avif", ".heic", ".ppm", ".pgm")
MAX_PIXELS = 64_000_000
"""No robot camera has more; larger images are refused by their header, before decoding."""
MAX_BYTES = 256 * 1024 * 1024
_FORMATS = ("JPEG", "PNG")
_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr")
"""8 bits per channel. 16-bit PNGs mostly contain depth, and reducing them to 8 bits would be a guess."""
_ORIENTATION_TAG = 0x0112
_BLANK_CONTRAST = 2.0
"""Standard deviation in grey levels of the 32x32 image; the darkest real frame of our data has 22."""
_DECODER_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    EOFError,
    OverflowError,
    struct.error,
    zlib.error,
)


@dataclass(frozen=True)
class ImageFacts:
    """Size in pixels of a decodable image, and its 64-bit perceptual hash (None for a blank image)."""

    width: int
    height: int
    perceptual_hash: int | None


def read_bytes(path: Path, place: str) -> bytes:
    """Read an image file.

    Raises:
        BadItem: The file is missing, empty, larger than ``MAX_BYTES``, a symlink or a device.
    """
    place = printable(place)
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        raise BadItem(place, "no such image", "restore the file or remove its label") from None
    except OSError as error:
        raise BadItem(place, f"cannot be opened ({error.strerror})", "replace it by a readable regular file") from None
    with os.fdopen(handle, "rb") as file:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise BadItem(place, "not a regular file", "replace it by the image itself")
        if status.st_size == 0:
            raise BadItem(place, "the image has zero bytes", "copy it again from the robot, or remove it")
        if status.st_size > MAX_BYTES:
            raise BadItem(place, f"the image has {status.st_size} bytes, more than {MAX_BYTES}", "remove it")
        return file.read()


def inspect_image(encoded: bytes, place: str) -> ImageFacts:
    """Decode an image completely and return its facts.

    Args:
        encoded: Bytes of a JPEG or PNG file.
        place: Name of the file, for the error.

    Raises:
        BadItem: It is not a JPEG or PNG, is damaged or too large, has more than 8 bits per channel, or an EXIF
            orientation.
    """
    place = printable(place)
    image = _open(encoded, place)
    if image.width * image.height > MAX_PIXELS:
        raise _bomb(place, f"{image.width}x{image.height} pixels")
    if image.mode not in _MODES:
        raise BadItem(place, f"pixel mode {image.mode}, needed 8 bits per channel", "convert it to 8-bit RGB")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            orientation = image.getexif().get(_ORIENTATION_TAG, 1)
            image.load()
    except _DECODER_ERRORS as error:
        raise BadItem(place, f"the image is damaged ({error})", "copy it again from the robot, or remove it") from None
    if orientation not in (0, 1):
        raise BadItem(
            place,
            f"EXIF orientation {orientation}",
            "rotate the pixels (exiftran -ai) and check its boxes, or remove the EXIF tag",
        )
    return ImageFacts(image.width, image.height, perceptual_hash(image))


def decode_rgb(encoded: bytes) -> np.ndarray:
    """Decode to uint8 (H, W, 3), RGB, in the orientation of the stored pixels."""
    import numpy as np
    from PIL import Image

    with Image.open(io.BytesIO(encoded), formats=_FORMATS) as image:
        return np.array(_opaque(image).convert("RGB"))


def perceptual_hash(image: Image.Image) -> int | None:
    """64-bit DCT hash: whether each low frequency is above their median; None for a blank image.

    Uses the lowest 8x8 frequencies of the 32x32 grey image; the median excludes the constant one. Source:
    C. Zauner, "Implementation and benchmarking of perceptual image hash functions", 2010. Blank images (a covered
    lens) have no hash: all would be near-duplicates and link every session that has one.
    """
    import numpy as np
    from PIL import Image

    grey = np.asarray(_opaque(image).convert("L").resize((32, 32), Image.Resampling.BOX), dtype=np.float64)
    if grey.std() < _BLANK_CONTRAST:
        return None
    basis = _cosines()
    low = (basis @ grey @ basis.T).round(6).ravel()
    bits = low > np.median(low[1:])
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def _opaque(image: Image.Image) -> Image.Image:
    """Convert palettes with transparency to RGBA first: Pillow warns when a conversion loses transparency."""
    return image.convert("RGBA") if image.mode == "P" and "transparency" in image.info else image


def _cosines() -> np.ndarray:
    """The first 8 rows of the 32-point DCT-II matrix, float64 (8, 32)."""
    import numpy as np

    frequency, sample = np.arange(8)[:, None], np.arange(32)[None, :]
    return np.cos(np.pi * frequency * (2 * sample + 1) / 64)


def _open(encoded: bytes, place: str) -> Image.Image:
    """Read the header only. Warnings about Pillow's own size limit are ignored: the caller checks ours."""
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return Image.open(io.BytesIO(encoded), formats=_FORMATS)
    except Image.DecompressionBombError as error:
        raise _bomb(place, str(error)) from None
    except UnidentifiedImageError:
        raise BadItem(place, "the content is neither JPEG nor PNG", "convert it to JPEG or PNG, or remove it") from None
    except _DECODER_ERRORS as error:
        raise BadItem(place, f"the header is damaged ({error})", "copy it again, or remove it") from None


def _bomb(place: str, size: str) -> BadItem:
    return BadItem(place, f"decompression bomb: {size}, at most {MAX_PIXELS} are allowed", "remove or shrink it")
