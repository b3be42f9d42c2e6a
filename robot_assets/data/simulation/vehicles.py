"""Cars and delivery robots.

A builder takes a random generator and returns a mesh that faces +x and stands on z = 0.
"""

from __future__ import annotations

import numpy as np

from robot_assets.data.simulation.palette import CLOTHES, GLASS, PAINT, RUBBER, Random, between, pick
from robot_assets.data.simulation.shapes import (
    Colour,
    Mesh,
    Point,
    ball,
    box,
    disc,
    lathe,
    loft,
    merge,
    transformed,
    tube,
    wheel,
)

_CARS = {  # length, width, height in metres; bonnet end, windscreen top, roof end, tail as shares from the front
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
        parts.append(
            box(
                ((rear - length / 2 * 0.97) / 2, 0, (belt + height) / 2 - 0.04),
                (length * 0.42, width * 0.93, height - belt - 0.14),
                paint,
                taper=0.94,
            )
        )
    radius = 0.3 + 0.04 * (height - 1.4)
    hub = pick(rng, ((0.65, 0.66, 0.68), (0.2, 0.2, 0.22)))
    for share in (0.18, 0.81):
        x = length * (0.5 - share)
        for side in (-1, 1):
            y = side * (width / 2 - 0.09)
            parts.append(disc((x, side * (width / 2 + 0.004), radius + 0.02), radius + 0.07, side, (0.05, 0.05, 0.05)))
            parts.append(wheel((x, y + side * 0.02, radius), radius, 0.2, side, RUBBER, hub))
    parts += _car_lights(rng, length, width, belt)
    return merge(parts)


def _car_body(length: float, width: float, belt: float, bonnet: float, tail: float, paint: Colour) -> Mesh:
    """Build the body below the windows, lofted from the tail to the nose."""
    stations = (  # share from the front, top, bottom, half width
        (1.0, belt * 0.82, 0.36, 0.42),
        (0.975, belt * 0.97, 0.24, 0.47),
        (0.9, belt, 0.2, 0.495),
        (tail - 0.2, belt * 1.0, 0.19, 0.5),
        (bonnet + 0.1, belt, 0.19, 0.5),
        (bonnet - 0.02, belt * 0.96, 0.19, 0.5),
        (0.1, belt * 0.86, 0.2, 0.49),
        (0.03, belt * 0.76, 0.22, 0.45),
        (0.0, belt * 0.62, 0.32, 0.38),
    )
    rings = np.empty((len(stations), 10, 3), np.float32)
    for ring, (share, top, low, half) in zip(rings, stations, strict=True):
        w, middle = half * width, low + (top - low) * 0.55
        # Counter-clockwise seen from the nose; +y is on the driver's left.
        outline = (
            (-w * 0.9, low),
            (w * 0.9, low),
            (w, low + 0.1),
            (w, middle),
            (w * 0.96, top - 0.05),
            (w * 0.84, top),
            (-w * 0.84, top),
            (-w * 0.96, top - 0.05),
            (-w, middle),
            (-w, low + 0.1),
        )
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

    def frame(x_low: float, x_high: float) -> list[Point]:
        return [(x_low, s * low, belt - 0.03) for s in (-1, 1)] + [(x_high, s * high, top) for s in (1, -1)]

    back, front = frame(tail, roof), frame(bonnet, screen)
    rings = np.array([back, [((p[0] + q[0]) / 2, p[1], p[2]) for p, q in zip(back, front, strict=True)], front])
    parts = [loft(rings.astype(np.float32), GLASS), _car_roof(roof, screen, top, high, paint)]
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


def _car_roof(rear: float, front: float, top: float, half_width: float, paint: Colour) -> Mesh:
    stations = (
        (rear - 0.06, half_width * 0.98),
        (rear + 0.12, half_width * 1.05),
        (front - 0.1, half_width * 1.05),
        (front + 0.04, half_width * 0.98),
    )
    outline = ((-1, top - 0.03), (1, top - 0.03), (0.75, top + 0.05), (-0.75, top + 0.05))
    rings = [[(x, s * half, z) for s, z in outline] for x, half in stations]
    return loft(np.array(rings, np.float32), paint)


def _car_lights(rng: Random, length: float, width: float, belt: float) -> list[Mesh]:
    on = 0.85 if between(rng, 0, 1) < 0.5 else 0.25
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
    return parts


def robot(rng: Random) -> Mesh:
    """A delivery robot: a low six-wheeled carrier, a tall cabinet with a screen, or a walking quadruped."""
    kind = int(rng.choice(3, p=[0.45, 0.35, 0.2]))
    build = (_carrier, _cabinet, _quadruped)[kind]
    return transformed(merge(build(rng)), scale=between(rng, 0.92, 1.15))


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
    outline = (
        (-0.42, 0.24),
        (-0.36, 0.27),
        (0.36, 0.27),
        (0.42, 0.24),
        (0.42, -0.24),
        (0.36, -0.27),
        (-0.36, -0.27),
        (-0.42, -0.24),
    )[::-1]
    rings = np.array(
        [
            [(x * s, y * s, z) for x, y in outline]
            for z, s in ((0.2, 0.9), (0.26, 1.0), (0.44, 1.02), (0.56, 0.94), (0.6, 0.8))
        ],
        np.float32,
    )
    parts = [loft(rings, shell), box((0, 0, 0.455), (0.86, 0.56, 0.025), dark)]
    parts.append(box((0.41, 0, 0.35), (0.05, 0.36, 0.14), dark))
    parts += [box((0.435, s * 0.13, 0.36), (0.02, 0.06, 0.05), (0.95, 0.97, 1.0), glow=0.8) for s in (-1, 1)]
    parts += [box((-0.42, s * 0.16, 0.4), (0.03, 0.1, 0.04), (0.9, 0.1, 0.08), glow=0.7) for s in (-1, 1)]
    for x in (-0.29, 0.02, 0.31):
        parts += [wheel((x, s * 0.28, 0.12), 0.12, 0.1, s, RUBBER, (0.5, 0.5, 0.52)) for s in (-1, 1)]
    if between(rng, 0, 1) < 0.75:
        parts.append(tube((-0.36, 0.2, 0.56), (-0.38, 0.2, 1.2), 0.012, dark, sides=4))
        parts.append(box((-0.46, 0.2, 1.13), (0.17, 0.012, 0.13), pick(rng, ((0.95, 0.35, 0.1), (0.9, 0.1, 0.1)))))
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
    dark, step = (0.12, 0.12, 0.13), between(rng, -0.12, 0.12)
    parts = [
        box((0, 0, 0.62), (0.86, 0.24, 0.17), shell, taper=0.85),
        box((0, 0, 0.62), (0.98, 0.17, 0.11), dark),
    ]
    parts.append(box((0.5, 0, 0.64), (0.12, 0.2, 0.14), shell))
    if between(rng, 0, 1) < 0.7:  # parcel on its back
        parts.append(box((-0.05, 0, 0.82), (0.46, 0.32, 0.24), pick(rng, ((0.7, 0.53, 0.34), (0.2, 0.5, 0.75)))))
    for x, phase in ((0.34, step), (-0.34, -step)):
        for side, sign in ((-1, 1), (1, -1)):
            hip, knee = (x, side * 0.2, 0.62), (x - 0.16 + phase * sign, side * 0.21, 0.34)
            foot = (x + phase * 1.5 * sign, side * 0.21, 0.03)
            parts.append(tube(hip, knee, 0.055, shell, tip=0.75, sides=6))
            parts.append(tube(knee, foot, 0.038, dark, tip=0.8, sides=6))
            parts.append(ball(hip, (0.08, 0.06, 0.08), dark, 6))
    return parts
