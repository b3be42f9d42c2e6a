"""Procedural textures from a random generator. All are uint8 RGB and tile in both directions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from robot_assets.data.simulation.palette import Random, pick
from robot_assets.data.simulation.shapes import Colour, Floats

Bytes = NDArray[np.uint8]

SIZE = 256


def clouds(rng: Random, height: int, width: int, coarsest: int = 4) -> Floats:
    """Tiling value noise, float32 (height, width) in about [0, 1]; sizes are powers of two."""
    total = np.zeros((height, width), np.float32)
    weight, cells, norm = np.float32(1.0), coarsest, 0.0
    while cells <= min(height, width) // 2:
        grid = rng.random((cells, cells), dtype=np.float32)
        total += _stretched(_stretched(grid, height, 0), width, 1) * weight
        norm += float(weight)
        weight *= np.float32(0.5)
        cells *= 2
    return total / np.float32(norm)


class Grain:
    """Noise fields shared by a simulation; each texture uses one of them, shifted and maybe mirrored."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng([seed, 2])
        self._fields = [clouds(rng, SIZE, SIZE, coarsest) for coarsest in (4, 4, 4, 8, 8, 16)]
        self._speckles = [rng.random((SIZE, SIZE), dtype=np.float32) for _ in range(4)]

        self._seed = seed
        self._film: dict[tuple[int, int], Floats] = {}

    def film(self, height: int, width: int) -> Floats:
        """Return film grain, float32 (3, height, width) with about unit variance: half grey, half coloured."""
        if (height, width) not in self._film:
            rng = np.random.default_rng([self._seed, 4])
            grey = rng.standard_normal((1, height, width), dtype=np.float32)
            coloured = rng.standard_normal((3, height, width), dtype=np.float32)
            self._film[height, width] = (grey + coloured) * np.float32(0.7)
        return self._film[height, width]

    def cloud(self, rng: Random, coarse: bool = True) -> Floats:
        """Return a tiling field in about [0, 1], float32 (SIZE, SIZE)."""
        return _shifted(rng, self._fields[int(rng.integers(0, 3) if coarse else rng.integers(3, 6))])

    def speckle(self, rng: Random, amount: float) -> Floats:
        """Return per-pixel noise around 1, float32 (SIZE, SIZE)."""
        noise = _shifted(rng, self._speckles[int(rng.integers(0, 4))])
        return 1 + (noise - np.float32(0.5)) * np.float32(amount)


def _shifted(rng: Random, field: Floats) -> Floats:
    rows, columns = (int(v) for v in rng.integers(0, SIZE, 2))
    moved: Floats = np.roll(field, (rows, columns), axis=(0, 1))
    return moved[::-1] if rng.random() < 0.5 else moved


def _stretched(grid: Floats, size: int, axis: int) -> Floats:
    """Interpolate smoothly along one axis, wrapping around."""
    cells = grid.shape[axis]
    place = np.arange(size, dtype=np.float32) * np.float32(cells / size)
    low = place.astype(np.int64)
    share = place - low
    share = share * share * (3 - 2 * share)
    share = share.reshape((-1, 1) if axis == 0 else (1, -1))
    a, b = np.take(grid, low, axis=axis), np.take(grid, (low + 1) % cells, axis=axis)
    result: Floats = a + (b - a) * share
    return result


def _finished(shade: Floats, colour: Colour) -> Bytes:
    """Multiply a grey shade (1 is the colour itself) into RGB bytes."""
    return _bytes(_tinted(shade, colour))


def _tinted(shade: Floats, colour: Colour) -> Floats:
    """Multiply a grey shade into RGB in [0, 255], per channel: NumPy's inner loop is then long."""
    rgb = np.empty((*shade.shape, 3), np.float32)
    for channel in range(3):
        np.multiply(shade, np.float32(colour[channel]) * np.float32(255), out=rgb[:, :, channel])
    return rgb


def _bytes(rgb: Floats) -> Bytes:
    """Round down to bytes, in place before the copy."""
    return np.clip(rgb, 0, 255, out=rgb).astype(np.uint8)


