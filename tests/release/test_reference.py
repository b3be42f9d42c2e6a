"""Reference answers are read without pickles, and nothing is allocated that the file does not have."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robot_assets.release.errors import ReleaseError
from robot_assets.release.reference import Reference, read_reference, write_reference
from robot_assets.tasks.interface import Head, Input, Interface, Part

INTERFACE = Interface(
    task="detection",
    classes=("a",),
    input=Input(height=8, width=16),
    heads=(
        Head(name="boxes/1:0", shape=(1, 4, 2, 2), parts=(Part(meaning="cells"),)),
        Head(name="count", shape=(1,), dtype="int64", layout="N", parts=(Part(meaning="counts", axis=0),)),
    ),
    decoder="boxes",
)


def reference(images: int = 2) -> Reference:
    rng = np.random.default_rng(1)
    heads = (rng.normal(size=(images, 4, 2, 2)).astype(np.float32), np.arange(images, dtype=np.int64))
    return Reference(rng.integers(0, 256, (images, 8, 16, 3), dtype=np.uint8), heads)


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("reference") / "reference.npz"
    write_reference(path, reference())
    return path


def refused(path: Path) -> str:
    with pytest.raises(ReleaseError) as caught:
        read_reference(path, INTERFACE)
    return caught.value.found


def npz(path: Path, compression: int = zipfile.ZIP_STORED, **entries: bytes) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in entries.items():
            archive.writestr(f"{name}.npy", content)
    return path


def npy(array: np.ndarray, **options: bool) -> bytes:
    content = io.BytesIO()
    np.save(content, array, **options)
    return content.getvalue()


def parts(**changes: bytes) -> dict[str, bytes]:
    given = reference()
    arrays = {"images": given.images, "head_0": given.heads[0], "head_1": given.heads[1]}
    return {name: npy(array) for name, array in arrays.items()} | changes


def test_what_is_written_is_read(path):
    found, given = read_reference(path, INTERFACE), reference()
    assert (found.images == given.images).all()
    for mine, theirs in zip(found.heads, given.heads, strict=True):
        assert mine.dtype == theirs.dtype
        assert (mine == theirs).all()


def test_numpy_reads_it_without_pickles(path):
    with np.load(path, allow_pickle=False) as arrays:
        assert set(arrays) == {"images", "head_0", "head_1"}


def test_the_same_arrays_give_the_same_bytes(path, tmp_path):
    write_reference(tmp_path / "again.npz", reference())
    assert (tmp_path / "again.npz").read_bytes() == path.read_bytes()


def test_a_pickle_is_never_opened(tmp_path):
    class Bomb:
        def __reduce__(self):
            return Path.touch, (tmp_path / "opened",)

    objects = np.empty((2, 8, 16, 3), object)
    objects[:] = Bomb()
    assert "images is object" in refused(npz(tmp_path / "r.npz", **parts(images=npy(objects, allow_pickle=True))))
    assert not (tmp_path / "opened").exists()


@pytest.mark.parametrize(
    ("shape", "why"),
    [
        ("(1000000000000, 8, 16, 3)", "reshape"),
        ("(-1, 8, 16, 3)", "needed uint8 (N, 8, 16, 3)"),
        ("()", "needed uint8 (N, 8, 16, 3)"),
        ("(2,)", "needed uint8 (N, 8, 16, 3)"),
        ("(2, 16, 8, 3)", "needed uint8 (N, 8, 16, 3)"),
        ("(0, 8, 16, 3)", "needed uint8 (N, 8, 16, 3)"),
    ],
)
def test_a_header_that_promises_other_data_is_refused(tmp_path, shape, why):
    header = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}".encode()
    header += b" " * (118 - len(header) - 1) + b"\n"
    content = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(768)
    assert why in refused(npz(tmp_path / "r.npz", **parts(images=content)))


@pytest.mark.parametrize(
    ("entries", "why"),
    [
        (parts() | {"more": b""}, "other arrays"),
        ({"images": parts()["images"]}, "other arrays"),
        (parts(head_1=npy(np.zeros(2, np.int32))), "head_1 is int32"),
        (parts(head_1=npy(np.zeros(3, np.int64))), "2 images, and answers on 2, 3"),
        (parts(head_0=b"not an array"), "magic"),
        (parts(head_0=parts()["head_0"][:-1]), "buffer size"),
    ],
    ids=["more", "fewer", "another type", "another count", "no array", "cut"],
)
def test_other_arrays_are_refused(tmp_path, entries, why):
    assert why in refused(npz(tmp_path / "r.npz", **entries))


def test_a_file_that_grows_when_it_is_read_is_refused(tmp_path):
    zeros = npy(np.zeros((100_000, 8, 16, 3), np.uint8))
    bomb = npz(tmp_path / "r.npz", zipfile.ZIP_DEFLATED, **parts(images=zeros))
    assert bomb.stat().st_size < 100_000
    assert "compressed" in refused(bomb)


def test_a_missing_file_is_named(tmp_path):
    assert "FileNotFoundError" in refused(tmp_path / "reference.npz")


@settings(max_examples=200)
@given(place=st.integers(0, 10**6), byte=st.integers(0, 255), keep=st.integers(0, 10**6))
def test_a_damaged_file_gives_arrays_of_the_network_or_is_refused(path, tmp_path_factory, place, byte, keep):
    content = bytearray(path.read_bytes())
    content[place % len(content)] = byte
    damaged = tmp_path_factory.getbasetemp() / "damaged.npz"
    damaged.write_bytes(content[: max(1, keep % (2 * len(content)))])
    try:
        found = read_reference(damaged, INTERFACE)
    except ReleaseError:
        return
    assert found.images.shape == (2, 8, 16, 3)
