"""An image to draw on, and a reader of PNG bytes."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

Pixels = npt.NDArray[np.uint8]


@pytest.fixture
def photo() -> Pixels:
    """uint8 (90, 120, 3): smooth gradients with noise, like a photograph."""
    rng = np.random.default_rng(3)
    y, x = np.mgrid[0:90, 0:120]
    base = np.stack([x * 1.5, y * 2, 200 - x], axis=-1)
    return np.clip(base + rng.normal(0, 12, base.shape), 0, 255).astype(np.uint8)


@pytest.fixture
def pixels() -> Callable[[bytes], Pixels]:
    """Reads PNG bytes into uint8 (H, W, 3)."""

    def read(data: bytes) -> Pixels:
        assert data.startswith(b"\x89PNG\r\n\x1a\n")
        return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))

    return read