def asphalt(rng: Random, grain: Grain) -> Bytes:
    """Asphalt with patches, coarse grain and a few cracks."""
    tone = float(rng.uniform(0.26, 0.42))
    shade = grain.speckle(rng, 0.35) * (0.8 + 0.4 * grain.cloud(rng))
    for _ in range(int(rng.integers(0, 3))):
        y, x = rng.integers(0, SIZE, 2)
        h, w = rng.integers(30, 120, 2)
        shade[y : y + h, x : x + w] *= np.float32(rng.uniform(0.78, 0.92))
    for _ in range(int(rng.integers(1, 4))):
        _crack(rng, shade)
    return _finished(shade, (tone, tone, tone * 1.03))


def _crack(rng: Random, shade: Floats) -> None:
    steps = int(rng.integers(80, 240))
    drift = np.cumsum(rng.integers(-1, 2, steps))
    rows = (int(rng.integers(SIZE)) + np.arange(steps)) % SIZE
    shade[rows, (int(rng.integers(SIZE)) + drift) % SIZE] *= np.float32(0.6)


PAVINGS = ("slabs", "running", "plates", "cobbles")


def paving(rng: Random, grain: Grain, style: str) -> Bytes:
    """Sidewalk paving that covers 2.4 m by 2.4 m: square slabs, running bond, large plates or cobbles."""
    rows, columns, joint = {
        "slabs": (4, 4, 3),
        "running": (12, 6, 2),
        "plates": (1, 1, 3),
        "cobbles": (16, 16, 3),
    }[style]
    shade = grain.speckle(rng, 0.16) * (0.86 + 0.28 * grain.cloud(rng))
    y, x = np.arange(SIZE), np.arange(SIZE)
    row = y * rows // SIZE
    shift = SIZE // columns // 2 if style in ("running", "cobbles") else 0
    # Along x there are two patterns only: of even rows and of odd rows.
    along = (x + np.array([[0], [shift]])) % SIZE * columns
    tone = rng.uniform(0.86, 1.1, (rows, columns)).astype(np.float32)
    shade *= tone[row[:, None], (along // SIZE)[row % 2]]
    edge = (y * rows % SIZE < joint * rows)[:, None] | (along % SIZE < joint * columns)[row % 2]
    np.multiply(shade, np.float32(0.68), out=shade, where=edge)
    colour = pick(rng, ((0.6, 0.59, 0.56), (0.66, 0.61, 0.54), (0.58, 0.45, 0.39), (0.52, 0.53, 0.55)), 0.03)
    return _finished(shade, colour)


def grass(rng: Random, grain: Grain) -> Bytes:
    """Lawn."""
    shade = grain.speckle(rng, 0.5) * (0.7 + 0.6 * grain.cloud(rng, coarse=False))
    return _finished(shade, pick(rng, ((0.27, 0.38, 0.16), (0.33, 0.4, 0.2), (0.42, 0.42, 0.24)), 0.03))


def leaves(rng: Random, grain: Grain) -> Bytes:
    """Dense foliage: the side of a hedge."""
    shade = grain.speckle(rng, 0.7) * (0.45 + 1.1 * grain.cloud(rng, coarse=False))
    return _finished(shade, pick(rng, ((0.16, 0.3, 0.12), (0.22, 0.34, 0.14), (0.14, 0.26, 0.14)), 0.02))


def concrete(rng: Random, grain: Grain) -> Bytes:
    """Kerb stones, with four joints per texture."""
    shade = grain.speckle(rng, 0.15) * (0.85 + 0.3 * grain.cloud(rng))
    shade[:, :: SIZE // 4] *= np.float32(0.6)
    shade[:, 1 :: SIZE // 4] *= np.float32(0.7)
    return _finished(shade, (0.64, 0.63, 0.61))


@dataclass(frozen=True)
class FacadeStyle:
    """Style of a house's facade.

    Attributes:
        material: "brick", "plaster", "concrete" or "glass".
        colour: of the wall.
        lit: share of lit windows.
    """

    material: str
    colour: Colour
    lit: float


_WALLS: dict[str, tuple[Colour, ...]] = {
    "brick": ((0.5, 0.25, 0.19), (0.56, 0.36, 0.26), (0.42, 0.22, 0.2), (0.62, 0.5, 0.38)),
    "plaster": (
        (0.82, 0.76, 0.62),
        (0.78, 0.68, 0.55),
        (0.7, 0.74, 0.72),
        (0.85, 0.82, 0.76),
        (0.75, 0.55, 0.46),
    ),
    "concrete": ((0.55, 0.55, 0.54), (0.48, 0.49, 0.5), (0.62, 0.6, 0.57)),
    "glass": ((0.3, 0.36, 0.4), (0.24, 0.3, 0.36)),
}


def facade_style(rng: Random, lit: float) -> FacadeStyle:
    """Draw a random facade style."""
    material = ("brick", "plaster", "concrete", "glass")[int(rng.choice(4, p=[0.35, 0.35, 0.18, 0.12]))]
    return FacadeStyle(material, pick(rng, _WALLS[material], 0.04), lit)


def _wall(rng: Random, grain: Grain, style: FacadeStyle) -> Floats:
    """Wall without openings, float32 (SIZE, SIZE, 3) in [0, 255]."""
    shade = grain.speckle(rng, 0.12) * (0.86 + 0.28 * grain.cloud(rng))
    if style.material == "brick":
        y, x = np.arange(SIZE), np.arange(SIZE)
        row = y // 4
        along = (x + np.array([[0], [4]])) % SIZE  # even and odd rows
        shade *= rng.uniform(0.8, 1.15, (64, 32)).astype(np.float32)[row[:, None], (along // 8)[row % 2]]
        joint = (y % 4 == 3)[:, None] | (along % 8 == 7)[row % 2]
        np.multiply(shade, np.float32(1.15), out=shade, where=joint)
    elif style.material == "concrete":
        shade[::64] *= np.float32(0.75)
        shade[:, ::64] *= np.float32(0.8)
    return _tinted(shade, style.colour)


def _pane(rng: Random, height: int, width: int, lit: bool) -> Floats:
    """Window glass with the sky in its upper part, or with a lit room behind it."""
    fall = np.linspace(1.0, 0.35, height, dtype=np.float32)[:, None, None]
    if lit:
        warm = np.array([255, 214, 140], np.float32) * np.float32(rng.uniform(0.7, 1.0))
        pane: Floats = np.broadcast_to(warm * (0.75 + 0.25 * fall), (height, width, 3)).copy()
    else:
        cold = np.array([98, 118, 138], np.float32) * np.float32(rng.uniform(0.5, 1.1))
        pane = np.broadcast_to(cold * fall, (height, width, 3)).copy()
    curtain = rng.random()
    if curtain < 0.3:
        pane[:, : width // 4] = pane[:, : width // 4] * 0.5 + 90
        pane[:, -(width // 4) :] = pane[:, -(width // 4) :] * 0.5 + 90
    elif curtain < 0.5:
        drop = int(height * rng.uniform(0.2, 0.6))
        pane[:drop] = pane[:drop] * 0.3 + 120
    return pane


def facade(rng: Random, grain: Grain, style: FacadeStyle) -> Bytes:
    """Upper floors: four floors of four windows; covers 12 m by 12 m."""
    rgb = _wall(rng, grain, style)
    cell = SIZE // 4
    wide = int(rng.integers(22, 40)) if style.material != "glass" else 58
    high = int(rng.integers(32, 44)) if style.material != "glass" else 56
    left, top = (cell - wide) // 2, (cell - high) // 2
    frame = np.array(pick(rng, ((0.9, 0.9, 0.88), (0.2, 0.2, 0.2), (0.35, 0.24, 0.16))), np.float32) * 255
    balcony = style.material != "glass" and rng.random() < 0.35
    for row in range(4):
        for column in range(4):
            y, x = row * cell + top, column * cell + left
            rgb[y - 2 : y + high + 2, x - 2 : x + wide + 2] = frame
            rgb[y : y + high, x : x + wide] = _pane(rng, high, wide, bool(rng.random() < style.lit))
            rgb[y : y + high, x + wide // 2 - 1 : x + wide // 2 + 1] = frame
            rgb[y + high // 3, x : x + wide] = frame
            rgb[y + high + 2 : y + high + 5, x - 4 : x + wide + 4] *= np.float32(1.2)
            rgb[y + high + 5 : y + high + 8, x - 4 : x + wide + 4] *= np.float32(0.62)
        if balcony:
            base = row * cell + top + high
            rgb[base : base + 3, 6 : SIZE - 6] *= np.float32(0.5)
            rgb[base - 14 : base, 6 : SIZE - 6 : 4] *= np.float32(0.45)
    return _bytes(rgb)


def shopfront(rng: Random, grain: Grain, style: FacadeStyle) -> Bytes:
    """Ground floor: doors, shop windows, an awning or a sign; covers 12 m by 4 m."""
    rgb = _wall(rng, grain, style)
    plinth = SIZE - 22
    rgb[plinth:] *= np.float32(0.6)
    at = int(rng.integers(6, 16))
    while at < SIZE - 40:
        if rng.random() < 0.35:
            at += _door(rng, rgb, at)
        else:
            at += _shop_window(rng, rgb, at, style)
        at += int(rng.integers(8, 22))
    if rng.random() < 0.55:
        _sign(rng, rgb)
    return _bytes(rgb)


def _door(rng: Random, rgb: Floats, left: int) -> int:
    width, top = int(rng.integers(22, 30)), int(rng.integers(96, 112))
    leaf = np.array(pick(rng, ((0.3, 0.18, 0.1), (0.12, 0.25, 0.2), (0.15, 0.18, 0.3), (0.5, 0.1, 0.1))), np.float32)
    rgb[top - 4 :, left - 3 : left + width + 3] *= np.float32(0.55)
    rgb[top:, left : left + width] = leaf * 255
    rgb[top + 8 : top + 60, left + 5 : left + width - 5] = _pane(rng, 52, width - 10, False)
    rgb[top + 76 : SIZE - 14, left + 5 : left + width - 5] *= np.float32(0.75)
    rgb[top + 70 : top + 78, left + width - 6 : left + width - 4] = 210
    return width


def _shop_window(rng: Random, rgb: Floats, left: int, style: FacadeStyle) -> int:
    width = min(int(rng.integers(44, 84)), SIZE - left - 6)
    top, bottom = int(rng.integers(84, 104)), SIZE - 34
    frame = np.array(pick(rng, ((0.15, 0.15, 0.16), (0.85, 0.85, 0.82), (0.35, 0.22, 0.14))), np.float32) * 255
    rgb[top - 4 : bottom + 4, left - 3 : left + width + 3] = frame
    rgb[top:bottom, left : left + width] = _pane(rng, bottom - top, width, bool(rng.random() < style.lit * 1.3))
    for _ in range(int(rng.integers(2, 6))):  # goods behind the glass
        h, w = int(rng.integers(12, 46)), int(rng.integers(6, 16))
        x = left + int(rng.integers(0, max(width - w, 1)))
        goods = np.array(pick(rng, ((0.7, 0.6, 0.5), (0.6, 0.2, 0.2), (0.25, 0.35, 0.5), (0.8, 0.8, 0.75))), np.float32)
        patch = rgb[bottom - h : bottom, x : x + w]
        patch[:] = patch * 0.4 + goods * 150
    rgb[top:bottom, left + width // 2 : left + width // 2 + 2] = frame
    return width


def _sign(rng: Random, rgb: Floats) -> None:
    board = pick(rng, ((0.1, 0.25, 0.45), (0.55, 0.1, 0.1), (0.1, 0.35, 0.2), (0.12, 0.12, 0.12), (0.85, 0.75, 0.3)))
    rgb[46:74] = np.array(board, np.float32) * 255
    ink = np.float32(235 if sum(board) < 1.4 else 40)
    at = int(rng.integers(20, 60))
    for _ in range(int(rng.integers(5, 14))):  # strokes that look like letters from a distance
        width = int(rng.integers(4, 10))
        rgb[52:68, at : at + 2] = ink
        rgb[52 if rng.random() < 0.5 else 66, at : at + width] = ink
        if rng.random() < 0.6:
            rgb[59:61, at : at + width] = ink
        at = min(at + width + 4, SIZE - 12)
