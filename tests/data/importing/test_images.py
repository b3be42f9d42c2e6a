"""Image formats: which are imported as they are, which are named, and what the size from the structure is worth."""

import io
import random
import struct
import zlib
from pathlib import Path

import pytest
from PIL import Image

from robot_assets.core.label_issues import BadItem
from robot_assets.data.dataset import build_dataset
from robot_assets.data.images import FOREIGN_SUFFIXES, MAX_MEGAPIXELS, SUFFIXES, decode_rgb, inspect_image
from robot_assets.data.importing.headers import size_of
from robot_assets.data.importing.importer import ImportRefused, import_dataset
from robot_assets.data.packed import open_split
from robot_assets.data.spec import DatasetSpec
from tests.data.image_sources import GOOD_LABEL, encoded_image, write_yolo

SESSIONS = {"a": 3, "b": 3, "c": 3, "d": 3, "e": 3}


def encoded(format: str, mode: str = "RGB", **options: object) -> bytes:
    """The same picture in another format."""
    image = Image.open(io.BytesIO(encoded_image("picture", format="PNG"))).convert(mode)
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def animated(format: str) -> bytes:
    frames = [Image.open(io.BytesIO(encoded_image(f"frame {number}"))) for number in range(3)]
    buffer = io.BytesIO()
    frames[0].save(buffer, format, save_all=True, append_images=frames[1:])
    return buffer.getvalue()


