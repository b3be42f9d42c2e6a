"""The textures of a whole simulation, made when first asked for; each session chooses among them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from robot_assets.data.simulation import textures
from robot_assets.data.simulation.palette import Random
from robot_assets.data.simulation.render import Engine
from robot_assets.data.simulation.textures import Bytes, Grain

WALLS = 10
"""Different houses in one simulation."""

_VARIANTS = {"paving": 12, "asphalt": 4, "lawn": 4, "kerb": 2, "hedge": 3, "paint": 1}
_EVENING = (0.04, 0.2, 0.5)  # shares of lit windows that are told apart


class Fabrics:
    """Makes and keeps textures. Variant k of a kind depends on the seed alone, not on who asks first.

    Args:
        seed: of the simulation.
        grain: noise of the simulation.
        engine: that the textures are uploaded to.
    """

    def __init__(self, seed: int, grain: Grain, engine: Engine) -> None:
        self._seed, self._grain, self._engine = seed, grain, engine
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
        hour = min(range(len(_EVENING)), key=lambda index: abs(_EVENING[index] - lit))
        key = (len(_VARIANTS) + hour, variant)

        def look(own: Random) -> textures.FacadeLook:
            return textures.facade_look(own, _EVENING[hour])

        return (
            self._texture((*key, 0), lambda own: textures.facade(own, self._grain, look(own))),
            self._texture((*key, 1), lambda own: textures.shopfront(own, self._grain, look(own))),
        )

    def _texture(self, key: tuple[int, ...], make: Callable[[Random], Bytes]) -> Any:
        if key not in self._kept:
            # Both floors of a house begin with the same numbers, and so with the same wall.
            own = np.random.default_rng([self._seed, 3, *key[:2]])
            self._kept[key] = self._engine.texture(make(own))
        return self._kept[key]
