"""Pedestrians and cyclists.

A builder takes a random generator and returns a mesh that faces +x and stands on z = 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from robot_assets.data.simulation.palette import CLOTHES, HAIR, PAINT, RUBBER, SKIN, TROUSERS, Random, between, pick
from robot_assets.data.simulation.shapes import (
    Colour,
    Mesh,
    Point,
    ball,
    box,
    hoop,
    lathe,
    loft,
    merge,
    transformed,
    tube,
)


def _head(rng: Random, centre: Point, radius: float, skin: Colour, helmet: Colour | None = None) -> list[Mesh]:
    """Head with hair, a cap or a helmet."""
    x, y, z = centre
    parts = [ball(centre, (radius * 1.02, radius * 0.88, radius * 1.22), skin)]
    if helmet is not None:
        parts.append(ball((x - 0.01, y, z + radius * 0.45), (radius * 1.3, radius * 1.08, radius * 0.95), helmet))
        return parts
    style = between(rng, 0, 1)
    hair = pick(rng, HAIR, 0.03)
    parts.append(ball((x - radius * 0.25, y, z + radius * 0.35), (radius * 1.0, radius * 0.98, radius * 1.05), hair))
    if style < 0.3:  # long hair
        parts.append(ball((x - radius * 0.7, y, z - radius * 0.7), (radius * 0.5, radius * 0.9, radius * 1.4), hair))
    elif style < 0.5:  # cap
        cap = pick(rng, CLOTHES)
        parts.append(ball((x, y, z + radius * 0.7), (radius * 1.08, radius * 0.98, radius * 0.75), cap))
        parts.append(box((x + radius * 1.1, y, z + radius * 0.6), (radius * 0.9, radius * 1.3, 0.02), cap))
    return parts


def _torso(hip: Point, neck: Point, depth: float, width: float, colour: Colour) -> Mesh:
    """Build a rounded torso from the hips to the neck."""
    shape = ((0.0, 0.82), (0.12, 0.95), (0.35, 0.86), (0.7, 1.06), (0.9, 1.0), (1.0, 0.5))
    rings = np.empty((len(shape), 8, 3), np.float32)
    angles = [2 * math.pi * i / 8 for i in range(8)]
    circle = np.array([[math.cos(a) * depth, math.sin(a) * width] for a in angles], np.float32)
    for ring, (share, reach) in zip(rings, shape, strict=True):
        middle = [h + (n - h) * share for h, n in zip(hip, neck, strict=True)]
        ring[:, :2] = circle * np.float32(reach) + np.array(middle[:2], np.float32)
        ring[:, 2] = middle[2]
    return loft(rings, colour)


def _limb(points: Sequence[Point], radius: float, colours: Sequence[Colour], tip: float = 0.8) -> list[Mesh]:
    """Chain of tapering tubes through ``points``; one colour per segment."""
    parts = []
    for start, end, colour in zip(points[:-1], points[1:], colours, strict=True):
        parts.append(tube(start, end, radius, colour, tip=tip, is_open=True))
        radius *= tip
    return parts


def pedestrian(rng: Random) -> Mesh:
    """A walking or standing person, 1.15 to 1.95 m tall, in varied clothes, some with a bag or a cap."""
    child = between(rng, 0, 1) < 0.12
    height = between(rng, 1.15, 1.4) if child else between(rng, 1.55, 1.95)
    girth = between(rng, 0.88, 1.2)
    skin, top, bottom = pick(rng, SKIN, 0.03), pick(rng, CLOTHES), pick(rng, TROUSERS)
    shoe = pick(rng, ((0.08, 0.08, 0.08), (0.85, 0.85, 0.85), (0.4, 0.25, 0.15)))
    outfit = between(rng, 0, 1)
    stride = between(rng, 0.05, 0.42) if between(rng, 0, 1) < 0.8 else 0.03
    swing = stride if between(rng, 0, 1) < 0.5 else -stride
    parts: list[Mesh] = []
    bare = outfit < 0.2
    for side, phase in ((-1.0, swing), (1.0, -swing)):
        hip = (0.0, side * 0.09 * girth, 0.94)
        knee = (phase * 0.55 + 0.04, side * 0.095, 0.5)
        foot = (
            phase * 1.0 - (0.05 if phase < 0 else 0.0),
            side * 0.095,
            0.08 + (0.05 if phase < -0.2 else 0.0),
        )
        parts += _limb((hip, knee, foot), 0.088 * girth, (bottom, skin if bare else bottom), 0.74)
        parts.append(box((foot[0] + 0.06, foot[1], foot[2] - 0.035), (0.27, 0.095, 0.09), shoe, taper=0.8))
    lean = stride * 0.1
    parts.append(_torso((0.0, 0.0, 0.88), (lean, 0.0, 1.5), 0.125 * girth, 0.195 * girth, top))
    if outfit < 0.2:
        parts.append(lathe((0, 0, 0), ((0.27, 0.5), (0.2, 0.8), (0.15, 1.02)), bottom, 10))
    elif outfit < 0.42:
        parts.append(lathe((0, 0, 0), ((0.25, 0.58), (0.22, 0.8), (0.17, 1.05)), top, 10, squash=1.1))
    parts += _arms(rng, lean, swing, girth, top, skin)
    parts.append(tube((lean, 0, 1.46), (lean + 0.01, 0, 1.58), 0.055, skin, is_open=True))
    parts += _head(rng, (lean + 0.03, 0.0, 1.66), 0.105, skin)
    parts += _baggage(rng, lean, girth)
    return transformed(merge(parts), scale=height / 1.79)


def _arms(rng: Random, lean: float, swing: float, girth: float, sleeve: Colour, skin: Colour) -> list[Mesh]:
    parts: list[Mesh] = []
    phone = between(rng, 0, 1) < 0.15
    lower = sleeve if between(rng, 0, 1) < 0.65 else skin
    for side, phase in ((-1.0, -swing), (1.0, swing)):
        shoulder = (lean, side * 0.2 * girth, 1.42)
        elbow = (lean + phase * 0.35 - 0.03, side * 0.26 * girth, 1.14)
        hand = (lean + phase * 0.8 + 0.1, side * 0.25 * girth, 0.9)
        if phone and side > 0:
            elbow, hand = (lean + 0.05, 0.25 * girth, 1.14), (lean + 0.3, 0.12, 1.28)
            parts.append(box((hand[0] + 0.03, hand[1], hand[2] + 0.05), (0.02, 0.07, 0.14), (0.05, 0.05, 0.06)))
        parts += _limb((shoulder, elbow, hand), 0.058 * girth, (sleeve, lower), 0.78)
        parts.append(box(hand, (0.07, 0.055, 0.1), skin, taper=0.8))
    return parts


def _baggage(rng: Random, lean: float, girth: float) -> list[Mesh]:
    kind, colour = between(rng, 0, 1), pick(rng, CLOTHES)
    if kind < 0.22:  # backpack
        return [box((lean - 0.19, 0, 1.2), (0.2, 0.3, 0.42), colour, taper=0.85)]
    if kind < 0.4:  # carrier bag
        return [box((0.02, 0.3 * girth, 0.66), (0.28, 0.08, 0.3), colour, taper=0.9)]
    if kind < 0.48:  # rolling suitcase
        case = box((-0.45, 0.25, 0.36), (0.24, 0.38, 0.56), colour)
        return [case, tube((-0.42, 0.25, 0.62), (-0.1, 0.27, 0.86), 0.014, (0.3, 0.3, 0.3), sides=4)]
    return []


def cyclist(rng: Random) -> Mesh:
    """A person on a bicycle: upright or leaning, with or without a helmet, backpack, rack box or basket."""
    frame, skin, top, bottom = pick(rng, PAINT), pick(rng, SKIN), pick(rng, CLOTHES), pick(rng, TROUSERS)
    parts = _bicycle(rng, frame)
    lean = between(rng, 0.05, 0.42)
    hip, neck = (-0.2, 0.0, 0.98), (-0.2 + lean, 0.0, 1.56 - lean * 0.35)
    parts.append(_torso(hip, neck, 0.135, 0.195, top))
    crank = between(rng, 0, 2 * math.pi)
    for side, angle in ((-1.0, crank), (1.0, crank + math.pi)):
        foot = (0.0 + 0.17 * math.cos(angle), side * 0.12, 0.3 + 0.17 * math.sin(angle))
        knee = ((hip[0] + foot[0]) / 2 + 0.27, side * 0.12, (hip[2] + foot[2]) / 2 + 0.1)
        parts += _limb(((hip[0], side * 0.1, hip[2]), knee, foot), 0.085, (bottom, bottom), 0.72)
        parts.append(box((foot[0] + 0.05, foot[1], foot[2] - 0.02), (0.26, 0.09, 0.08), (0.1, 0.1, 0.1)))
        shoulder = (neck[0], side * 0.2, neck[2] - 0.1)
        elbow = (neck[0] + 0.16, side * 0.28, neck[2] - 0.32)
        parts += _limb((shoulder, elbow, (0.44, side * 0.24, 1.06)), 0.055, (top, skin), 0.8)
    helmet = pick(rng, CLOTHES) if between(rng, 0, 1) < 0.6 else None
    parts.append(tube(neck, (neck[0] + 0.04, 0, neck[2] + 0.1), 0.055, skin, is_open=True))
    parts += _head(rng, (neck[0] + 0.07, 0.0, neck[2] + 0.17), 0.105, skin, helmet)
    extra = between(rng, 0, 1)
    if extra < 0.25:
        parts.append(box((-0.32, 0, 1.3), (0.22, 0.3, 0.4), pick(rng, CLOTHES), taper=0.85))
    elif extra < 0.45:  # box on the rack
        parts.append(box((-0.62, 0, 1.05), (0.42, 0.42, 0.42), pick(rng, CLOTHES)))
    return transformed(merge(parts), scale=between(rng, 0.95, 1.07))


def _bicycle(rng: Random, frame: Colour) -> list[Mesh]:
    metal = (0.45, 0.45, 0.47)
    rear, front = (-0.54, 0.0, 0.35), (0.54, 0.0, 0.35)
    seat, head, pedal = (-0.22, 0.0, 0.9), (0.4, 0.0, 0.92), (0.0, 0.0, 0.3)
    parts = [hoop(rear, 0.32, 0.028, RUBBER), hoop(front, 0.32, 0.028, RUBBER)]
    for start, end, radius in (
        (seat, pedal, 0.024),
        (pedal, head, 0.026),
        ((-0.2, 0, 0.82), head, 0.024),
        (rear, pedal, 0.017),
        (rear, seat, 0.017),
        (head, front, 0.022),
        (head, (0.38, 0, 1.05), 0.018),
    ):
        parts.append(tube(start, end, radius, frame, sides=4, is_open=True))
    for centre in (rear, front):
        for spoke in range(3):
            angle = math.pi * spoke / 3 + 0.4
            dx, dz = 0.31 * math.cos(angle), 0.31 * math.sin(angle)
            start, end = (centre[0] - dx, 0.0, centre[2] - dz), (centre[0] + dx, 0.0, centre[2] + dz)
            parts.append(tube(start, end, 0.006, metal, sides=3, is_open=True))
    parts.append(tube((0.42, -0.3, 1.05), (0.42, 0.3, 1.05), 0.016, metal, sides=4))
    parts.append(box((-0.24, 0, 0.94), (0.26, 0.16, 0.06), (0.08, 0.08, 0.08)))
    parts.append(box((0.5, 0, 0.95), (0.05, 0.07, 0.07), (1.0, 0.97, 0.85), glow=0.8))
    parts.append(box((-0.62, 0, 0.78), (0.03, 0.08, 0.06), (0.9, 0.08, 0.08), glow=0.7))
    if between(rng, 0, 1) < 0.3:
        parts.append(box((0.66, 0, 0.92), (0.28, 0.36, 0.24), (0.4, 0.32, 0.22), taper=1.15))
    return parts
