"""Camera effects, chosen once per session and applied to every frame in 16-bit integers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from robot_assets.data.simulation.palette import Random
from robot_assets.data.simulation.render import SHADOW, Frame
from robot_assets.data.simulation.textures import Grain
from robot_assets.data.simulation.weather import BRIGHTEST, Levels, Weather


class Sensor:
    """The camera of one session: exposure, white balance, vignette, noise, blur and rain streaks.

    Args:
        rng: of the session.
        weather: of the session.
        grain: noise of the simulation.
        height: of the images, pixels.
        width: of the images, pixels.
    """

    def __init__(self, rng: Random, weather: Weather, grain: Grain, height: int, width: int) -> None:
        self._weather = weather
        self._height, self._width = height, width
        self._curves = self._tone_curves(rng)
        self._vignette = self._vignetting(rng)
        self._haze = [np.uint16(min(tone, 1.0) * BRIGHTEST) for tone in weather.horizon]
        self._shadow = np.uint8(round(weather.shadow * 16))
        self._noise = self._noise_bank(rng, grain)
        self._blur = 1 if rng.random() < 0.5 or weather.rain else 2
        self._streaks = self._rain_bank(rng) if weather.rain else None
        self._plane = np.empty((height, width), np.uint16)
        self._scratch = np.empty((height, width), np.uint16)

    def _tone_curves(self, rng: Random) -> list[bytes]:
        """Build a lookup table of 256 bytes per channel: exposure, white balance and contrast."""
        exposure = float(rng.uniform(0.88, 1.18))
        warmth, green = float(rng.uniform(-0.05, 0.05)), float(rng.uniform(-0.02, 0.02))
        contrast = float(rng.uniform(0.1, 0.55))
        curves = np.empty((3, 256), np.uint8)
        for channel, gain in enumerate((1 + warmth, 1 + green, 1 - warmth)):
            value = np.minimum(np.arange(256, dtype=np.float32) * np.float32(exposure * gain / 255), 1.15)
            value = value / (1 + np.maximum(value - np.float32(0.75), 0) * np.float32(0.45))  # soft shoulder
            value = np.clip(value, 0, 1)
            steep = value * value * (3 - 2 * value)
            curves[channel] = (value + (steep - value) * np.float32(contrast)) * 255 + 0.5
        return [curve.tobytes() for curve in curves]

    def _vignetting(self, rng: Random) -> Levels:
        """Share of light that the lens transmits, in 256ths."""
        y = np.linspace(-1, 1, self._height, dtype=np.float32)[:, None]
        x = np.linspace(-1, 1, self._width, dtype=np.float32)[None, :]
        falloff = 1 - np.float32(rng.uniform(0.04, 0.2)) * (x * x + y * y) * np.float32(0.6)
        return (falloff * 256).astype(np.uint16)

    def _noise_bank(self, rng: Random, grain: Grain) -> NDArray[np.int16]:
        """Film grain of which each frame uses a different window."""
        strength = float(rng.uniform(1.2, 3.6)) * (1.7 if self._weather.kind == "dusk" else 1.0)
        size = (self._height + 64, self._width + 64)
        bank = grain.film(*size) * np.float32(strength)
        rounded: NDArray[np.int16] = np.floor(bank + np.float32(0.5)).astype(np.int16)
        return rounded

    def _rain_bank(self, rng: Random) -> NDArray[np.int16]:
        """Slanted streaks, int16 (h, w), of which each frame uses a different window."""
        height, width = self._height + 64, self._width + 64
        bank = np.zeros((height, width), np.float32)
        slant = float(rng.uniform(-0.35, 0.35))
        for _ in range(self._weather.rain):
            length = int(rng.integers(height // 24 + 2, height // 7 + 4))
            rows = int(rng.integers(0, height)) + np.arange(length)
            columns = (int(rng.integers(0, width)) + (np.arange(length) * np.float32(slant)).astype(np.int64)) % width
            bank[rows % height, columns] += np.float32(rng.uniform(14, 46))
        bank[:, 1:] += bank[:, :-1] * np.float32(0.5)
        return bank.astype(np.int16)

    def capture(self, frame: Frame, sky: Levels, transmittance: Levels, rng: Random) -> Image.Image:
        """Convert a rendered frame to a camera image.

        Args:
            frame: as rendered.
            sky: uint16 (3, rows, width), RGB in [0, 250]; the sky behind the top rows of the image.
            transmittance: uint16 (height, width), share of light that passes through the haze, in 256ths.
            rng: of the session; shifts noise and rain from frame to frame.

        Returns:
            The image, RGB.
        """
        through: Levels = (transmittance * self._vignette) >> np.uint16(8)
        veil = self._vignette - through
        _shade(through, frame.ids == SHADOW, self._shadow)
        rows = sky.shape[1]
        open_sky: Levels = np.uint16(255) - frame.colour[:rows, :, 3].astype(np.uint16)
        veil[:rows] = veil[:rows] * (256 - open_sky) >> 8
        open_sky *= self._vignette[:rows]
        open_sky >>= 8
        top, left = (int(v) for v in rng.integers(0, 64, 2))
        window = (slice(top, top + self._height), slice(left, left + self._width))
        bands = []
        for channel in range(3):
            plane = self._plane
            np.copyto(plane, frame.colour[:, :, 2 - channel])
            plane *= through
            plane += np.multiply(veil, self._haze[channel], out=self._scratch)
            plane[:rows] += np.multiply(sky[channel], open_sky, out=self._scratch[:rows])
            plane >>= 8
            signed = plane.view(np.int16)
            if self._streaks is not None:
                signed += self._streaks[window]
            _blur(signed, self._blur, self._scratch.view(np.int16))
            signed += self._noise[channel][window]
            np.clip(signed, 0, 255, out=signed)
            recorded = signed.astype(np.uint8).tobytes().translate(self._curves[channel])
            bands.append(Image.frombuffer("L", (self._width, self._height), recorded, "raw", "L", 0, 1))
        return Image.merge("RGB", bands)


def _shade(through: Levels, shadow: NDArray[np.bool_], strength: np.uint8) -> None:
    """Darken ``through`` in place where the ground is in shadow; skips rows without shadow."""
    rows = np.flatnonzero(shadow.any(axis=1))
    if len(rows):
        part = slice(max(int(rows[0]) - 1, 0), int(rows[-1]) + 2)
        through[part] *= np.uint16(256) - _softened(shadow[part]) * strength
        through[part] >>= 8


def _softened(mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Blur a mask with a 3x3 tent filter, for soft shadow edges; 0 to 16."""
    # Two sums of pairs make a tent without bit shifts, which NumPy does not vectorize for bytes.
    source = mask.view(np.uint8)
    wide = source * np.uint8(4)
    pairs = source[:, :-1] + source[:, 1:]
    np.add(pairs[:, :-1], pairs[:, 1:], out=wide[:, 1:-1])
    soft = wide * np.uint8(4)
    pairs = wide[:-1] + wide[1:]
    np.add(pairs[:-1], pairs[1:], out=soft[1:-1])
    return soft


def _blur(plane: NDArray[np.int16], halvings: int, scratch: NDArray[np.int16]) -> None:
    """Mix 1/2**``halvings`` of the pixel below into each pixel, in place; overwrites ``scratch``."""
    step = np.subtract(plane[1:], plane[:-1], out=scratch[1:])
    step >>= halvings
    plane[:-1] += step
