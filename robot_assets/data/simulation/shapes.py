"""Triangle meshes from boxes, tubes, ellipsoids and lofts, with lighting baked into vertex colours.

No pixel depends on a BLAS product or on a transcendental function of NumPy: their last bit varies between
processors, and the same seed has to give the same bytes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]
Colour = tuple[float, float, float]
Point = tuple[float, float, float]


@dataclass(frozen=True)
class Mesh:
    """A triangle mesh.

    Attributes:
        points: float32 (n, 3), metres.
        triangles: int32 (m, 3), counter-clockwise seen from outside.
        colours: float32 (n, 3), albedo RGB in [0, 1].
        glow: float32 (n,), 0 for a lit surface, 1 for an emissive one (a lamp).
    """

    points: Floats
    triangles: Ints
    colours: Floats
    glow: Floats


@dataclass(frozen=True)
class Light:
    """Sun and sky of one session.

    Attributes:
        towards_sun: unit vector.
        sun: RGB of direct light.
        sky: RGB of light from above.
        ground: RGB of light reflected by the ground.
    """

    towards_sun: Point
    sun: Colour
    sky: Colour
    ground: Colour


def merge(parts: Sequence[Mesh]) -> Mesh:
    """Merge meshes into one."""
    offsets = np.cumsum([0] + [len(part.points) for part in parts[:-1]])
    return Mesh(
        np.concatenate([part.points for part in parts]),
        np.concatenate([part.triangles + np.int32(o) for part, o in zip(parts, offsets, strict=True)]),
        np.concatenate([part.colours for part in parts]),
        np.concatenate([part.glow for part in parts]),
    )


def transformed(mesh: Mesh, turn: float = 0.0, move: Point = (0.0, 0.0, 0.0), scale: float = 1.0) -> Mesh:
    """Scale, then rotate about z by ``turn`` radians, then translate by ``move``."""
    cos, sin = math.cos(turn) * scale, math.sin(turn) * scale
    x, y, z = mesh.points.T
    points = np.stack([x * cos - y * sin + move[0], x * sin + y * cos + move[1], z * scale + move[2]], axis=1)
    return Mesh(points.astype(np.float32), mesh.triangles, mesh.colours, mesh.glow)


def _coloured(points: Floats, triangles: Ints, colour: Colour, glow: float = 0.0) -> Mesh:
    colours = np.empty((len(points), 3), np.float32)
    colours[:] = colour
    return Mesh(points, triangles, colours, np.full(len(points), glow, np.float32))


_CORNERS = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)], np.float32)
_FACES = ((0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3))
_BOX_POINTS = _CORNERS[np.array(_FACES).ravel()]
_BOX_TRIANGLES = np.array([[4 * f + i for i in t] for f in range(6) for t in ((0, 1, 2), (0, 2, 3))], np.int32)


def box(centre: Point, size: Point, colour: Colour, *, taper: float = 1.0, glow: float = 0.0) -> Mesh:
    """Build a box whose top is ``taper`` times as wide as its bottom."""
    points = _BOX_POINTS * np.asarray(size, np.float32)
    if taper != 1.0:
        points[_BOX_POINTS[:, 2] > 0, :2] *= np.float32(taper)
    return _coloured(points + np.asarray(centre, np.float32), _BOX_TRIANGLES, colour, glow)


@lru_cache(maxsize=64)
def _circle(sides: int) -> Floats:
    angles = [2 * math.pi * i / sides for i in range(sides)]
    return np.array([[math.cos(a), math.sin(a)] for a in angles], np.float32)


@lru_cache(maxsize=64)
def _ring_triangles(rings: int, sides: int) -> Ints:
    """Triangles between consecutive rings, and triangle fans that close both ends."""
    triangles = []
    for ring in range(rings - 1):
        for side in range(sides):
            a, b = ring * sides + side, ring * sides + (side + 1) % sides
            triangles += [(a, b, b + sides), (a, b + sides, a + sides)]
    first, last = rings * sides, rings * sides + 1
    top = (rings - 1) * sides
    for side in range(sides):
        after = (side + 1) % sides
        triangles += [(first, after, side), (last, top + side, top + after)]
    return np.array(triangles, np.int32)


def loft(rings: Floats, colour: Colour, *, is_open: bool = False) -> Mesh:
    """Connect a stack of rings, float32 (rings, sides, 3), and close both ends unless ``is_open``.

    Rings are counter-clockwise seen from the last ring.
    """
    count, sides, _ = rings.shape
    if is_open:
        skin = _ring_triangles(count, sides)[: 2 * sides * (count - 1)]
        return _coloured(np.ascontiguousarray(rings.reshape(-1, 3)), skin, colour)
    ends = rings[:: count - 1].mean(axis=1)
    points = np.concatenate([rings.reshape(-1, 3), ends])
    return _coloured(points, _ring_triangles(count, sides), colour)


def lathe(
    centre: Point,
    profile: Sequence[tuple[float, float]],
    colour: Colour,
    sides: int = 10,
    squash: float = 1.0,
) -> Mesh:
    """Rotate a profile of (radius, height) about z; ``squash`` scales the result along y."""
    circle = _circle(sides) * np.array([1.0, squash], np.float32)
    rings = np.empty((len(profile), sides, 3), np.float32)
    for ring, (radius, height) in zip(rings, profile, strict=True):
        ring[:, :2] = circle * np.float32(radius)
        ring[:, 2] = height
    return loft(rings + np.asarray(centre, np.float32), colour)


_BALL = [(math.sin(math.pi * i / 5), -math.cos(math.pi * i / 5)) for i in range(1, 5)]


def ball(centre: Point, radii: Point, colour: Colour, sides: int = 8) -> Mesh:
    """Build an ellipsoid."""
    rings = np.empty((len(_BALL), sides, 3), np.float32)
    for ring, (radius, height) in zip(rings, _BALL, strict=True):
        ring[:, :2] = _circle(sides) * np.float32(radius)
        ring[:, 2] = height
    rings *= np.asarray(radii, np.float32)
    return loft(rings + np.asarray(centre, np.float32), colour)


def tube(
    start: Point,
    end: Point,
    radius: float,
    colour: Colour,
    *,
    tip: float = 1.0,
    sides: int = 6,
    is_open: bool = False,
) -> Mesh:
    """Build a tube from ``start`` to ``end`` whose end is ``tip`` times as thick as its start."""
    along = [e - s for s, e in zip(start, end, strict=True)]
    length = math.sqrt(sum(a * a for a in along)) or 1e-6
    w = [a / length for a in along]
    helper = (1.0, 0.0, 0.0) if abs(w[0]) < 0.8 else (0.0, 1.0, 0.0)
    u = _unit(_cross(helper, w))
    v = _cross(w, u)
    circle = _circle(sides)
    across = circle[:, :1] * np.array(u, np.float32) + circle[:, 1:] * np.array(v, np.float32)
    bottom = across * np.float32(radius) + np.array(start, np.float32)
    top = across * np.float32(radius * tip) + np.array(end, np.float32)
    return loft(np.stack([bottom, top]), colour, is_open=is_open)


def disc(centre: Point, radius: float, side: int, colour: Colour, sides: int = 10) -> Mesh:
    """Build a flat disc that faces +y (``side`` 1) or -y (-1)."""
    circle = _circle(sides)
    points = np.zeros((sides + 1, 3), np.float32)
    points[:-1, 0] = circle[:, 0] * np.float32(radius)
    points[:-1, 2] = circle[:, 1] * np.float32(radius)
    fan = [(sides, (i + 1) % sides, i) if side > 0 else (sides, i, (i + 1) % sides) for i in range(sides)]
    return _coloured(points + np.asarray(centre, np.float32), np.array(fan, np.int32), colour)


def wheel(centre: Point, radius: float, width: float, side: int, tyre: Colour, hub: Colour) -> Mesh:
    """Build a wheel that rolls along x: a tyre, and a hub on the face towards ``side`` (1 is +y)."""
    x, y, z = centre
    half = width / 2
    face = y + side * half
    return merge(
        [
            tube((x, y - half, z), (x, y + half, z), radius, tyre, sides=10, is_open=True),
            disc((x, face, z), radius, side, tyre),
            disc((x, face + side * 0.012, z), radius * 0.6, side, hub, sides=7),
        ]
    )


def hoop(centre: Point, radius: float, thickness: float, colour: Colour, sides: int = 12) -> Mesh:
    """Build a thin ring in the xz plane: the rim of a bicycle wheel."""
    circle = _circle(sides)
    section = ((-1.0, -1.0), (-1.0, 1.0), (1.3, 0.0))
    rings = np.zeros((sides, len(section), 3), np.float32)
    for corner, (out, across) in enumerate(section):
        reach = np.float32(radius + out * thickness)
        rings[:, corner, 0] = circle[:, 0] * reach
        rings[:, corner, 2] = circle[:, 1] * reach
        rings[:, corner, 1] = across * thickness
    points = (rings + np.asarray(centre, np.float32)).reshape(-1, 3)
    triangles = []
    for ring in range(sides):
        for side in range(3):
            a, b = ring * 3 + side, ring * 3 + (side + 1) % 3
            c, d = (a + 3) % (sides * 3), (b + 3) % (sides * 3)
            triangles += [(a, b, d), (a, d, c)]
    return _coloured(points, np.array(triangles, np.int32), colour)


def _cross(a: Sequence[float], b: Sequence[float]) -> Point:
    return (a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0])


def _unit(a: Point) -> Point:
    length = math.sqrt(a[0] * a[0] + a[1] * a[1] + a[2] * a[2])
    return (a[0] / length, a[1] / length, a[2] / length)


def face_areas(mesh: Mesh) -> Floats:
    """Normals of the triangles, with the area in square metres as length; float32 (m, 3)."""
    a, b, c = (mesh.points[mesh.triangles[:, i]] for i in range(3))
    u, v = b - a, c - a
    halves: Floats = np.float32(0.5) * np.stack(
        [
            u[:, 1] * v[:, 2] - u[:, 2] * v[:, 1],
            u[:, 2] * v[:, 0] - u[:, 0] * v[:, 2],
            u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0],
        ],
        axis=1,
    )
    return halves


def normals(mesh: Mesh, faces: Floats) -> Floats:
    """Vertex normals, float32 (n, 3), weighted by the areas of ``faces``, from ``face_areas``."""
    count = len(mesh.points)
    index = mesh.triangles.ravel()
    total = np.stack([np.bincount(index, np.repeat(faces[:, axis], 3), minlength=count) for axis in range(3)], axis=1)
    length = np.sqrt((total * total).sum(axis=1, keepdims=True))
    unit: Floats = (total / np.maximum(length, 1e-12)).astype(np.float32)
    return unit


def vertex_colours(mesh: Mesh, normal: Floats, light: Light, turn: float = 0.0) -> NDArray[np.uint8]:
    """Vertex colours under ``light``: hemispheric sky and ground light, sun, and darkening near the ground.

    Args:
        mesh: the mesh to light.
        normal: its vertex normals, from ``normals``.
        light: sun and sky.
        turn: heading of the mesh in the scene, radians.

    Returns:
        uint8 (n, 4), RGBA.
    """
    cos, sin = math.cos(turn), math.sin(turn)
    x, y, z = light.towards_sun
    x, y = x * cos + y * sin, y * cos - x * sin
    facing = np.maximum(normal[:, 0] * np.float32(x) + normal[:, 1] * np.float32(y) + normal[:, 2] * np.float32(z), 0.0)
    up = (normal[:, 2] + np.float32(1)) * np.float32(0.5)
    near_ground = np.clip(np.float32(0.72) + mesh.points[:, 2] * np.float32(0.9), 0.72, 1.0) * (1 - mesh.glow)
    result = np.full((len(up), 4), 255, np.uint8)
    for channel in range(3):
        low, high = np.float32(light.ground[channel]), np.float32(light.sky[channel])
        arriving = low + (high - low) * up + np.float32(light.sun[channel]) * facing
        shade = mesh.colours[:, channel] * (arriving * near_ground + mesh.glow)
        result[:, channel] = np.clip(shade * np.float32(255) + np.float32(0.5), 0, 255)
    return result
