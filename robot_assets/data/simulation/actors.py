"""The labelled actors: pedestrian, cyclist, car, robot, cone and bin, each out of several primitives.

Every builder takes a random generator and returns a mesh that faces +x and stands on z = 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from robot_assets.data.simulation.shapes import (
    Colour,
    Mesh,
    Point,
    ball,
    box,
    disc,
    hoop,
    lathe,
    loft,
    merge,
    placed,
    tube,
    wheel,
)

Random = np.random.Generator

SKIN = ((0.92, 0.74, 0.62), (0.86, 0.66, 0.52), (0.72, 0.5, 0.36), (0.52, 0.34, 0.24), (0.34, 0.22, 0.16))
HAIR = ((0.08, 0.06, 0.05), (0.22, 0.14, 0.08), (0.45, 0.3, 0.16), (0.72, 0.58, 0.34), (0.6, 0.6, 0.6))
CLOTHES = (
    (0.75, 0.12, 0.12), (0.12, 0.2, 0.55), (0.1, 0.42, 0.25), (0.85, 0.72, 0.15), (0.9, 0.9, 0.88),
    (0.12, 0.12, 0.14), (0.45, 0.45, 0.48), (0.55, 0.35, 0.2), (0.5, 0.18, 0.45), (0.9, 0.45, 0.15),
    (0.3, 0.6, 0.75), (0.78, 0.7, 0.58), (0.85, 0.5, 0.58), (0.2, 0.28, 0.2),
)  # fmt: skip
TROUSERS = (
    (0.1, 0.12, 0.2), (0.15, 0.22, 0.4), (0.12, 0.12, 0.12), (0.35, 0.34, 0.34), (0.62, 0.54, 0.42),
    (0.3, 0.22, 0.16), (0.25, 0.35, 0.5),
)  # fmt: skip
PAINT = (
    (0.86, 0.87, 0.88), (0.62, 0.64, 0.67), (0.3, 0.31, 0.33), (0.08, 0.08, 0.09), (0.62, 0.07, 0.08),
    (0.1, 0.2, 0.5), (0.15, 0.32, 0.45), (0.12, 0.3, 0.2), (0.8, 0.66, 0.2), (0.72, 0.6, 0.48), (0.8, 0.35, 0.1),
)  # fmt: skip
RUBBER = (0.06, 0.06, 0.065)
GLASS = (0.13, 0.17, 0.21)


def pick(rng: Random, choices: Sequence[Colour], spread: float = 0.05) -> Colour:
    """Choose one colour and shift it a little."""
    base = choices[int(rng.integers(len(choices)))]
    shift = rng.uniform(-spread, spread, 3)
    r, g, b = (min(max(c + float(s), 0.02), 0.97) for c, s in zip(base, shift, strict=True))
    return (r, g, b)


def _between(rng: Random, low: float, high: float) -> float:
    return float(rng.uniform(low, high))


def _head(
    rng: Random, centre: Point, radius: float, skin: Colour, helmet: Colour | None = None
) -> list[Mesh]:
    """Head with hair, a cap or a helmet."""
    x, y, z = centre
    parts = [ball(centre, (radius * 1.02, radius * 0.88, radius * 1.22), skin)]
    if helmet is not None:
        parts.append(
            ball((x - 0.01, y, z + radius * 0.45), (radius * 1.3, radius * 1.08, radius * 0.95), helmet)
        )
        return parts
    style = _between(rng, 0, 1)
    hair = pick(rng, HAIR, 0.03)
    parts.append(
        ball((x - radius * 0.25, y, z + radius * 0.35), (radius * 1.0, radius * 0.98, radius * 1.05), hair)
    )
    if style < 0.3:  # long hair
        parts.append(
            ball((x - radius * 0.7, y, z - radius * 0.7), (radius * 0.5, radius * 0.9, radius * 1.4), hair)
        )
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
    """Chain of tubes through ``points``, getting thinner; one colour a segment."""
    parts = []
    for start, end, colour in zip(points[:-1], points[1:], colours, strict=True):
        parts.append(tube(start, end, radius, colour, tip=tip, is_open=True))
        radius *= tip
    return parts


def pedestrian(rng: Random) -> Mesh:
    """A person who walks or stands, 1.15 to 1.95 m tall, in varied clothes, some with a bag or a hat."""
    child = _between(rng, 0, 1) < 0.12
    height = _between(rng, 1.15, 1.4) if child else _between(rng, 1.55, 1.95)
    girth = _between(rng, 0.88, 1.2)
    skin, top, bottom = pick(rng, SKIN, 0.03), pick(rng, CLOTHES), pick(rng, TROUSERS)
    shoe = pick(rng, ((0.08, 0.08, 0.08), (0.85, 0.85, 0.85), (0.4, 0.25, 0.15)))
    outfit = _between(rng, 0, 1)
    stride = _between(rng, 0.05, 0.42) if _between(rng, 0, 1) < 0.8 else 0.03
    swing = stride if _between(rng, 0, 1) < 0.5 else -stride
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
    return placed(merge(parts), scale=height / 1.79)


def _arms(rng: Random, lean: float, swing: float, girth: float, sleeve: Colour, skin: Colour) -> list[Mesh]:
    parts: list[Mesh] = []
    phone = _between(rng, 0, 1) < 0.15
    lower = sleeve if _between(rng, 0, 1) < 0.65 else skin
    for side, phase in ((-1.0, -swing), (1.0, swing)):
        shoulder = (lean, side * 0.2 * girth, 1.42)
        elbow = (lean + phase * 0.35 - 0.03, side * 0.26 * girth, 1.14)
        hand = (lean + phase * 0.8 + 0.1, side * 0.25 * girth, 0.9)
        if phone and side > 0:
            elbow, hand = (lean + 0.05, 0.25 * girth, 1.14), (lean + 0.3, 0.12, 1.28)
            parts.append(
                box((hand[0] + 0.03, hand[1], hand[2] + 0.05), (0.02, 0.07, 0.14), (0.05, 0.05, 0.06))
            )
        parts += _limb((shoulder, elbow, hand), 0.058 * girth, (sleeve, lower), 0.78)
        parts.append(box(hand, (0.07, 0.055, 0.1), skin, taper=0.8))
    return parts


def _baggage(rng: Random, lean: float, girth: float) -> list[Mesh]:
    kind, colour = _between(rng, 0, 1), pick(rng, CLOTHES)
    if kind < 0.22:  # backpack
        return [box((lean - 0.19, 0, 1.2), (0.2, 0.3, 0.42), colour, taper=0.85)]
    if kind < 0.4:  # carrier bag
        return [box((0.02, 0.3 * girth, 0.66), (0.28, 0.08, 0.3), colour, taper=0.9)]
    if kind < 0.48:  # rolling suitcase
        case = box((-0.45, 0.25, 0.36), (0.24, 0.38, 0.56), colour)
        return [case, tube((-0.42, 0.25, 0.62), (-0.1, 0.27, 0.86), 0.014, (0.3, 0.3, 0.3), sides=4)]
    return []


def cyclist(rng: Random) -> Mesh:
    """A person who rides a bicycle: upright or leaning, with or without a helmet, basket or child seat."""
    frame, skin, top, bottom = pick(rng, PAINT), pick(rng, SKIN), pick(rng, CLOTHES), pick(rng, TROUSERS)
    parts = _bicycle(rng, frame)
    lean = _between(rng, 0.05, 0.42)
    hip, neck = (-0.2, 0.0, 0.98), (-0.2 + lean, 0.0, 1.56 - lean * 0.35)
    parts.append(_torso(hip, neck, 0.135, 0.195, top))
    crank = _between(rng, 0, 2 * math.pi)
    for side, angle in ((-1.0, crank), (1.0, crank + math.pi)):
        foot = (0.0 + 0.17 * math.cos(angle), side * 0.12, 0.3 + 0.17 * math.sin(angle))
        knee = ((hip[0] + foot[0]) / 2 + 0.27, side * 0.12, (hip[2] + foot[2]) / 2 + 0.1)
        parts += _limb(((hip[0], side * 0.1, hip[2]), knee, foot), 0.085, (bottom, bottom), 0.72)
        parts.append(box((foot[0] + 0.05, foot[1], foot[2] - 0.02), (0.26, 0.09, 0.08), (0.1, 0.1, 0.1)))
        shoulder = (neck[0], side * 0.2, neck[2] - 0.1)
        elbow = (neck[0] + 0.16, side * 0.28, neck[2] - 0.32)
        parts += _limb((shoulder, elbow, (0.44, side * 0.24, 1.06)), 0.055, (top, skin), 0.8)
    helmet = pick(rng, CLOTHES) if _between(rng, 0, 1) < 0.6 else None
    parts.append(tube(neck, (neck[0] + 0.04, 0, neck[2] + 0.1), 0.055, skin, is_open=True))
    parts += _head(rng, (neck[0] + 0.07, 0.0, neck[2] + 0.17), 0.105, skin, helmet)
    extra = _between(rng, 0, 1)
    if extra < 0.25:
        parts.append(box((-0.32, 0, 1.3), (0.22, 0.3, 0.4), pick(rng, CLOTHES), taper=0.85))
    elif extra < 0.45:  # a courier's box on the rack
        parts.append(box((-0.62, 0, 1.05), (0.42, 0.42, 0.42), pick(rng, CLOTHES)))
    return placed(merge(parts), scale=_between(rng, 0.95, 1.07))


def _bicycle(rng: Random, frame: Colour) -> list[Mesh]:
    metal = (0.45, 0.45, 0.47)
    rear, front = (-0.54, 0.0, 0.35), (0.54, 0.0, 0.35)
    seat, head, pedal = (-0.22, 0.0, 0.9), (0.4, 0.0, 0.92), (0.0, 0.0, 0.3)
    parts = [hoop(rear, 0.32, 0.028, RUBBER), hoop(front, 0.32, 0.028, RUBBER)]
    for start, end, radius in (
        (seat, pedal, 0.024), (pedal, head, 0.026), ((-0.2, 0, 0.82), head, 0.024),
        (rear, pedal, 0.017), (rear, seat, 0.017), (head, front, 0.022), (head, (0.38, 0, 1.05), 0.018),
    ):  # fmt: skip
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
    if _between(rng, 0, 1) < 0.3:
        parts.append(box((0.66, 0, 0.92), (0.28, 0.36, 0.24), (0.4, 0.32, 0.22), taper=1.15))
    return parts


_CARS = {  # length, width, height; bonnet end, windscreen top, roof end, tail: shares from the front
    "hatch": (3.9, 1.74, 1.5, 0.27, 0.42, 0.86, 0.97),
    "sedan": (4.6, 1.82, 1.45, 0.29, 0.43, 0.7, 0.84),
    "estate": (4.6, 1.82, 1.5, 0.28, 0.42, 0.88, 0.97),
    "suv": (4.5, 1.9, 1.7, 0.27, 0.4, 0.88, 0.97),
    "van": (4.9, 1.95, 2.0, 0.14, 0.28, 0.97, 0.99),
}


def car(rng: Random) -> Mesh:
    """A hatchback, saloon, estate, SUV or van in a common colour, lights on or off."""
    name = tuple(_CARS)[int(rng.choice(5, p=[0.3, 0.24, 0.16, 0.2, 0.1]))]
    length, width, height, bonnet, screen, roof, tail = _CARS[name]
    paint = pick(rng, PAINT, 0.04)
    belt = height * (0.62 if name != "van" else 0.56)
    parts = [_car_body(length, width, belt, bonnet, tail, paint)]
    parts += _car_cabin(length, width, belt, height, (bonnet, screen, roof, tail), paint)
    if name == "van":
        rear = length * (0.5 - 0.42) - length / 2
        parts.append(box(((rear - length / 2 * 0.97) / 2, 0, (belt + height) / 2 - 0.04),
                         (length * 0.42, width * 0.93, height - belt - 0.14), paint, taper=0.94))  # fmt: skip
    radius = 0.3 + 0.04 * (height - 1.4)
    hub = pick(rng, ((0.65, 0.66, 0.68), (0.2, 0.2, 0.22)))
    for share in (0.18, 0.81):
        x = length * (0.5 - share)
        for side in (-1, 1):
            y = side * (width / 2 - 0.09)
            parts.append(
                disc((x, side * (width / 2 + 0.004), radius + 0.02), radius + 0.07, side, (0.05, 0.05, 0.05))
            )
            parts.append(wheel((x, y + side * 0.02, radius), radius, 0.2, side, RUBBER, hub))
    parts += _car_lights(rng, length, width, belt)
    return merge(parts)


def _car_body(length: float, width: float, belt: float, bonnet: float, tail: float, paint: Colour) -> Mesh:
    """Build the body below the windows, lofted from the tail to the nose."""
    stations = (  # share from the front, top, bottom, half width
        (1.0, belt * 0.82, 0.36, 0.42), (0.975, belt * 0.97, 0.24, 0.47), (0.9, belt, 0.2, 0.495),
        (tail - 0.2, belt * 1.0, 0.19, 0.5), (bonnet + 0.1, belt, 0.19, 0.5), (bonnet - 0.02, belt * 0.96, 0.19, 0.5),
        (0.1, belt * 0.86, 0.2, 0.49), (0.03, belt * 0.76, 0.22, 0.45), (0.0, belt * 0.62, 0.32, 0.38),
    )  # fmt: skip
    rings = np.empty((len(stations), 10, 3), np.float32)
    for ring, (share, top, low, half) in zip(rings, stations, strict=True):
        w, middle = half * width, low + (top - low) * 0.55
        # Counter-clockwise seen from the nose, where +y is on the left hand of the driver.
        outline = (
            (-w * 0.9, low), (w * 0.9, low), (w, low + 0.1), (w, middle), (w * 0.96, top - 0.05), (w * 0.84, top),
            (-w * 0.84, top), (-w * 0.96, top - 0.05), (-w, middle), (-w, low + 0.1),
        )  # fmt: skip
        ring[:, 0] = length * (0.5 - share)
        ring[:, 1:] = outline
    mesh = loft(rings, paint)
    colours = mesh.colours.copy()
    colours[mesh.points[:, 2] < 0.27] *= 0.35  # sills and bumpers' lower edge
    return Mesh(mesh.points, mesh.triangles, colours, mesh.glow)


def _car_cabin(
    length: float, width: float, belt: float, height: float, shares: tuple[float, ...], paint: Colour
) -> list[Mesh]:
    """Dark glass from the belt line to the roof, with a painted roof and pillars."""
    bonnet, screen, roof, tail = (length * (0.5 - share) for share in shares)
    low, high = width * 0.455, width * 0.38
    top = height - 0.05

    def frame(x_low: float, x_high: float, grow: float) -> list[Point]:
        return [(x_low, s * (low + grow), belt - 0.03) for s in (-1, 1)] + [
            (x_high, s * (high + grow), top) for s in (1, -1)
        ]

    back, front = frame(tail, roof, 0), frame(bonnet, screen, 0)
    rings = np.array(
        [back, [((p[0] + q[0]) / 2, p[1], p[2]) for p, q in zip(back, front, strict=True)], front]
    )
    parts = [loft(rings.astype(np.float32), GLASS)]
    parts.append(
        loft(
            np.array(
                [
                    [(x, s * w, z) for s, z in ((-1, top - 0.03), (1, top - 0.03), (0.75, top + 0.05), (-0.75, top + 0.05))]
                    for x, w in ((roof - 0.06, high * 0.98), (roof + 0.12, high * 1.05), (screen - 0.1, high * 1.05), (screen + 0.04, high * 0.98))
                ],
                np.float32,
            ),
            paint,
        )
    )  # fmt: skip
    middle = (bonnet + tail) / 2
    for side in (-1, 1):
        for x_low, x_high in ((bonnet, screen), (middle, middle - 0.05), (tail, roof)):
            parts.append(
                tube(
                    (x_low, side * low * 1.005, belt - 0.03),
                    (x_high, side * high * 1.005, top),
                    0.035,
                    paint,
                    sides=4,
                )
            )
        parts.append(box((bonnet - 0.25, side * (width / 2 + 0.07), belt + 0.05), (0.12, 0.16, 0.12), paint))
    return parts


def _car_lights(rng: Random, length: float, width: float, belt: float) -> list[Mesh]:
    on = 0.85 if _between(rng, 0, 1) < 0.5 else 0.25
    nose, tail, z = length / 2, -length / 2, belt * 0.68
    parts = [
        box((nose - 0.05, 0, z - 0.06), (0.1, width * 0.42, 0.12), (0.05, 0.05, 0.055)),
        box((nose - 0.06, 0, 0.36), (0.16, width * 0.66, 0.12), (0.07, 0.07, 0.075)),
        box((nose - 0.005, 0, 0.45), (0.04, 0.5, 0.11), (0.92, 0.92, 0.88)),
        box((tail + 0.015, 0, 0.56), (0.05, 0.5, 0.11), (0.92, 0.9, 0.75)),
        box((tail + 0.05, 0, 0.34), (0.14, width * 0.7, 0.12), (0.08, 0.08, 0.085)),
    ]
    for side in (-1, 1):
        parts.append(box((nose - 0.11, side * width * 0.35, z), (0.2, 0.34, 0.13), (1.0, 0.98, 0.9), glow=on))
        parts.append(
            box(
                (tail + 0.06, side * width * 0.39, belt * 0.78),
                (0.12, 0.24, 0.17),
                (0.75, 0.04, 0.04),
                glow=on,
            )
        )
    return parts  # fmt: skip


def robot(rng: Random) -> Mesh:
    """A delivery robot: a low six-wheeled carrier, a tall cabinet with a screen, or a walking quadruped."""
    kind = int(rng.choice(3, p=[0.45, 0.35, 0.2]))
    build = (_carrier, _cabinet, _quadruped)[kind]
    return placed(merge(build(rng)), scale=_between(rng, 0.92, 1.15))


_SHELL = (
    (0.9, 0.9, 0.92),
    (0.88, 0.88, 0.86),
    (0.95, 0.75, 0.15),
    (0.2, 0.55, 0.8),
    (0.85, 0.3, 0.2),
    (0.3, 0.7, 0.5),
)


def _carrier(rng: Random) -> list[Mesh]:
    shell, dark = pick(rng, _SHELL, 0.03), (0.1, 0.1, 0.11)
    outline = ((-0.42, 0.24), (-0.36, 0.27), (0.36, 0.27), (0.42, 0.24), (0.42, -0.24), (0.36, -0.27), (-0.36, -0.27),
               (-0.42, -0.24))[::-1]  # fmt: skip
    rings = np.array(
        [[(x * s, y * s, z) for x, y in outline] for z, s in ((0.2, 0.9), (0.26, 1.0), (0.44, 1.02), (0.56, 0.94), (0.6, 0.8))],
        np.float32,
    )  # fmt: skip
    parts = [loft(rings, shell), box((0, 0, 0.455), (0.86, 0.56, 0.025), dark)]
    parts.append(box((0.41, 0, 0.35), (0.05, 0.36, 0.14), dark))
    parts += [box((0.435, s * 0.13, 0.36), (0.02, 0.06, 0.05), (0.95, 0.97, 1.0), glow=0.8) for s in (-1, 1)]
    parts += [box((-0.42, s * 0.16, 0.4), (0.03, 0.1, 0.04), (0.9, 0.1, 0.08), glow=0.7) for s in (-1, 1)]
    for x in (-0.29, 0.02, 0.31):
        parts += [wheel((x, s * 0.28, 0.12), 0.12, 0.1, s, RUBBER, (0.5, 0.5, 0.52)) for s in (-1, 1)]
    if _between(rng, 0, 1) < 0.75:
        parts.append(tube((-0.36, 0.2, 0.56), (-0.38, 0.2, 1.2), 0.012, dark, sides=4))
        parts.append(
            box((-0.46, 0.2, 1.13), (0.17, 0.012, 0.13), pick(rng, ((0.95, 0.35, 0.1), (0.9, 0.1, 0.1))))
        )
    return parts


def _cabinet(rng: Random) -> list[Mesh]:
    shell, accent, dark = pick(rng, _SHELL, 0.03), pick(rng, CLOTHES), (0.08, 0.08, 0.09)
    parts = [box((0, 0, 0.58), (0.62, 0.54, 0.78), shell, taper=0.93)]
    parts.append(box((0, 0, 0.22), (0.68, 0.58, 0.14), dark))
    parts.append(box((0, 0, 0.99), (0.5, 0.44, 0.06), accent, taper=0.85))
    parts.append(box((0.3, 0, 0.78), (0.03, 0.36, 0.24), dark))
    parts += [ball((0.32, s * 0.09, 0.79), (0.02, 0.045, 0.06), (0.4, 0.95, 1.0), 6) for s in (-1, 1)]
    parts += [box((0, s * 0.265, 0.55), (0.4, 0.02, 0.34), accent) for s in (-1, 1)]
    parts.append(lathe((0.05, 0, 1.02), ((0.09, 0.0), (0.09, 0.1), (0.06, 0.13)), dark, 8))
    for x in (-0.22, 0.22):
        parts += [wheel((x, s * 0.27, 0.14), 0.14, 0.1, s, RUBBER, (0.55, 0.55, 0.57)) for s in (-1, 1)]
    return parts


def _quadruped(rng: Random) -> list[Mesh]:
    shell = pick(rng, ((0.95, 0.78, 0.1), (0.88, 0.88, 0.9), (0.25, 0.27, 0.3), (0.85, 0.3, 0.2)), 0.03)
    dark, step = (0.12, 0.12, 0.13), _between(rng, -0.12, 0.12)
    parts = [
        box((0, 0, 0.62), (0.86, 0.24, 0.17), shell, taper=0.85),
        box((0, 0, 0.62), (0.98, 0.17, 0.11), dark),
    ]
    parts.append(box((0.5, 0, 0.64), (0.12, 0.2, 0.14), shell))
    if _between(rng, 0, 1) < 0.7:  # parcel on its back
        parts.append(
            box((-0.05, 0, 0.82), (0.46, 0.32, 0.24), pick(rng, ((0.7, 0.53, 0.34), (0.2, 0.5, 0.75))))
        )
    for x, phase in ((0.34, step), (-0.34, -step)):
        for side, sign in ((-1, 1), (1, -1)):
            hip, knee = (x, side * 0.2, 0.62), (x - 0.16 + phase * sign, side * 0.21, 0.34)
            foot = (x + phase * 1.5 * sign, side * 0.21, 0.03)
            parts.append(tube(hip, knee, 0.055, shell, tip=0.75, sides=6))
            parts.append(tube(knee, foot, 0.038, dark, tip=0.8, sides=6))
            parts.append(ball(hip, (0.08, 0.06, 0.08), dark, 6))
    return parts


def cone(rng: Random) -> Mesh:
    """A traffic cone with one to three reflecting bands on a flat base."""
    height = _between(rng, 0.5, 0.95)
    colour = pick(rng, ((0.95, 0.33, 0.06), (0.93, 0.28, 0.05), (0.9, 0.2, 0.1), (0.85, 0.85, 0.1)), 0.03)
    base = height * 0.27
    rubber = (0.07, 0.07, 0.07) if _between(rng, 0, 1) < 0.5 else colour
    parts = [box((0, 0, 0.025), (base * 2, base * 2, 0.05), rubber, taper=0.94)]

    def radius(share: float) -> float:
        return base * 0.78 * (1 - share) + 0.025 * share

    parts.append(
        lathe((0, 0, 0.04), tuple((radius(s), s * (height - 0.04)) for s in (0, 0.5, 1.0)), colour, 12)
    )
    for middle in ((0.52,), (0.38, 0.68), (0.3, 0.52, 0.74))[int(rng.integers(3))]:
        band = tuple((radius(s) + 0.006, s * (height - 0.04)) for s in (middle - 0.085, middle + 0.085))
        parts.append(lathe((0, 0, 0.04), band, (0.93, 0.93, 0.93), 12))
    return merge(parts)


def litter_bin(rng: Random) -> Mesh:
    """A bin: a wheeled household bin, a round litter bin, or a litter bin on a post."""
    kind = int(rng.choice(3, p=[0.5, 0.35, 0.15]))
    build = (_wheelie, _drum, _post_bin)[kind]
    return placed(merge(build(rng)), scale=_between(rng, 0.92, 1.12))


def _wheelie(rng: Random) -> list[Mesh]:
    body = pick(rng, ((0.14, 0.36, 0.18), (0.13, 0.25, 0.5), (0.25, 0.26, 0.28), (0.4, 0.26, 0.15)), 0.03)
    lid = (
        body
        if _between(rng, 0, 1) < 0.45
        else pick(rng, ((0.85, 0.72, 0.1), (0.15, 0.35, 0.65), (0.6, 0.12, 0.1)))
    )
    parts = [box((0, 0, 0.5), (0.46, 0.44, 0.9), body, taper=1.24)]
    parts.append(box((0, 0, 0.975), (0.62, 0.58, 0.05), lid))
    parts.append(box((0.02, 0, 1.02), (0.52, 0.5, 0.06), lid, taper=0.82))
    parts.append(box((0.285, 0, 0.8), (0.02, 0.3, 0.2), tuple(min(c * 1.5 + 0.1, 1.0) for c in body)))  # type: ignore[arg-type]
    parts.append(tube((-0.34, -0.24, 0.98), (-0.34, 0.24, 0.98), 0.022, lid, sides=5))
    parts += [wheel((-0.23, s * 0.24, 0.1), 0.1, 0.06, s, RUBBER, (0.3, 0.3, 0.3)) for s in (-1, 1)]
    return parts


def _drum(rng: Random) -> list[Mesh]:
    body = pick(rng, ((0.2, 0.22, 0.22), (0.13, 0.3, 0.2), (0.55, 0.56, 0.57), (0.38, 0.25, 0.15)), 0.03)
    parts = [lathe((0, 0, 0), ((0.26, 0.0), (0.27, 0.05), (0.27, 0.74), (0.29, 0.76), (0.29, 0.8)), body, 12)]
    parts.append(lathe((0, 0, 0.8), ((0.25, 0.0), (0.25, 0.13)), (0.03, 0.03, 0.03), 10))
    parts.append(lathe((0, 0, 0.93), ((0.3, 0.0), (0.27, 0.08), (0.15, 0.14)), body, 12))
    parts.append(
        lathe((0, 0, 0.55), ((0.276, 0.0), (0.276, 0.08)), pick(rng, ((0.85, 0.8, 0.2), (0.8, 0.8, 0.8))), 12)
    )
    return parts


def _post_bin(rng: Random) -> list[Mesh]:
    body = pick(rng, ((0.9, 0.45, 0.08), (0.12, 0.4, 0.25), (0.15, 0.3, 0.6), (0.35, 0.36, 0.38)), 0.03)
    parts = [tube((-0.22, 0, 0), (-0.22, 0, 1.25), 0.035, (0.4, 0.4, 0.42), sides=6)]
    parts.append(lathe((0, 0, 0.5), ((0.15, 0.0), (0.19, 0.06), (0.2, 0.58), (0.21, 0.6)), body, 10))
    parts.append(lathe((0, 0, 1.1), ((0.18, 0.0), (0.17, 0.01)), (0.05, 0.05, 0.05), 10))
    return parts


BUILDERS: dict[str, Callable[[Random], Mesh]] = {
    "pedestrian": pedestrian,
    "cyclist": cyclist,
    "car": car,
    "robot": robot,
    "cone": cone,
    "bin": litter_bin,
}
"""Class name -> builder; the names and their order are those of ``SIMULATED_CLASSES``."""
