"""Weather, light and the camera's own flaws: chosen once a session, applied to every frame with NumPy."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from robot_assets.data.simulation.actors import Random
from robot_assets.data.simulation.render import Frame
from robot_assets.data.simulation.shapes import Colour, Floats, Light, Point

Levels = NDArray[np.uint16]

_BRIGHTEST = 250  # of sky and haze: sums of products by 256 then stay within 16 bits

KINDS = ("clear", "fair", "overcast", "dusk", "fog", "rain")
_SHARES = (0.26, 0.22, 0.2, 0.12, 0.08, 0.12)


@dataclass(frozen=True)
class Weather:
    """What the sky does during one session.

    Attributes:
        kind: one of ``KINDS``.
        light: what the surfaces are lit with.
        zenith: RGB of the sky overhead.
        horizon: RGB of the sky low down, and of the haze.
        cloud: RGB of the clouds.
        cover: share of the sky under cloud.
        shadow: how much darker the ground is in shadow, 0 to 1.
        haze: per metre; 0.003 is a clear day, 0.05 a thick fog.
        rain: streaks in a frame; 0 when it is dry.
        lit: share of windows with the light on.
    """

    kind: str
    light: Light
    zenith: Colour
    horizon: Colour
    cloud: Colour
    cover: float
    shadow: float
    haze: float
    rain: int
    lit: float


def _scaled(colour: Colour, factor: float) -> Colour:
    return (colour[0] * factor, colour[1] * factor, colour[2] * factor)


def _sun(rng: Random, elevation: float) -> Point:
    azimuth = float(rng.uniform(0, 2 * math.pi))
    return (
        math.cos(elevation) * math.cos(azimuth), math.cos(elevation) * math.sin(azimuth), math.sin(elevation)
    )


def choose_weather(rng: Random, kind: str | None = None) -> Weather:
    """Draw the weather of a session; ``kind`` fixes what is otherwise drawn by its usual share."""
    drawn = KINDS[int(rng.choice(len(KINDS), p=_SHARES))]
    return {"clear": _clear, "fair": _fair, "overcast": _overcast, "dusk": _dusk, "fog": _fog, "rain": _rain}[
        kind or drawn
    ](rng)


def _clear(rng: Random) -> Weather:
    warm = float(rng.uniform(0, 1))
    sun = (0.78, 0.74 - 0.1 * warm, 0.66 - 0.22 * warm)
    light = Light(
        _sun(rng, math.radians(float(rng.uniform(24, 62)))), sun, (0.46, 0.51, 0.6), (0.26, 0.24, 0.21)
    )
    return Weather("clear", light, (0.25, 0.45, 0.78), (0.7, 0.8, 0.9), (0.97, 0.97, 0.98), float(rng.uniform(0.1, 0.4)),
                   float(rng.uniform(0.42, 0.56)), float(rng.uniform(0.002, 0.006)), 0, 0.03)


def _fair(rng: Random) -> Weather:
    light = Light(
        _sun(rng, math.radians(float(rng.uniform(30, 65)))),
        (0.55, 0.53, 0.5),
        (0.55, 0.58, 0.63),
        (0.27, 0.26, 0.25),
    )
    return Weather("fair", light, (0.42, 0.56, 0.78), (0.8, 0.85, 0.9), (0.9, 0.91, 0.93), float(rng.uniform(0.5, 0.7)),
                   float(rng.uniform(0.28, 0.42)), float(rng.uniform(0.003, 0.008)), 0, 0.06)


def _overcast(rng: Random) -> Weather:
    grey = float(rng.uniform(0.62, 0.84))
    light = Light(
        _sun(rng, math.radians(82)),
        (0.16, 0.16, 0.16),
        _scaled((0.8, 0.82, 0.86), grey + 0.12),
        (0.32, 0.32, 0.31),
    )
    return Weather("overcast", light, _scaled((0.86, 0.9, 0.96), grey), _scaled((1.0, 1.02, 1.05), grey), _scaled((0.98, 1, 1.03), grey * 0.92),
                   float(rng.uniform(0.8, 1.0)), float(rng.uniform(0.2, 0.3)), float(rng.uniform(0.004, 0.012)), 0, 0.15)


def _dusk(rng: Random) -> Weather:
    red = float(rng.uniform(0.0, 1.0))
    light = Light(
        _sun(rng, math.radians(float(rng.uniform(11, 20)))),
        (0.5, 0.32 - 0.08 * red, 0.16),
        (0.3, 0.31, 0.42),
        (0.16, 0.14, 0.14),
    )
    return Weather("dusk", light, (0.17, 0.22, 0.42), (0.88, 0.56 - 0.1 * red, 0.36), (0.62, 0.42, 0.4), float(rng.uniform(0.3, 0.6)),
                   float(rng.uniform(0.3, 0.42)), float(rng.uniform(0.004, 0.01)), 0, 0.45)


def _fog(rng: Random) -> Weather:
    grey = float(rng.uniform(0.66, 0.82))
    light = Light(
        _sun(rng, math.radians(82)),
        (0.1, 0.1, 0.1),
        _scaled((0.86, 0.87, 0.88), grey + 0.12),
        (0.34, 0.34, 0.34),
    )
    tone = _scaled((1.0, 1.01, 1.02), grey)
    return Weather("fog", light, tone, tone, tone, 0.2, 0.16, float(rng.uniform(0.025, 0.05)), 0, 0.25)


def _rain(rng: Random) -> Weather:
    grey = float(rng.uniform(0.45, 0.62))
    light = Light(
        _sun(rng, math.radians(84)),
        (0.08, 0.08, 0.09),
        _scaled((0.8, 0.84, 0.9), grey + 0.2),
        (0.3, 0.3, 0.32),
    )
    return Weather("rain", light, _scaled((0.8, 0.86, 0.95), grey), _scaled((1.0, 1.03, 1.08), grey), _scaled((0.86, 0.9, 0.95), grey), 0.95,
                   0.2, float(rng.uniform(0.01, 0.02)), int(rng.integers(90, 240)), 0.35)


class Sensor:
    """The camera of one session: exposure, white balance, vignette, noise, blur, and rain before the lens.

    Args:
        rng: of the session.
        weather: of the session.
        height: of the images, pixels.
        width: of the images, pixels.
    """

    def __init__(self, rng: Random, weather: Weather, height: int, width: int) -> None:
        self._weather = weather
        self._height, self._width = height, width
        self._curves = self._tone_curves(rng)
        self._vignette = self._vignetting(rng)
        self._haze = [np.uint16(min(tone, 1.0) * _BRIGHTEST) for tone in weather.horizon]
        self._shadow = np.uint16(round(weather.shadow * 16))
        self._noise = self._noise_bank(rng)
        self._blur = 1 if rng.random() < 0.5 or weather.rain else 2
        self._streaks = self._rain_bank(rng) if weather.rain else None

    def _tone_curves(self, rng: Random) -> list[bytes]:
        """Build one table of 256 bytes a channel: exposure, white balance, contrast, as a camera would."""
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
        """Share of light that the lens lets through, in 256ths."""
        y = np.linspace(-1, 1, self._height, dtype=np.float32)[:, None]
        x = np.linspace(-1, 1, self._width, dtype=np.float32)[None, :]
        falloff = 1 - np.float32(rng.uniform(0.04, 0.2)) * (x * x + y * y) * np.float32(0.6)
        return (falloff * 256).astype(np.uint16)

    def _noise_bank(self, rng: Random) -> NDArray[np.int16]:
        """Noise of which each frame takes another window: grain that is half grey, half coloured."""
        strength = float(rng.uniform(1.2, 3.6)) * (1.7 if self._weather.kind == "dusk" else 1.0)
        size = (self._height + 64, self._width + 64)
        grey = rng.standard_normal((1, *size), dtype=np.float32)
        bank = (grey + rng.standard_normal((3, *size), dtype=np.float32)) * np.float32(strength * 0.7)
        return np.floor(bank + np.float32(0.5)).astype(np.int16)

    def _rain_bank(self, rng: Random) -> NDArray[np.int16]:
        """Slanted streaks, int16 (h, w), of which each frame takes another window."""
        height, width = self._height + 64, self._width + 64
        bank = np.zeros((height, width), np.float32)
        slant = float(rng.uniform(-0.35, 0.35))
        for _ in range(self._weather.rain):
            length = int(rng.integers(height // 24 + 2, height // 7 + 4))
            rows = int(rng.integers(0, height)) + np.arange(length)
            columns = (
                int(rng.integers(0, width)) + (np.arange(length) * np.float32(slant)).astype(np.int64)
            ) % width
            bank[rows % height, columns] += np.float32(rng.uniform(14, 46))
        bank[:, 1:] += bank[:, :-1] * np.float32(0.5)
        return bank.astype(np.int16)

    def develop(self, frame: Frame, sky: Levels, clearness: Levels, rng: Random) -> NDArray[np.uint8]:
        """Turn a rendered frame into what the camera records.

        Args:
            frame: as rendered.
            sky: uint16 (3, rows, width), RGB in [0, 250]; the sky behind the uppermost rows of the image.
            clearness: uint16 (height, width), light that comes through the haze in 256ths.
            rng: of the session; moves noise and rain from frame to frame.

        Returns:
            uint8 (height, width, 3), RGB.
        """
        through = clearness * self._vignette >> 8
        veil = self._vignette - through
        through *= 256 - _softened(frame.shadow & (frame.ids == 0)) * self._shadow
        through >>= 8
        rows = sky.shape[1]
        open_sky = 255 - frame.colour[:rows, :, 3].astype(np.uint16)
        veil[:rows] = veil[:rows] * (256 - open_sky) >> 8
        open_sky = open_sky * self._vignette[:rows] >> 8
        top, left = (int(v) for v in rng.integers(0, 64, 2))
        window = (slice(top, top + self._height), slice(left, left + self._width))
        image = np.empty((self._height, self._width, 3), np.uint8)
        for channel in range(3):
            plane = frame.colour[:, :, 2 - channel].astype(np.uint16)
            plane *= through
            plane += veil * self._haze[channel]
            plane[:rows] += sky[channel] * open_sky
            plane >>= 8
            signed = plane.view(np.int16)
            if self._streaks is not None:
                signed += self._streaks[window]
            _blur(signed, self._blur)
            signed += self._noise[channel][window]
            np.clip(signed, 0, 255, out=signed)
            recorded = signed.astype(np.uint8).tobytes().translate(self._curves[channel])
            image[:, :, channel] = np.frombuffer(recorded, np.uint8).reshape(self._height, self._width)
        return image


def _softened(mask: NDArray[np.bool_]) -> Levels:
    """Blur a mask with a 3x3 tent, so that shadows have soft edges; 0 to 16."""
    soft = mask.astype(np.uint16)
    wide = soft * 4
    wide[:, 1:-1] = soft[:, :-2] + 2 * soft[:, 1:-1] + soft[:, 2:]
    soft = wide * 4
    soft[1:-1] = wide[:-2] + 2 * wide[1:-1] + wide[2:]
    return soft


def _blur(plane: NDArray[np.int16], halvings: int) -> None:
    """Mix each pixel with the one below, in place: one half of it, or a quarter.

    Downwards only: the renderer has already averaged two samples across.
    """
    plane[:-1] += (plane[1:] - plane[:-1]) >> halvings


def clearness_of(distances: Floats, haze: float) -> Levels:
    """Light that comes through ``distances`` metres of haze, in 256ths.

    A rational curve in place of the exponential: its bits are the same on every processor.
    """
    depth = distances * np.float32(haze)
    return (256 / (1 + depth + depth * depth * np.float32(0.5))).astype(np.uint16)


def clearness_map(
    ids: NDArray[np.uint8], pixels: NDArray[np.int64], street: Levels, of_item: Levels
) -> Levels:
    """Clearness of every pixel: the street's own, overridden where an item stands.

    Args:
        ids: uint8 (h, w).
        pixels: flat positions of all items in ``ids``.
        street: uint16 (h, w), clearness before the empty street.
        of_item: uint16 (256,), clearness before each id.
    """
    clearness = street.copy()
    clearness.ravel()[pixels] = of_item[ids.ravel()[pixels]]
    return clearness


class Sky:
    """The sky of one session, a little wider than the image, so that it can turn with the robot.

    Clouds lie on a plane far above, which gives them their perspective.

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
        field = _sampled(clouds, np.broadcast_to(u, v.shape), v)
        dense = np.clip((field + np.float32((weather.cover - 0.5) * 0.5) - np.float32(0.5)) * 5, 0, 1)
        dense = dense * np.clip(rise * 6 + np.float32(0.25), 0, 1)
        tone = np.float32(1.1) - np.clip(field - np.float32(0.45), 0, 1) * np.float32(0.5)
        self._planes = np.empty((3, self.rows, across.shape[1]), np.uint16)
        for channel in range(3):
            low, high = weather.horizon[channel], weather.zenith[channel]
            clear = np.float32(low) + np.float32(high - low) * blue
            cloudy = clear + (np.float32(weather.cloud[channel]) * tone - clear) * dense
            self._planes[channel] = np.clip(cloudy, 0, 1) * _BRIGHTEST

    def behind(self, heading: float) -> Levels:
        """Sky behind the upper rows of the image, uint16 (3, rows, width) in [0, 250]."""
        turned = self._margin - round(self._focal * math.tan(heading))
        left = min(max(turned, 0), 2 * self._margin)
        return self._planes[:, :, left : left + self._width]


def _sampled(field: Floats, rows: Floats, columns: Floats) -> Floats:
    """Sample a tiling field between its grid points."""
    size = len(field)
    top, left = np.floor(rows).astype(np.int64), np.floor(columns).astype(np.int64)
    down, right = rows - top, columns - left
    top, left = top % size, left % size
    below, beside = (top + 1) % size, (left + 1) % size
    upper = field[top, left] * (1 - right) + field[top, beside] * right
    lower = field[below, left] * (1 - right) + field[below, beside] * right
    result: Floats = (upper * (1 - down) + lower * down).astype(np.float32)
    return result
