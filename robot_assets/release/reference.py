"""``reference.npz``: a few images and the answers that an engine has to repeat on every robot. NumPy only.

The images have the size of the input, so that a robot needs no decoder of images; the answers are those that the ONNX
artifact recorded and the gate ``parity`` compared on the device of the target. The file is an uncompressed zip of
``.npy`` files with fixed times: the same arrays give the same bytes, with any version of zlib. No pickle is read.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_assets.export.parity import Parity, parity_of
from robot_assets.release.errors import ReleaseError
from robot_assets.runtime.preprocess import to_input
from robot_assets.tasks.interface import Head, Interface

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
            np.lib.format.write_array(content, np.ascontiguousarray(array), allow_pickle=False)
            entry = zipfile.ZipInfo(f"{name}.npy", _EARLIEST)
            entry.create_system, entry.external_attr = 3, 0o644 << 16
            archive.writestr(entry, content.getvalue())


def read_reference(path: Path, interface: Interface) -> Reference:
    """Read ``reference.npz`` of an engine with ``interface``.

    Raises:
        ReleaseError: It is missing or damaged, or is not of this network.
    """
    try:
        if path.stat().st_size > SIZE_MAX:
            raise ValueError(f"it has {path.stat().st_size} bytes, at most {SIZE_MAX} are read")
        with np.load(path, allow_pickle=False) as arrays:
            images = arrays[IMAGES]
            heads = tuple(arrays[f"{HEAD}{number}"] for number in range(len(interface.heads)))
        return _checked(Reference(images, heads), interface)
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, NotImplementedError) as error:
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


def _checked(reference: Reference, interface: Interface) -> Reference:
    """``reference`` where its arrays have the types and shapes of ``interface``. Raises ValueError."""
    images, (height, width) = reference.images, (interface.input.height, interface.input.width)
    if images.dtype != np.uint8 or images.shape[1:] != (height, width, 3) or not len(images):
        raise ValueError(f"images are {images.dtype} {images.shape}, needed uint8 (N, {height}, {width}, 3)")
    for head, values in zip(interface.heads, reference.heads, strict=True):
        _check_head(head, values, len(images))
    return reference


def _check_head(head: Head, values: NDArray[Any], images: int) -> None:
    needed = (images, *head.shape[1:])
    if values.dtype != head.dtype or values.shape != needed:
        raise ValueError(f"head {head.name!r} is {values.dtype} {values.shape}, needed {head.dtype} {needed}")


def _unreadable(path: Path, why: str) -> ReleaseError:
    return ReleaseError(
        f"{path} does not have the reference answers of its engine ({why})",
        needed="the file of the release, with uint8 images and the expected heads",
        fix="robot-assets agent once   # downloads the release again",
    )


def head_values(recorded: Mapping[str, NDArray[Any]], interface: Interface) -> tuple[NDArray[Any], ...]:
    """Values by name of the head, in the order of the interface."""
    return tuple(recorded[name] for name in interface.head_names)
