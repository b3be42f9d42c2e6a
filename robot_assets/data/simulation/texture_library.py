"""The textures of a simulation, created on first use and shared by its sessions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from robot_assets.data.simulation import textures
from robot_assets.data.simulation.palette import Random
from robot_assets.data.simulation.render import Renderer
from robot_assets.data.simulation.textures import Bytes, Grain

WALLS = 10
"""Number of different houses in one simulation."""

_VARIANTS = {"paving": 12, "asphalt": 4, "lawn": 4, "kerb": 2, "hedge": 3, "paint": 1}
_LIT_SHARES = (0.04, 0.2, 0.5)  # a house is drawn with the nearest of these shares of lit windows


class TextureLibrary:
    """Creates and caches textures. Variant k of a kind depends on the seed only, not on the order of requests.

    Args:
        seed: of the simulation.
        grain: noise of the simulation.
        renderer: uploads the textures.
    """

    def __init__(self, seed: int, grain: Grain, renderer: Renderer) -> None:
        self._seed, self._grain, self._renderer = seed, grain, renderer
        self._kept: dict[tuple[int, ...], Any] = {}

    def choose(self, rng: Random, kind: str) -> Any:
        """Return one of the textures of ``kind``: paving, asphalt, lawn, kerb, hedge or paint."""
        variant = int(rng.integers(_VARIANTS[kind]))
        maker: Callable[[Random], Bytes] = {
            "paving": lambda own: textures.paving(own, self._grain, textures.PAVINGS[variant % len(textures.PAVINGS)]),
            "asphalt": lambda own: textures.asphalt(own, self._grain),
            "lawn": lambda own: textures.grass(own, self._grain),
            "kerb": lambda own: textures.concrete(own, self._grain),
            "hedge": lambda own: textures.leaves(own, self._grain),
            "paint": self._road_paint,
        }[kind]
        return self._texture((tuple(_VARIANTS).index(kind), variant), maker)

    def _road_paint(self, own: Random) -> Bytes:
        worn = textures.asphalt(own, self._grain).astype(np.int32) + 130
        return np.clip(worn, 0, 235).astype(np.uint8)

    def house(self, rng: Random, lit: float) -> tuple[Any, Any]:
        """Return upper floors and ground floor of one house, with about the share ``lit`` of windows lit."""
        variant = int(rng.integers(WALLS))
        level = min(range(len(_LIT_SHARES)), key=lambda index: abs(_LIT_SHARES[index] - lit))
        key = (len(_VARIANTS) + level, variant)

        def style(own: Random) -> textures.FacadeStyle:
            return textures.facade_style(own, _LIT_SHARES[level])

        return (
            self._texture((*key, 0), lambda own: textures.facade(own, self._grain, style(own))),
            self._texture((*key, 1), lambda own: textures.shopfront(own, self._grain, style(own))),
        )

    def _texture(self, key: tuple[int, ...], make: Callable[[Random], Bytes]) -> Any:
        if key not in self._kept:
            # Both textures of a house use the same random numbers first, and so the same wall.
            own = np.random.default_rng([self._seed, 3, *key[:2]])
            self._kept[key] = self._renderer.texture(make(own))
        return self._kept[key]
