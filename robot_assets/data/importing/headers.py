"""Sizes of images from their structure, without decoding pixels.

Only what is certain is answered here. Anything unusual or faulty (another format, a missing end marker, a checksum
that does not match, an EXIF orientation, a size above the limit) gives None, and the image is decoded completely, which
accepts it or names its fault. docs/decisions/014-imports-read-headers.md has what decoding would find in addition.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator
from functools import lru_cache

from robot_assets.data.images import MAX_MEGAPIXELS

Size = tuple[int, int]
"""Width and height in pixels."""

_KEPT = 64
"""Segments of tables whose check is remembered: a camera writes the same ones into every image."""
_JPEG_START, _JPEG_END = b"\xff\xd8\xff", b"\xff\xd9"
_DHT, _SOS, _DQT, _DRI, _APP1, _APP2, _COM = 0xC4, 0xDA, 0xDB, 0xDD, 0xE1, 0xE2, 0xFE
_SOF = (0xC0, 0xC1)
"""Sequential frames with Huffman coding. The scans of progressive ones have headers of their own."""
_PLAIN_SEGMENTS = frozenset((0xE0, *range(0xE3, 0xF0), _COM, _DRI))
_PNG_START = b"\x89PNG\r\n\x1a\n"
_PNG_END = struct.pack(">I4sI", 0, b"IEND", zlib.crc32(b"IEND"))
_PNG_DEPTHS = {0: (1, 2, 4, 8), 2: (8,), 3: (1, 2, 4, 8), 4: (8,), 6: (8,)}
"""Bit depths of at most 8, by colour type (PNG specification, table 11.1)."""
_PALETTE = 3
_PNG_PLAIN = frozenset(
    (b"IDAT", b"PLTE", b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"pHYs", b"tIME", b"bKGD", b"sBIT")
)
"""Chunks that have neither an orientation nor further frames; texts may have EXIF or XMP."""
_ORIENTATION_TAG = 0x0112
_EXIF = b"Exif\0\0"
_UPRIGHT = (0, 1)
_BMP_HEADER_BYTES = 40


class _Unsure(Exception):
    """The structure is not one that is answered here."""


def size_of(encoded: bytes) -> Size | None:
    """Width and height in pixels of a complete, upright image of at most 8 bits per channel; None when not certain."""
    reader = _reader_of(encoded)
    if reader is None:
        return None
    try:
        width, height = reader(encoded)
    except (_Unsure, struct.error, IndexError):
        return None
    is_allowed = width > 0 and height > 0 and width * height <= MAX_MEGAPIXELS * 1_000_000
    return (width, height) if is_allowed else None


def is_intact_png(encoded: bytes) -> bool:
    """Whether all chunks of a PNG up to its end are there, with their checksums: Pillow decodes some that are not."""
    view, at = memoryview(encoded), len(_PNG_START)
    try:
        while True:
            length, kind = struct.unpack_from(">I4s", encoded, at)
            (checksum,) = struct.unpack_from(">I", encoded, at + 8 + length)
            if zlib.crc32(view[at + 4 : at + 8 + length]) != checksum:
                return False
            if kind == b"IEND":
                return encoded.startswith(_PNG_START)
            at += 12 + length
    except struct.error:
        return False


def _reader_of(encoded: bytes) -> Callable[[bytes], Size] | None:
    if encoded.startswith(_JPEG_START):
        return _jpeg
    if encoded.startswith(_PNG_START):
        return _png
    return _bmp if encoded.startswith(b"BM") else None


def _require(condition: bool) -> None:
    if not condition:
        raise _Unsure


def _jpeg(encoded: bytes) -> Size:
    """Check the segments up to the only scan, which has to end with the end marker (ITU-T T.81, annex B)."""
    _require(encoded.endswith(_JPEG_END))
    frame = b""
    tables: set[tuple[str, int]] = set()
    for marker, segment in _segments(encoded):
        if marker == _SOS:
            _require(bool(frame))
            _check_scan(segment, frame, frozenset(tables))
            break
        if marker in (_DHT, _DQT):
            tables |= _huffman_tables(segment) if marker == _DHT else _quantization_tables(segment)
        elif marker in _SOF:
            _require(not frame)
            frame = segment
        elif marker == _APP1:
            _require_upright(segment)
        elif marker == _APP2:
            _require(segment.startswith(b"ICC_PROFILE\0"))  # others announce further pictures
        else:
            _require(marker in _PLAIN_SEGMENTS)
    height, width = struct.unpack_from(">HH", frame, 1)
    return width, height


def _segments(encoded: bytes) -> Iterator[tuple[int, bytes]]:
    """Marker and content of each segment, the last one with at least a byte of pixels after it."""
    at = 2
    while True:
        mark, marker, length = struct.unpack_from(">BBH", encoded, at)
        _require(mark == 0xFF and length >= 2)
        following = at + 2 + length
        _require(following < len(encoded) - len(_JPEG_END))
        yield marker, encoded[at + 4 : following]
        at = following


@lru_cache(_KEPT)
def _huffman_tables(segment: bytes) -> frozenset[tuple[str, int]]:
    """Ids of the Huffman tables of a segment, whose codes have to fit into their lengths."""
    found, at = set(), 0
    while at < len(segment):
        kind, number = divmod(segment[at], 16)
        counts = segment[at + 1 : at + 17]
        total, code = sum(counts), 0
        for bits, count in enumerate(counts, start=1):
            code += count
            _require(code <= 1 << bits if not count else code < 1 << bits or bits == len(counts))
            code <<= 1
        _require(len(counts) == 16 and kind < 2 and number < 4 and total <= 256 and at + 17 + total <= len(segment))
        _require(kind == 1 or all(value < 16 for value in segment[at + 17 : at + 17 + total]))
        found.add(("ac" if kind else "dc", number))
        at += 17 + total
    return frozenset(found)


@lru_cache(_KEPT)
def _quantization_tables(segment: bytes) -> frozenset[tuple[str, int]]:
    """Ids of the quantization tables of a segment."""
    found, at = set(), 0
    while at < len(segment):
        is_wide, number = divmod(segment[at], 16)
        at += 1 + 64 * (1 + is_wide)
        _require(is_wide < 2 and number < 4 and at <= len(segment))
        found.add(("q", number))
    return frozenset(found)


@lru_cache(_KEPT)
def _check_scan(scan: bytes, frame: bytes, tables: frozenset[tuple[str, int]]) -> None:
    """Require one scan of all components of an 8-bit frame, whose tables are all there."""
    precision, components = frame[0], frame[5]
    _require(precision == 8 and components in (1, 3) and len(frame) == 6 + 3 * components)
    _require(scan[0] == components and len(scan) == 4 + 2 * components)
    blocks = 0
    for index in range(components):
        number, sampling, quantization = frame[6 + 3 * index : 9 + 3 * index]
        across, down = divmod(sampling, 16)
        blocks += across * down
        dc, ac = divmod(scan[2 + 2 * index], 16)
        _require(scan[1 + 2 * index] == number and 1 <= across <= 4 and 1 <= down <= 4)
        _require({("q", quantization), ("dc", dc), ("ac", ac)} <= tables)
    _require(blocks <= 10 or components == 1)  # more do not fit into one unit of a scan


def _require_upright(segment: bytes) -> None:
    """Require EXIF without rotation; XMP may mention one."""
    _require(segment.startswith(_EXIF) and b"Orientation" not in segment)
    tiff = segment[len(_EXIF) :]
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4], "")
    _require(bool(order))
    (first,) = struct.unpack_from(order + "I", tiff, 4)
    (count,) = struct.unpack_from(order + "H", tiff, first)
    for index in range(count):
        tag, kind, values, value = struct.unpack_from(order + "HHIH", tiff, first + 2 + 12 * index)
        _require(tag != _ORIENTATION_TAG or (kind == 3 and values == 1 and value in _UPRIGHT))


def _png(encoded: bytes) -> Size:
    """Check the order and the checksums of the chunks."""
    _require(encoded.endswith(_PNG_END) and encoded[8:16] == b"\0\0\0\rIHDR")
    width, height, depth, colour = struct.unpack_from(">IIBB", encoded, 16)
    _require(depth in _PNG_DEPTHS.get(colour, ()) and encoded[26:28] == b"\0\0" and encoded[28] < 2)
    kinds = list(_chunks(encoded))
    _require(set(kinds[1:]) <= _PNG_PLAIN and b"IDAT" in kinds)
    _require(colour != _PALETTE or b"PLTE" in kinds[: kinds.index(b"IDAT")])
    return width, height


def _chunks(encoded: bytes) -> Iterator[bytes]:
    """Kinds of the chunks up to the last one."""
    view, at, end = memoryview(encoded), len(_PNG_START), len(encoded) - len(_PNG_END)
    while at < end:
        (length,) = struct.unpack_from(">I", encoded, at)
        (checksum,) = struct.unpack_from(">I", encoded, at + 8 + length)
        _require(zlib.crc32(view[at + 4 : at + 8 + length]) == checksum)
        yield encoded[at + 4 : at + 8]
        at += 12 + length
    _require(at == end)


def _bmp(encoded: bytes) -> Size:
    """Require uncompressed pixels of 24 bits from the bottom up, as cameras write them."""
    offset, header, width, height, planes, bits, compression = struct.unpack_from("<IIiiHHI", encoded, 10)
    _require((header, planes, bits, compression) == (_BMP_HEADER_BYTES, 1, 24, 0))
    _require(offset >= 14 + _BMP_HEADER_BYTES and width > 0 and height > 0)
    row_bytes = (width * 3 + 3) // 4 * 4
    _require(offset + row_bytes * height <= len(encoded))
    return width, height
