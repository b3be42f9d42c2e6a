"""Colours of skin, clothes and paint (RGB albedo), and random choices."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from robot_assets.data.simulation.shapes import Colour

Random = np.random.Generator

SKIN = ((0.92, 0.74, 0.62), (0.86, 0.66, 0.52), (0.72, 0.5, 0.36), (0.52, 0.34, 0.24), (0.34, 0.22, 0.16))
HAIR = ((0.08, 0.06, 0.05), (0.22, 0.14, 0.08), (0.45, 0.3, 0.16), (0.72, 0.58, 0.34), (0.6, 0.6, 0.6))
CLOTHES = (
    (0.75, 0.12, 0.12),
    (0.12, 0.2, 0.55),
    (0.1, 0.42, 0.25),
    (0.85, 0.72, 0.15),
    (0.9, 0.9, 0.88),
    (0.12, 0.12, 0.14),
    (0.45, 0.45, 0.48),
    (0.55, 0.35, 0.2),
    (0.5, 0.18, 0.45),
    (0.9, 0.45, 0.15),
    (0.3, 0.6, 0.75),
    (0.78, 0.7, 0.58),
    (0.85, 0.5, 0.58),
    (0.2, 0.28, 0.2),
)
TROUSERS = (
    (0.1, 0.12, 0.2),
    (0.15, 0.22, 0.4),
    (0.12, 0.12, 0.12),
    (0.35, 0.34, 0.34),
    (0.62, 0.54, 0.42),
    (0.3, 0.22, 0.16),
    (0.25, 0.35, 0.5),
)
PAINT = (
    (0.86, 0.87, 0.88),
    (0.62, 0.64, 0.67),
    (0.3, 0.31, 0.33),
    (0.08, 0.08, 0.09),
    (0.62, 0.07, 0.08),
    (0.1, 0.2, 0.5),
    (0.15, 0.32, 0.45),
    (0.12, 0.3, 0.2),
    (0.8, 0.66, 0.2),
    (0.72, 0.6, 0.48),
    (0.8, 0.35, 0.1),
)
RUBBER = (0.06, 0.06, 0.065)
GLASS = (0.13, 0.17, 0.21)


def pick(rng: Random, choices: Sequence[Colour], spread: float = 0.05) -> Colour:
    """Choose a colour and shift each channel by at most ``spread``."""
    base = choices[int(rng.integers(len(choices)))]
    shift = rng.uniform(-spread, spread, 3)
    r, g, b = (min(max(c + float(s), 0.02), 0.97) for c, s in zip(base, shift, strict=True))
    return (r, g, b)


def between(rng: Random, low: float, high: float) -> float:
    """Draw a number from a uniform distribution."""
    return float(rng.uniform(low, high))
