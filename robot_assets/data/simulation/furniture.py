"""Street furniture: trees, lamps, signs, bollards, benches, planters and scooters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from robot_assets.data.simulation.palette import PAINT, RUBBER, Random, pick
from robot_assets.data.simulation.render import Scene
from robot_assets.data.simulation.shapes import (
    Light,
    Mesh,
    ball,
    box,
    face_areas,
    lathe,
    merge,
    normals,
    transformed,
    tube,
    vertex_colours,
)
from robot_assets.data.simulation.street import StreetLayout


def tree(rng: Random) -> Mesh:
    """A street tree: a trunk, and a crown of rough lumps."""
    bark, green = (
        (0.3, 0.24, 0.18),
        pick(rng, ((0.2, 0.36, 0.12), (0.28, 0.4, 0.14), (0.42, 0.36, 0.12), (0.5, 0.28, 0.1)), 0.03),
    )
    height = float(rng.uniform(2.3, 3.2))
    parts = [tube((0, 0, 0), (0.05, 0.02, height), 0.13, bark, tip=0.7, sides=6)]
    for _ in range(4):
        reach = float(rng.uniform(0.8, 1.3))
        centre = (
            float(rng.uniform(-0.9, 0.9)),
            float(rng.uniform(-0.9, 0.9)),
            height + float(rng.uniform(0.2, 1.8)),
        )
        lump = ball(centre, (reach, reach, reach * 0.8), green, 7)
        rough = 1 + (rng.random((len(lump.points), 1), dtype=np.float32) - np.float32(0.5)) * np.float32(0.3)
        tone = 1 + (rng.random((len(lump.points), 1), dtype=np.float32) - np.float32(0.5)) * np.float32(0.7)
        middle = np.array(centre, np.float32)
        parts.append(Mesh(middle + (lump.points - middle) * rough, lump.triangles, lump.colours * tone, lump.glow))
    return merge(parts)


def lamp(rng: Random) -> Mesh:
    """A street lamp whose arm reaches over the road."""
    grey = pick(rng, ((0.25, 0.27, 0.28), (0.5, 0.51, 0.52), (0.12, 0.2, 0.16)), 0.02)
    parts = [
        tube((0, 0, 0), (0, 0, 5.2), 0.09, grey, tip=0.6, sides=6),
        tube((0, 0, 0), (0, 0, 0.8), 0.13, grey, sides=6),
    ]
    parts += [
        tube((0, 0, 5.1), (0, 1.1, 5.4), 0.04, grey, sides=4),
        box((0, 1.3, 5.38), (0.22, 0.55, 0.1), (1, 0.95, 0.8), glow=0.5),
    ]
    return merge(parts)


def sign(rng: Random) -> Mesh:
    """A traffic sign on a pole."""
    face = pick(rng, ((0.1, 0.25, 0.65), (0.75, 0.08, 0.08), (0.9, 0.9, 0.9)), 0.03)
    parts = [tube((0, 0, 0), (0, 0, 2.5), 0.035, (0.5, 0.5, 0.52), sides=5)]
    parts.append(tube((-0.05, 0, 2.3), (-0.07, 0, 2.3), 0.31, face, sides=12))
    parts.append(tube((-0.071, 0, 2.3), (-0.075, 0, 2.3), 0.2, (0.92, 0.92, 0.92), sides=12))
    return merge(parts)


def bollard(rng: Random) -> Mesh:
    """A bollard, which looks like a bin or a cone from a distance."""
    colour = pick(rng, ((0.15, 0.15, 0.16), (0.5, 0.5, 0.5), (0.5, 0.14, 0.1)), 0.02)
    parts = [lathe((0, 0, 0), ((0.09, 0), (0.085, 0.82), (0.1, 0.84), (0.1, 0.9), (0.05, 0.95)), colour, 8)]
    parts.append(lathe((0, 0, 0.66), ((0.088, 0), (0.088, 0.1)), (0.88, 0.88, 0.86), 8))
    return merge(parts)


def bench(rng: Random) -> Mesh:
    """A bench with slats."""
    wood, iron = pick(rng, ((0.45, 0.3, 0.18), (0.3, 0.2, 0.13), (0.2, 0.3, 0.22)), 0.03), (0.15, 0.15, 0.16)
    parts = [box((0, (i - 1) * 0.15, 0.45), (1.7, 0.12, 0.04), wood) for i in range(3)]
    parts += [box((0, -0.25, 0.6 + i * 0.14), (1.7, 0.04, 0.1), wood) for i in range(2)]
    parts += [box((s * 0.7, -0.03, 0.22), (0.06, 0.45, 0.44), iron) for s in (-1, 1)]
    parts += [box((s * 0.7, -0.27, 0.6), (0.06, 0.05, 0.4), iron) for s in (-1, 1)]
    return merge(parts)


def planter(rng: Random) -> Mesh:
    """A planter with flowers."""
    tub = pick(rng, ((0.55, 0.52, 0.48), (0.5, 0.3, 0.22), (0.25, 0.26, 0.28)), 0.03)
    parts = [box((0, 0, 0.24), (0.62, 0.62, 0.48), tub, taper=1.15)]
    for _ in range(4):
        x, y = (float(v) for v in rng.uniform(-0.2, 0.2, 2))
        parts.append(ball((x, y, 0.6), (0.22, 0.22, 0.2), pick(rng, ((0.2, 0.38, 0.14), (0.3, 0.42, 0.18))), 6))
        parts.append(ball((x * 1.3, y * 1.3, 0.78), (0.07, 0.07, 0.06), pick(rng, PAINT), 5))
    return merge(parts)


def scooter(rng: Random) -> Mesh:
    """A parked kick scooter."""
    paint = pick(rng, ((0.9, 0.4, 0.1), (0.2, 0.7, 0.4), (0.15, 0.15, 0.16)), 0.03)
    parts = [
        box((0, 0, 0.13), (0.9, 0.16, 0.05), paint),
        tube((0.45, 0, 0.1), (0.36, 0, 1.1), 0.03, paint, sides=5),
    ]
    parts.append(tube((0.36, -0.25, 1.1), (0.36, 0.25, 1.1), 0.018, RUBBER, sides=4))
    parts += [tube((x, -0.03, 0.1), (x, 0.03, 0.1), 0.1, RUBBER, sides=9) for x in (-0.45, 0.47)]
    return merge(parts)


@dataclass(frozen=True)
class Prop:
    """A static object of a session, without a box.

    ``is_near``: on the robot's side of the road, where it casts a shadow and may occlude actors. ``class_name``: its
    class in class masks.
    """

    geometry: Any
    class_name: str
    x: float
    y: float
    z: float
    is_near: bool


def place_props(rng: Random, scene: Scene, layout: StreetLayout, light: Light, travel: float) -> list[Prop]:
    """Choose and place the props along the street, ordered by x."""
    props: list[Prop] = []
    kerb_row, far_row = layout.kerb - 0.35, layout.far_kerb + 0.5
    wall_row = -layout.half_width + 0.35

    def models(build: Callable[[Random], Mesh], count: int, turn: float = 0.0) -> list[Any]:
        made = []
        for _ in range(count):
            mesh = transformed(build(rng), turn=turn if layout.side > 0 else -turn)
            if layout.side < 0:
                mesh = Mesh(
                    mesh.points * np.array([1, -1, 1], np.float32),
                    mesh.triangles[:, ::-1],
                    mesh.colours,
                    mesh.glow,
                )
            colours = vertex_colours(mesh, normals(mesh, face_areas(mesh)), light)
            made.append(scene.geometry(mesh.points, mesh.triangles, colours))
        return made

    def row(
        choices: list[Any],
        y: float,
        step: tuple[float, float],
        wander: float,
        is_near: bool = True,
        class_name: str = "obstacle",
    ) -> None:
        x = float(rng.uniform(1, step[1]))
        while x < travel + 60:
            across = y + float(rng.uniform(-wander, wander))
            choice = choices[int(rng.integers(len(choices)))]
            props.append(Prop(choice, class_name, x, across * layout.side, 0.0, is_near))
            x += float(rng.uniform(*step))

    if rng.random() < 0.75:
        trees = models(tree, 3)
        row(trees, kerb_row, (9, 16), 0.1, class_name="vegetation")
        row(trees, far_row + 0.4, (13, 22), 0.2, is_near=False, class_name="vegetation")
    row(models(lamp, 1), kerb_row, (22, 28), 0.0)
    row(models(sign, 2), kerb_row, (18, 45), 0.1)
    if rng.random() < 0.5:
        row(models(bollard, 1), kerb_row + 0.15, (3, 9), 0.0)
    row(models(bench, 1) + models(planter, 2), wall_row, (9, 26), 0.0)
    row(models(scooter, 2, 1.2), wall_row + 0.2, (18, 50), 0.2)
    return sorted(props, key=lambda prop: (prop.x, prop.y))
