"""Encoded images: validation, decoding and perceptual hash.

EXIF orientation is never applied, and an image that has one is refused: annotation tools disagree on whether
boxes refer to the stored or to the rotated pixels, so either choice would silently misplace all boxes of some
recordings.
"""

from __future__ import annotations

import io
import os
import re
import shlex
import stat
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from robot_assets.core.ignored_warnings import IGNORED_WARNINGS
from robot_assets.core.label_issues import BadItem, LabelIssue

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp")
_FOREIGN = {
    ".gif": "GIF",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".avif": "AVIF",
    ".heic": "HEIC",
    ".heif": "HEIF",
    ".jp2": "JPEG 2000",
    ".jxl": "JPEG XL",
    ".ppm": "PPM",
    ".pgm": "PGM",
    ".dng": "raw camera",
}
FOREIGN_SUFFIXES = tuple(_FOREIGN)
"""Images that are not read: they have several frames, more than 8 bits per channel, or need a decoder of their own."""
MAX_MEGAPIXELS = 64
"""No robot camera has more; larger images are refused by their header, before decoding."""
MAX_MIB = 256
_NEEDED = "JPEG, PNG, WebP or BMP"
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP")
_BEGINNINGS = (
    (re.compile(rb"version https://git-lfs"), "a pointer of Git LFS", "git lfs pull   # in the repository it is from"),
    (re.compile(rb"outs:\s|- md5: "), "a pointer of DVC", "dvc pull   # in the repository it is from"),
    (re.compile(rb"\s*(<!doctype|<html|<\?xml)", re.IGNORECASE), "a web page or XML", "download the image again"),
    (re.compile(rb"GIF8[79]a"), "a GIF image", ""),
    (re.compile(rb"II\*\0|MM\0\*"), "a TIFF image", ""),
    (re.compile(rb"....ftyp(avif|avis)", re.DOTALL), "an AVIF image", ""),
    (re.compile(rb"....ftyp(hei|hev|mif1|msf1)", re.DOTALL), "a HEIC image", ""),
    (re.compile(rb"....ftyp", re.DOTALL), "a video (MP4)", "extract its frames: ffmpeg -i VIDEO %06d.png"),
    (re.compile(rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51"), "a JPEG 2000 image", ""),
    (re.compile(rb"P[1-6]\s"), "a PPM or PGM image", ""),
    (re.compile(rb"%PDF"), "a PDF document", ""),
    (re.compile(rb"\0+\Z"), "nothing but zero bytes", "copy it again from the robot, or remove it"),
)
"""Content that is found under the name of an image: pattern, what it is, and its fix."""
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
    LookupError,
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
        BadItem: The file is missing, unreadable, empty, larger than ``MAX_MIB``, a symlink or a device.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise BadItem(place, "no such image", "restore the file or remove its label") from None
    except OSError as error:
        raise BadItem(place, f"cannot be opened ({error.strerror})", "replace it by a readable regular file") from None
    try:
        status = os.fstat(handle)
        _refuse_file(status, place)
        return _read_all(handle, status.st_size)
    except OSError as error:
        raise BadItem(place, f"cannot be read ({error.strerror})", "copy it again, or remove it") from None
    finally:
        os.close(handle)


def _refuse_file(status: os.stat_result, place: str) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise BadItem(place, "not a regular file", "replace it by the image itself")
    if status.st_size == 0:
        raise BadItem(place, "the image has zero bytes", "copy it again from the robot, or remove it")
    if status.st_size > MAX_MIB * 2**20:
        found = f"the image has {status.st_size / 2**20:.1f} MiB, more than {MAX_MIB} MiB"
        raise BadItem(place, found, "resize it, or remove it")


def _read_all(handle: int, size_bytes: int) -> bytes:
    """Read a file, in one call if it has the expected size."""
    encoded = os.read(handle, size_bytes + 1)
    if len(encoded) != size_bytes:
        with os.fdopen(handle, "rb", closefd=False) as file:
            encoded += file.read(MAX_MIB * 2**20)
    return encoded


def foreign_image(name: str, source: Path) -> LabelIssue:
    """The issue about a file that by its suffix is an image in a format that is not read.

    Args:
        name: Path of the file below the source.
        source: Folder of the source, for the command that converts all of its kind.
    """
    suffix = os.path.splitext(name)[1]
    pattern, folder = shlex.quote(f"*{suffix}"), shlex.quote(str(source))
    # ImageMagick; each original is removed only after it has been converted.
    fix = f"convert them: find {folder} -name {pattern} -exec mogrify -format png {{}} \\; -delete"
    kind = _FOREIGN[suffix.lower()]
    return LabelIssue(name, f"{'an' if kind.startswith('A') else 'a'} {kind} image, needed {_NEEDED}", fix)


def inspect_image(encoded: bytes, place: str) -> ImageFacts:
    """Decode an image completely and return its facts.

    Args:
        encoded: Bytes of a JPEG, PNG, WebP or BMP file.
        place: Name of the file, for the error.

    Raises:
        BadItem: It is in another format, damaged, animated or too large, has more than 8 bits per channel, or an EXIF
            orientation.
    """
    image = _decoded(encoded, place)
    return ImageFacts(image.width, image.height, perceptual_hash(image))


def decoded_size(encoded: bytes, place: str) -> tuple[int, int]:
    """Decode an image completely and return its width and height in pixels. Raises BadItem as ``inspect_image``."""
    image = _decoded(encoded, place)
    return image.width, image.height


def _decoded(encoded: bytes, place: str) -> Image.Image:
    image = _open(encoded, place)
    if image.width * image.height > MAX_MEGAPIXELS * 1_000_000:
        raise _too_large(place, f"{image.width}x{image.height} pixels", image.width * image.height)
    if image.mode not in _MODES:
        raise BadItem(place, f"pixel mode {image.mode}, needed 8 bits per channel", "convert it to 8-bit RGB")
    frames = getattr(image, "n_frames", 1)
    if image.format == "WEBP" and frames > 1:
        raise BadItem(place, f"an animated WebP of {frames} frames", "export one frame as PNG, or remove it")
    try:
        with IGNORED_WARNINGS:
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
    return image


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
        with IGNORED_WARNINGS:
            return Image.open(io.BytesIO(encoded), formats=_FORMATS)
    except Image.DecompressionBombError as error:
        pixels = int("".join(re.findall(r"\((\d+) pixels\)", str(error))[:1]) or 0)
        raise _too_large(place, "", pixels) from None
    except UnidentifiedImageError:
        raise _unknown_content(encoded, place) from None
    except _DECODER_ERRORS as error:
        raise BadItem(place, f"the header is damaged ({error})", "copy it again, or remove it") from None


def _unknown_content(encoded: bytes, place: str) -> BadItem:
    for pattern, kind, fix in _BEGINNINGS:
        if pattern.match(encoded):
            return BadItem(place, f"the content is {kind}", fix or f"convert it to {_NEEDED}, or remove it")
    return BadItem(place, f"the content is not {_NEEDED}", "copy it again from the robot, or remove it")


def _too_large(place: str, size: str, pixels: int) -> BadItem:
    megapixels = f"{pixels / 1_000_000:.0f} megapixels"
    described = f"{size} ({megapixels})" if size else megapixels
    found = f"the image has {described}; at most {MAX_MEGAPIXELS} megapixels are decoded"
    return BadItem(place, found, "resize it together with its boxes, or remove it")
