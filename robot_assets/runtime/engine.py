"""What every engine can do, whichever runtime it is for. Needs no torch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from robot_assets.core.digests import md5_of
from robot_assets.core.errors import EngineError
from robot_assets.runtime.manifest import Manifest

if TYPE_CHECKING:
    from robot_assets.models.decode import Detections
    from robot_assets.platforms.probe import Platform


class Engine(ABC):
    """A verified engine, ready to run. One thread calls it at a time.

    Attributes:
        manifest: What it is made of.
    """

    manifest: Manifest

    @abstractmethod
    def infer(self, images: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """Images float32 (N, 3, H, W) RGB in [0, 1] -> raw heads in the order of ``output_names``; N is mostly 1.

        Raises:
            EngineError: The shape or type is another than the engine takes, or the device failed.
        """

    def detect(self, image: NDArray[np.uint8], score_min: float = 0.3) -> Detections:
        """Detections in pixels of ``image``, uint8 (H, W, 3) RGB of any size, that score at least ``score_min``."""
        from robot_assets.models.decode import decode
        from robot_assets.runtime.preprocess import letterbox, to_input

        network = self.manifest.network
        boxed = letterbox(image, network.input_height, network.input_width)
        heads = self.infer(to_input([boxed.image]))
        return decode(heads, network, score_min=score_min)[0].in_image(boxed)

    def close(self) -> None:  # noqa: B027 - an engine that holds nothing on a device has nothing to give back
        """Give back what the engine holds on the device. It cannot run after that."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def refuse_other_input(images: NDArray[np.float32], shape: tuple[int, ...], batch_max: int = 1) -> None:
    """Make sure that ``images`` are what an engine takes.

    Args:
        images: To be float32 (N, 3, H, W).
        shape: That of one image, with its leading 1.
        batch_max: The most images of one call.

    Raises:
        EngineError: They are not; says what was found and what is needed.
    """
    count = images.shape[0] if images.ndim else 0
    if images.dtype == np.float32 and images.shape[1:] == shape[1:] and 1 <= count <= batch_max:
        return
    needed = f"float32 {shape}" if batch_max == 1 else f"float32 (1 to {batch_max}, {str(shape[1:])[1:]}"
    raise EngineError(
        f"input {images.dtype} {images.shape}",
        needed=needed,
        fix="letterbox the image with robot_assets.runtime.preprocess"
        + (", one image a call" if batch_max == 1 else f", at most {batch_max} images a call"),
    )


def refuse_other_bytes(path: Path, md5: str) -> None:
    """Make sure that an engine's file is the one that its manifest describes.

    Raises:
        EngineError: It is another or missing; names both hashes.
    """
    found = md5_of(path) if path.is_file() else "nothing"
    if found != md5:
        raise EngineError(
            f"{path} has md5 {found}, its manifest says {md5}",
            needed="the engine that the manifest describes",
            fix=f"build the engine again, or restore the whole of {path.parent} from the store",
        )


def refuse_other_platform(engine: Path, manifest: Manifest, here: Platform) -> None:
    """Make sure that an engine was built for a device like ``here``.

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