def png_of(width: int, height: int) -> bytes:
    """A PNG of a few hundred bytes that claims a size."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(bytes(1000)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + pixels + chunk(b"IEND", b"")


def with_orientation(orientation: int | None) -> Image.Exif:
    exif = Image.Exif()
    exif[0x010F] = "a camera"
    if orientation is not None:
        exif[0x0112] = orientation
    return exif


def with_exif(orientation: int | None) -> bytes:
    return encoded("JPEG", exif=with_orientation(orientation))


def found_in(content: bytes) -> str:
    with pytest.raises(BadItem) as bad:
        inspect_image(content, "a.jpg")
    return f"{bad.value.issue.found}; {bad.value.issue.fix}"


@pytest.mark.parametrize("suffix", [".jpg", ".JPG", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp"])
def test_an_image_is_imported_as_it_is_and_can_be_read_from_the_pack(tmp_path: Path, suffix: str) -> None:
    source = write_yolo(tmp_path / "source", SESSIONS)
    format = {".png": "PNG", ".webp": "WEBP", ".bmp": "BMP"}.get(suffix, "JPEG")
    for image in sorted(source.glob("*/*.jpg")):
        content = encoded_image(f"{image.parent.name}/{image.stem}", format=format)
        image.unlink()
        image.with_suffix(suffix).write_bytes(content)
    summary = import_dataset("yolo", source, tmp_path / "raw")
    assert (summary.images, summary.quarantined) == (15, ())
    for image in source.glob(f"*/*{suffix}"):
        assert (tmp_path / "raw/images" / image.relative_to(source)).read_bytes() == image.read_bytes()
    spec = DatasetSpec.model_validate(
        {
            "source": {"kind": "dvc", "pointer": "data/raw/x.dvc"},
            "classes": ("ball", "human", "goal post"),
            "split": {"train": 0.6, "val": 0.2, "test": 0.2},
            "calibration_images": 3,
        }
    )
    build_dataset(tmp_path / "raw", spec, tmp_path / "packed")
    assert open_split(tmp_path / "packed", "train").image(0).shape == (48, 64, 3)


@pytest.mark.parametrize("content", [encoded("PNG"), encoded("WEBP"), encoded("BMP")], ids=["png", "webp", "bmp"])
def test_an_image_of_another_format_than_its_suffix_is_imported(tmp_path: Path, content: bytes) -> None:
    source = write_yolo(tmp_path / "source", {"a": 3})
    (source / "a/001.jpg").write_bytes(content)
    assert import_dataset("yolo", source, tmp_path / "raw").images == 3


@pytest.mark.parametrize("suffix", FOREIGN_SUFFIXES)
def test_images_of_a_foreign_format_are_one_line_with_a_command_and_their_labels_are_no_orphans(
    tmp_path: Path, suffix: str
) -> None:
    source = write_yolo(tmp_path / "my source", {"a": 12})
    for image in sorted(source.glob("a/*.jpg"))[2:]:
        image.rename(image.with_suffix(suffix))
    with pytest.raises(ImportRefused) as error:
        import_dataset("yolo", source, tmp_path / "raw")
    lines = error.value.found.splitlines()
    assert len(error.value.issues) == 10
    assert len(lines) == 3, lines
    assert f"a/002{suffix}, a/003{suffix}, a/004{suffix} and 7 more: " in lines[1]
    assert f"find '{source}' -name '*{suffix}' -exec mogrify -format png {{}} \\; -delete" in lines[1]
    assert "a label without its image" not in error.value.found


def test_no_suffix_is_both_read_and_foreign() -> None:
    assert not set(SUFFIXES) & set(FOREIGN_SUFFIXES)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (encoded("GIF"), "the content is a GIF image; convert it to JPEG, PNG, WebP or BMP, or remove it"),
        (encoded("TIFF"), "the content is a TIFF image; convert it to JPEG, PNG, WebP or BMP"),
        (encoded("PPM"), "the content is a PPM or PGM image"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "the content is a HEIC image"),
        (b"\0\0\0\x18ftypavif\0\0\0\0mif1avif", "the content is an AVIF image"),
        (b"\0\0\0\x18ftypisom\0\0\2\0isomiso2", "the content is a video (MP4); extract its frames"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "the content is a pointer of Git LFS; git lfs"),
        (b"outs:\n- md5: d4763c03e8e21e0f73fe010d8dddb911\n", "the content is a pointer of DVC; dvc pull"),
        (b"<!DOCTYPE html><html>404</html>", "the content is a web page or XML; download the image again"),
        (b"%PDF-1.7", "the content is a PDF document"),
        (bytes(1000), "the content is nothing but zero bytes; copy it again from the robot"),
        (b"not an image", "the content is not JPEG, PNG, WebP or BMP"),
        (animated("WEBP"), "an animated WebP of 3 frames"),
        (encoded("PNG", "I;16"), "pixel mode I;16, needed 8 bits per channel"),
        (with_exif(6), "EXIF orientation 6"),
        (encoded("JPEG")[:-300], "the image is damaged"),
        (encoded("PNG")[:-300], "the image is damaged"),
        (encoded("WEBP")[:-300], "damaged"),
        (encoded("BMP")[:-300], "the image is damaged"),
        (png_of(10_000, 8_000), "the image has 10000x8000 pixels (80 megapixels); at most 64 megapixels are decoded"),
        (png_of(30_000, 30_000), "the image has 900 megapixels; at most 64 megapixels are decoded; resize it"),
    ],
)  # fmt: skip
def test_content_that_cannot_be_read_is_named_for_what_it_is(content: bytes, found: str) -> None:
    assert found in found_in(content)
    assert "bomb" not in found_in(content)
    assert size_of(content) is None


@pytest.mark.parametrize(
    "content",
    [
        encoded("JPEG"),
        encoded("JPEG", "L"),
        encoded("JPEG", optimize=True),
        encoded("JPEG", subsampling=0, quality=95),
        encoded("JPEG", icc_profile=b"a colour profile"),
        with_exif(1),
        with_exif(None),
        encoded("PNG"),
        encoded("PNG", "L"),
        encoded("PNG", "1"),
        encoded("PNG", "P"),
        encoded("PNG", "RGBA"),
        encoded("BMP"),
    ],
)
def test_the_size_of_a_plain_image_is_read_from_its_structure(content: bytes) -> None:
    facts = inspect_image(content, "a.jpg")
    assert size_of(content) == (facts.width, facts.height) == (64, 48)


@pytest.mark.parametrize(
    "content",
    [
        encoded("JPEG", progressive=True),
        encoded("JPEG", "CMYK"),
        encoded("JPEG") + b"\0",
        encoded("WEBP"),
        encoded("BMP", "P"),
        encoded("PNG", exif=with_orientation(1)),
        animated("PNG"),
    ],
)
def test_an_unusual_image_is_decoded_instead(content: bytes) -> None:
    assert size_of(content) is None
    assert decode_rgb(content).shape == (48, 64, 3)


def test_the_structure_accepts_hardly_anything_that_decoding_refuses() -> None:
    """Damage inside the pixels of a JPEG, which libjpeg mostly accepts, too."""
    random.seed(11)
    accepted = lost = 0
    for format in ("JPEG", "PNG", "BMP"):
        good = encoded(format)
        for _ in range(300):
            mutated = bytearray(good)
            for _ in range(random.randint(1, 4)):
                mutated[random.randrange(len(mutated))] = random.randrange(256)
            size = size_of(bytes(mutated))
            if size is None:
                continue
            accepted += 1
            try:
                facts = inspect_image(bytes(mutated), "mutated")
            except BadItem:
                lost += 1
            else:
                assert size == (facts.width, facts.height)
    assert accepted > 200
    assert lost <= 0.03 * accepted


def test_an_image_above_the_limit_of_pixels_is_left_to_the_decoder() -> None:
    assert MAX_MEGAPIXELS == 64
    assert size_of(png_of(8_001, 8_000)) is None
    assert size_of(png_of(8_000, 8_000)) == (8_000, 8_000)


def test_a_webp_with_its_label_is_imported_with_the_boxes(tmp_path: Path) -> None:
    source = write_yolo(tmp_path / "source", {"a": 3})
    (source / "a/001.jpg").unlink()
    (source / "a/001.webp").write_bytes(encoded("WEBP"))
    assert import_dataset("yolo", source, tmp_path / "raw").annotations == 3 * len(GOOD_LABEL.splitlines()) + 1
