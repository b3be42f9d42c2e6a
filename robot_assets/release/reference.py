"""``reference.npz``: a few images and the answers that an engine has to repeat on every robot. NumPy only.

The images have the size of the input, so that a robot needs no decoder of images; the answers are those that the ONNX
artifact recorded and the gate ``parity`` compared on the device of the target. The file is an uncompressed zip of
``.npy`` files with fixed times: the same arrays give the same bytes, with any version of zlib. No pickle is read.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_assets.export.parity import Parity, parity_of
from robot_assets.release.errors import ReleaseError
from robot_assets.runtime.preprocess import to_input
from robot_assets.tasks.interface import Interface

IMAGES = "images"
HEAD = "head_"
SIZE_MAX = 64 << 20
"""Bytes of a file that is read: it comes from outside."""

_EARLIEST = (1980, 1, 1, 0, 0, 0)
"""The first time that a zip can state."""


@dataclass(frozen=True)
class Reference:
    """Images and the expected heads of an engine.

    Attributes:
        images: uint8 (N, H, W, 3), RGB, at the size of the input: fitted, not yet scaled to floats.
        heads: For each head in the order of the interface, its values, (N, ...) of its dtype.
    """

    images: NDArray[np.uint8]
    heads: tuple[NDArray[Any], ...]

    @property
    def size_bytes(self) -> int:
        """Bytes of all arrays."""
        return self.images.nbytes + sum(head.nbytes for head in self.heads)

    def first(self, images: int) -> Reference:
        """The first ``images`` images with their answers."""
        return Reference(self.images[:images], tuple(head[:images] for head in self.heads))


def write_reference(path: Path, reference: Reference) -> None:
    """Write ``reference.npz``. Heads are named by their position: names of outputs may have any characters."""
    arrays = {IMAGES: reference.images, **{f"{HEAD}{number}": head for number, head in enumerate(reference.heads)}}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            content = io.BytesIO()
            np.lib.format.write_array(content, np.ascontiguousarray(array), version=(1, 0), allow_pickle=False)
            entry = zipfile.ZipInfo(f"{name}.npy", _EARLIEST)
            entry.create_system, entry.external_attr = 3, 0o644 << 16
            archive.writestr(entry, content.getvalue())


def read_reference(path: Path, interface: Interface) -> Reference:
    """Read ``reference.npz`` of an engine with ``interface``. Nothing is allocated that the file does not have.

    Raises:
        ReleaseError: It is missing or damaged, or is not of this network.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            _check_entries(archive, path.stat().st_size, len(interface.heads))
            images = _array(archive, IMAGES, "uint8", (interface.input.height, interface.input.width, 3))
            heads = tuple(
                _array(archive, f"{HEAD}{number}", head.dtype, head.shape[1:])
                for number, head in enumerate(interface.heads)
            )
        if any(len(head) != len(images) for head in heads):
            raise ValueError(f"{len(images)} images, and answers on {', '.join(str(len(head)) for head in heads)}")
        return Reference(images, heads)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise _unreadable(path, f"{type(error).__name__}: {error}") from None


def compare(
    infer: Callable[[NDArray[np.float32]], list[NDArray[Any]]], reference: Reference, interface: Interface
) -> Parity:
    """Run the images through an engine, one a call, and compare its answers with the expected ones.

    Args:
        infer: ``Engine.infer`` of the engine.
        reference: Of the engine.
        interface: Of the engine.
    """

    def pair(number: int) -> tuple[list[NDArray[Any]], list[NDArray[Any]]]:
        answers = infer(to_input(reference.images[number : number + 1], interface.input))
        return answers, [head[number : number + 1] for head in reference.heads]

    return parity_of((pair(number) for number in range(len(reference.images))), interface.heads)


def _check_entries(archive: zipfile.ZipFile, size: int, heads: int) -> None:
    """Refuse an archive that has other entries, or that would take more memory than it has bytes. Raises ValueError."""
    needed = {f"{name}.npy" for name in (IMAGES, *(f"{HEAD}{number}" for number in range(heads)))}
    entries = archive.infolist()
    if sorted(entry.filename for entry in entries) != sorted(needed):
        raise ValueError(f"it has other arrays than {', '.join(sorted(needed))}")
    if size > SIZE_MAX:
        raise ValueError(f"it has {size} bytes, at most {SIZE_MAX} are read")
    if any(one.compress_type != zipfile.ZIP_STORED for one in entries) or sum(one.file_size for one in entries) > size:
        raise ValueError("its arrays are compressed")


def _array(archive: zipfile.ZipFile, name: str, dtype: str, shape: tuple[int, ...]) -> NDArray[Any]:
    """An array (N, *shape). Its header is checked before anything is read. Raises ValueError."""
    with archive.open(f"{name}.npy") as stream:
        if np.lib.format.read_magic(stream) != (1, 0):
            raise ValueError(f"{name}: another version of the format than 1.0")
        found, is_fortran, found_dtype = np.lib.format.read_array_header_1_0(stream)
        if found_dtype != np.dtype(dtype) or found[1:] != shape or not found or found[0] < 1 or is_fortran:
            raise ValueError(f"{name} is {found_dtype} {found}, needed {dtype} (N, {str(shape)[1:]}")
        content = stream.read()
    return np.frombuffer(content, found_dtype).reshape(found)


def _unreadable(path: Path, why: str) -> ReleaseError:
    return ReleaseError(
        f"{path} does not have the reference answers of its engine ({why})",
        needed="the file of the release, with uint8 images and the expected heads",
        fix="robot-assets agent once   # downloads the release again",
    )
