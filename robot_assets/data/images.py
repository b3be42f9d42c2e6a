"""Encoded images: what we accept, how they are decoded, and their perceptual hash.

EXIF orientation is never applied, and an image that asks for it is refused: annotation tools disagree on
whether their boxes refer to the stored or to the turned pixels, so either choice would sometimes put every
box of a recording in the wrong place without a word.
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

from robot_assets.data.label_issues import BadItem, shown

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

SUFFIXES = (".jpg", ".jpeg", ".png")
FOREIGN_SUFFIXES = (".bmp", ".gif", ".tif", ".tiff", ".webp", ".avif", ".heic", ".ppm", ".pgm")
MAX_PIXELS = 64_000_000
"""No robot camera has more; a header that claims more is refused before a single pixel is decoded."""
MAX_BYTES = 256 * 1024 * 1024
_FORMATS = ("JPEG", "PNG")
_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr")
"""Eight bits a channel. 16-bit PNG is depth more often than light, and 8 bits of it would be a guess."""
_ORIENTATION_TAG = 0x0112
_BLANK_CONTRAST = 2.0
"""Standard deviation in grey levels of the 32x32 image; the darkest real frame that we have has 22."""
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
    """Size of an image that decodes, and its 64-bit perceptual hash (None for a blank image)."""

    width: int
    height: int
    perceptual_hash: int | None


def read_bytes(path: Path, place: str) -> bytes:
    """Read one image file, which has to be a plain file of a sane size.

    Raises:
        BadItem: A symlink, a device, an empty, missing or enormous file.
    """
    place = shown(place)
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        raise BadItem(place, "no such image", "bring the file back or remove its label") from None
    except OSError as error:
        raise BadItem(place, f"cannot be opened ({error.strerror})", "replace it by a readable plain file") from None
    with os.fdopen(handle, "rb") as file:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise BadItem(place, "not a plain file", "replace it by the image itself")
        if status.st_size == 0:
            raise BadItem(place, "the image has zero bytes", "copy it again from the robot, or remove it")
        if status.st_size > MAX_BYTES:
            raise BadItem(place, f"{status.st_size} bytes is more than {MAX_BYTES}", "remove it")
        return file.read()


def inspect_image(encoded: bytes, place: str) -> ImageFacts:
    """Decode an image completely and say what it is.

    Args:
        encoded: Bytes of a JPEG or PNG file.
        place: Name of the file, for the error.

    Raises:
        BadItem: It is no JPEG or PNG, is cut off, claims too many pixels, has more than 8 bits a channel, or
            asks to be turned.
    """
    place = shown(place)
    image = _open(encoded, place)
    if image.width * image.height > MAX_PIXELS:
        raise _bomb(place, f"{image.width}x{image.height} pixels")
    if image.mode not in _MODES:
        raise BadItem(place, f"pixel mode {image.mode}, needed 8 bits a channel", "convert it to 8-bit RGB")
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
            "turn the pixels (exiftran -ai) and look at its boxes again, or remove the EXIF tag",
        )
    return ImageFacts(image.width, image.height, perceptual_hash(image))


def decode_rgb(encoded: bytes) -> np.ndarray:
    """Decode to uint8 (H, W, 3), RGB, in the orientation of the stored pixels."""
    import numpy as np
    from PIL import Image

    with Image.open(io.BytesIO(encoded), formats=_FORMATS) as image:
        return np.array(_opaque(image).convert("RGB"))


def perceptual_hash(image: Image.Image) -> int | None:
    """64-bit DCT hash: the signs of the low frequencies around their median; None for a blank image.

    The lowest 8x8 frequencies, the constant one left out of the median, of the 32x32 grey image. Source:
    C. Zauner, "Implementation and benchmarking of perceptual image hash functions", 2010. Blank images (a
    covered lens) would all be alike, and would tie together every session that has one.
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
    """Resolve the transparent colours of a palette first: Pillow warns when a conversion loses them."""
    return image.convert("RGBA") if image.mode == "P" and "transparency" in image.info else image


def _cosines() -> np.ndarray:
    """The first 8 rows of the 32-point DCT-II matrix, float64 (8, 32)."""
    import numpy as np

    frequency, sample = np.arange(8)[:, None], np.arange(32)[None, :]
    return np.cos(np.pi * frequency * (2 * sample + 1) / 64)


def _open(encoded: bytes, place: str) -> Image.Image:
    """Read the header only. Pillow would warn of a bomb at its own limit; ours is checked by the caller."""
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return Image.open(io.BytesIO(encoded), formats=_FORMATS)
    except Image.DecompressionBombError as error:
        raise _bomb(place, str(error)) from None
    except UnidentifiedImageError:
        raise BadItem(place, "neither JPEG nor PNG inside", "convert it to JPEG or PNG, or remove it") from None
    except _DECODER_ERRORS as error:
        raise BadItem(place, f"the header is damaged ({error})", "copy it again, or remove it") from None


def _bomb(place: str, size: str) -> BadItem:
    return BadItem(place, f"decompression bomb: {size}, at most {MAX_PIXELS} are decoded", "remove or shrink it")
