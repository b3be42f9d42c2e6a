"""The sky behind a street."""

from __future__ import annotations

import math

import numpy as np

from robot_assets.data.simulation.palette import Random
from robot_assets.data.simulation.shapes import Floats
from robot_assets.data.simulation.weather import BRIGHTEST, Levels, Weather


class Sky:
    """The sky of one session, wider than the image, so that it can shift with the heading.

    Clouds lie on a high plane, which gives them perspective.

    Args:
        rng: of the session.
        weather: of the session.
        clouds: float32 (n, n) tiling noise in about [0, 1].
        size: height and width of the images, pixels.
        focal: focal length, pixels.
        pitch: of the camera, radians.
    """

    def __init__(
        self, rng: Random, weather: Weather, clouds: Floats, size: tuple[int, int], focal: float, pitch: float
    ) -> None:
        height, self._width = size
        self._focal = focal
        self._margin = int(focal * 0.2) + 2
        horizon = height / 2 + focal * math.tan(pitch)
        self.rows = int(min(max(horizon + 0.05 * focal, 1), height))
        rise = ((horizon - np.arange(self.rows, dtype=np.float32)) / np.float32(focal))[:, None]
        across = np.arange(self._width + 2 * self._margin, dtype=np.float32)[None, :] - np.float32(
            self._margin + self._width / 2
        )
        steep = np.clip(rise * np.float32(1.6), 0, 1)
        blue = 1 - (1 - steep) * (1 - steep)
        up = np.maximum(rise, np.float32(0.02)) + np.float32(0.06)
        cells = len(clouds)
        scale = np.float32(cells / 16)
        shift = rng.integers(0, cells, 2)
        u = (1 / up) * scale + np.float32(shift[0])
        v = (across / np.float32(focal) / up) * scale + np.float32(shift[1])
        field = _sampled(clouds, u, v)
        dense = np.clip((field + np.float32((weather.cover - 0.5) * 0.5) - np.float32(0.5)) * 5, 0, 1)
        dense = dense * np.clip(rise * 6 + np.float32(0.25), 0, 1)
        tone = np.float32(1.1) - np.clip(field - np.float32(0.45), 0, 1) * np.float32(0.5)
        self._planes = np.empty((3, self.rows, across.shape[1]), np.uint16)
        for channel in range(3):
            low, high = weather.horizon[channel], weather.zenith[channel]
            clear = np.float32(low) + np.float32(high - low) * blue
            cloudy = clear + (np.float32(weather.cloud[channel]) * tone - clear) * dense
            self._planes[channel] = np.clip(cloudy, 0, 1) * BRIGHTEST

    def behind(self, heading: float) -> Levels:
        """Sky behind the top rows of the image, uint16 (3, rows, width) in [0, 250]."""
        turned = self._margin - round(self._focal * math.tan(heading))
        left = min(max(turned, 0), 2 * self._margin)
        return self._planes[:, :, left : left + self._width]


def _sampled(field: Floats, rows: Floats, columns: Floats) -> Floats:
    """Sample a tiling field bilinearly; ``rows`` and ``columns`` broadcast."""
    size = len(field)
    top, left = np.floor(rows).astype(np.int64), np.floor(columns).astype(np.int64)
    down, right = rows - top, columns - left
    top, left = top % size, left % size
    below, beside = (top + 1) % size, (left + 1) % size
    flat, top, below = field.ravel(), top * size, below * size
    upper = flat.take(top + left) * (1 - right) + flat.take(top + beside) * right
    lower = flat.take(below + left) * (1 - right) + flat.take(below + beside) * right
    result: Floats = (upper * (1 - down) + lower * down).astype(np.float32)
    return result
