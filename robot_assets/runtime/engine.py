"""The class of loaded engines of any kind, and the checks before one is loaded. Needs no torch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from robot_assets.core.digests import md5_of
from robot_assets.core.errors import EngineError
from robot_assets.runtime.manifest import Manifest

if TYPE_CHECKING:
    from robot_assets.platforms.probe import Platform
    from robot_assets.runtime.decoding import Decode


class Engine(ABC):
    """A verified engine, ready to run. One thread calls it at a time.

    Attributes:
        manifest: Its manifest.
    """

    manifest: Manifest

    @abstractmethod
    def infer(self, images: NDArray[np.float32]) -> list[NDArray[Any]]:
        """Run one batch.

        Args:
            images: float32 (N, 3, H, W), preprocessed as the interface says; N is 1 unless the manifest allows more.

        Returns:
            The heads of the interface, in their order, each of its dtype.

        Raises:
            EngineError: The shape or type is not what the engine takes, or the device failed.
        """

    @cached_property
    def decode(self) -> Decode:
        """The decoder of the engine: heads of a batch, interface -> one prediction an image.

        Raises:
            EngineError: The decoder here is not the one that the engine was built with, or its task is not installed.
        """
        from robot_assets.runtime.decoding import load_decoder

        return load_decoder(self.manifest.interface, self.manifest.decoder_code)

    def predict(self, image: NDArray[np.uint8]) -> Any:
        """What the network says of an image, in pixels of the image: detections, a map of classes.

        Args:
            image: uint8 (H, W, 3) RGB of any size.

        Raises:
            EngineError: The image is of another shape or type, the decoder here is not that of the engine, or the
                device failed.
        """
        from robot_assets.runtime.preprocess import fitted, to_input

        refuse_other_image(image)
        interface, decode = self.manifest.interface, self.decode
        at_input = fitted(image, interface.input)
        [prediction] = decode(self.infer(to_input([at_input.image], interface.input)), interface)
        return prediction.in_image(at_input)

    def close(self) -> None:  # noqa: B027 - an engine that holds nothing on a device has nothing to release
        """Release what the engine holds on a device. It cannot run after that."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def refuse_other_image(image: NDArray[np.uint8]) -> None:
    """Check an image of a camera.

    Raises:
        EngineError: It is not uint8 (H, W, 3); names its type and shape.
    """
    if image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3 and image.size:
        return
    raise EngineError(
        f"image {image.dtype} {image.shape}",
        needed="uint8 (height, width, 3), RGB",
        fix="convert the image to RGB bytes: Image.fromarray(image).convert('RGB') of Pillow does it for grey and RGBA",
    )


def refuse_other_input(images: NDArray[np.float32], shape: tuple[int, ...], batch_max: int = 1) -> None:
    """Check the input of an engine.

    Args:
        images: Should be float32 (N, 3, H, W).
        shape: Shape of one image, with its leading 1.
        batch_max: Most images per call.

    Raises:
        EngineError: Shape or type differs; names both.
    """
    count = images.shape[0] if images.ndim else 0
    if images.dtype == np.float32 and images.shape[1:] == shape[1:] and 1 <= count <= batch_max:
        return
    needed = f"float32 {shape}" if batch_max == 1 else f"float32 (1 to {batch_max}, {str(shape[1:])[1:]}"
    per_call = "one image per call" if batch_max == 1 else f"at most {batch_max} images per call"
    raise EngineError(
        f"input {images.dtype} {images.shape}",
        needed=needed,
        fix=f"call Engine.predict, or fitted and to_input of robot_assets.runtime.preprocess, {per_call}",
    )


def refuse_other_bytes(path: Path, md5: str) -> None:
    """Check that a file of an engine is the one that its manifest describes.

    Raises:
        EngineError: It is missing or differs; names both hashes.
    """
    found = md5_of(path) if path.is_file() else None
    if found != md5:
        raise EngineError(
            f"{path} has md5 {found}, its manifest says {md5}" if found else f"no {path}, its manifest says md5 {md5}",
            needed="the engine that the manifest describes",
            fix=f"build the engine again, or restore the whole of {path.parent} from the store",
        )


def refuse_other_platform(engine: Path, manifest: Manifest, here: Platform) -> None:
    """Check that an engine was built for a device like ``here``.

    Raises:
        EngineError: It was not; names both fingerprints and what differs.
    """
    if here.fingerprint == manifest.platform_fingerprint:
        return
    there, now = manifest.platform, here.as_json()
    differing = [
        f"{key}: built for {there.get(key)}, here {now.get(key)}"
        for key in sorted(there.keys() | now.keys())
        if there.get(key) != now.get(key)
    ]
    raise EngineError(
        f"{engine} was built for platform {manifest.platform_fingerprint}, this is {here.fingerprint} "
        f"({'; '.join(differing)})",
        needed="an engine built on a device like this one",
        fix="build the engine on this device",
    )
