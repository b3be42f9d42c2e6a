"""Weather, light and visibility of a session."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from robot_assets.data.simulation.palette import Random
from robot_assets.data.simulation.render import Frame
from robot_assets.data.simulation.shapes import Colour, Floats, Light, Point

Levels = NDArray[np.uint16]

BRIGHTEST = 250
"""Maximum of sky and haze: keeps sums of their products with 256 within 16 bits."""

KINDS = ("clear", "fair", "overcast", "dusk", "fog", "rain")
_SHARES = (0.26, 0.22, 0.2, 0.12, 0.08, 0.12)


@dataclass(frozen=True)
class Weather:
    """Weather of one session.

    Attributes:
        kind: one of ``KINDS``.
        light: light on the surfaces.
        zenith: RGB of the sky overhead.
        horizon: RGB of the sky at the horizon, and of the haze.
        cloud: RGB of the clouds.
        cover: cloud cover, 0 to 1.
        shadow: darkening of the ground in shadow, 0 to 1.
        haze: extinction per metre; 0.003 is a clear day, 0.05 thick fog.
        rain: streaks per frame; 0 when it is dry.
        lit: share of lit windows.
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
    return (math.cos(elevation) * math.cos(azimuth), math.cos(elevation) * math.sin(azimuth), math.sin(elevation))


def choose_weather(rng: Random, kind: str | None = None) -> Weather:
    """Draw the weather of a session; ``kind`` overrides the random choice of the kind."""
    drawn = KINDS[int(rng.choice(len(KINDS), p=_SHARES))]
    return {"clear": _clear, "fair": _fair, "overcast": _overcast, "dusk": _dusk, "fog": _fog, "rain": _rain}[
        kind or drawn
    ](rng)


def _clear(rng: Random) -> Weather:
    warm = float(rng.uniform(0, 1))
    sun = (0.78, 0.74 - 0.1 * warm, 0.66 - 0.22 * warm)
    light = Light(_sun(rng, math.radians(float(rng.uniform(24, 62)))), sun, (0.46, 0.51, 0.6), (0.26, 0.24, 0.21))
    return Weather(
        "clear",
        light,
        (0.25, 0.45, 0.78),
        (0.7, 0.8, 0.9),
        (0.97, 0.97, 0.98),
        float(rng.uniform(0.1, 0.4)),
        float(rng.uniform(0.42, 0.56)),
        float(rng.uniform(0.002, 0.006)),
        0,
        0.03,
    )


def _fair(rng: Random) -> Weather:
    light = Light(
        _sun(rng, math.radians(float(rng.uniform(30, 65)))),
        (0.55, 0.53, 0.5),
        (0.55, 0.58, 0.63),
        (0.27, 0.26, 0.25),
    )
    return Weather(
        "fair",
        light,
        (0.42, 0.56, 0.78),
        (0.8, 0.85, 0.9),
        (0.9, 0.91, 0.93),
        float(rng.uniform(0.5, 0.7)),
        float(rng.uniform(0.28, 0.42)),
        float(rng.uniform(0.003, 0.008)),
        0,
        0.06,
    )


def _overcast(rng: Random) -> Weather:
    grey = float(rng.uniform(0.62, 0.84))
    light = Light(
        _sun(rng, math.radians(82)),
        (0.16, 0.16, 0.16),
        _scaled((0.8, 0.82, 0.86), grey + 0.12),
        (0.32, 0.32, 0.31),
    )
    return Weather(
        "overcast",
        light,
        _scaled((0.86, 0.9, 0.96), grey),
        _scaled((1.0, 1.02, 1.05), grey),
        _scaled((0.98, 1, 1.03), grey * 0.92),
        float(rng.uniform(0.8, 1.0)),
        float(rng.uniform(0.2, 0.3)),
        float(rng.uniform(0.004, 0.012)),
        0,
        0.15,
    )


def _dusk(rng: Random) -> Weather:
    red = float(rng.uniform(0.0, 1.0))
    light = Light(
        _sun(rng, math.radians(float(rng.uniform(11, 20)))),
        (0.5, 0.32 - 0.08 * red, 0.16),
        (0.3, 0.31, 0.42),
        (0.16, 0.14, 0.14),
    )
    return Weather(
        "dusk",
        light,
        (0.17, 0.22, 0.42),
        (0.88, 0.56 - 0.1 * red, 0.36),
        (0.62, 0.42, 0.4),
        float(rng.uniform(0.3, 0.6)),
        float(rng.uniform(0.3, 0.42)),
        float(rng.uniform(0.004, 0.01)),
        0,
        0.45,
    )


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
    return Weather(
        "rain",
        light,
        _scaled((0.8, 0.86, 0.95), grey),
        _scaled((1.0, 1.03, 1.08), grey),
        _scaled((0.86, 0.9, 0.95), grey),
        0.95,
        0.2,
        float(rng.uniform(0.01, 0.02)),
        int(rng.integers(90, 240)),
        0.35,
    )


def transmittance_of(distances: Floats, haze: float) -> Levels:
    """Share of light that passes through ``distances`` metres of haze, in 256ths.

    A rational approximation of the exponential, with the same bits on every processor.
    """
    depth = distances * np.float32(haze)
    return (256 / (1 + depth + depth * depth * np.float32(0.5))).astype(np.uint16)


def transmittance_map(frame: Frame, street: Levels, of_item: Levels) -> Levels:
    """Transmittance of each pixel: of the street, or of the item that covers it.

    Args:
        frame: as rendered.
        street: uint16 (h, w), transmittance to the empty street.
        of_item: uint16 (256,), transmittance to the item of each id.
    """
    transmittance = street.copy()
    transmittance.ravel()[frame.pixels] = of_item[frame.owners]
    return transmittance
