"""The time at which a camera took an image, and which camera it was, from the EXIF header."""

from __future__ import annotations

import struct
import warnings
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

_EXIF_IFD = 0x8769
_MAKE, _MODEL, _SERIAL = 0x010F, 0x0110, 0xA431
_TIMES = ((0x9003, 0x9291, 0x9011), (0x9004, 0x9292, 0x9012))
"""Tags of DateTimeOriginal and DateTimeDigitized, each with its SubSec and Offset. DateTime is left out: programs that
edit an image set it."""
_UNREADABLE = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    EOFError,
    struct.error,
)


@dataclass(frozen=True)
class Capture:
    """When and by which camera an image was taken.

    Attributes:
        time: Local time of the camera, or UTC where the header has the offset; without time zone.
        camera: Make, model and serial number, as far as the header has them; "" when it has none.
    """

    time: datetime
    camera: str


def capture_of(path: Path) -> Capture | None:
    """Read the header of an image; None without a valid time."""
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path) as image:
                exif = image.getexif()
                details = exif.get_ifd(_EXIF_IFD)
                time = _time(details)
                names = (exif.get(_MAKE), exif.get(_MODEL), details.get(_SERIAL))
                camera = [_text(name) for name in names if name]
    except (*_UNREADABLE, Image.DecompressionBombError):
        return None
    return Capture(time, "-".join("-".join(camera).split())) if time else None


def _time(details: dict[int, Any]) -> datetime | None:
    """The first time of an EXIF directory that is valid."""
    for when, fraction, offset in _TIMES:
        try:
            time = datetime.strptime(_text(details.get(when)), "%Y:%m:%d %H:%M:%S")
        except ValueError:
            continue
        return _in_utc(time + _fraction(_text(details.get(fraction))), _text(details.get(offset)))
    return None


def _fraction(digits: str) -> timedelta:
    """SubSec: "5" and "500" are half a second."""
    return timedelta(seconds=float(f"0.{digits[:9]}")) if digits.isascii() and digits.isdigit() else timedelta()


def _in_utc(time: datetime, offset: str) -> datetime:
    try:
        zone = datetime.strptime(offset, "%z").tzinfo
        return time.replace(tzinfo=zone).astimezone(UTC).replace(tzinfo=None)
    except (ValueError, OverflowError):
        return time


def _text(value: object) -> str:
    return str(value).replace("\0", "").strip() if value is not None else ""
