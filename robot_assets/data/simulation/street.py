"""The street of one session: ground, kerbs, road markings, houses and hedges."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from robot_assets.data.simulation.class_masks import class_index
from robot_assets.data.simulation.palette import Random, pick
from robot_assets.data.simulation.render import Scene
from robot_assets.data.simulation.shapes import Floats, Ints
from robot_assets.data.simulation.texture_library import TextureLibrary
from robot_assets.data.simulation.weather import Weather

ROAD_LEVEL = -0.12
"""Height of the road surface, metres; the sidewalk is at 0."""

_BEHIND, _AHEAD = 12.0, 110.0  # metres of street behind the first and beyond the last frame


@dataclass(frozen=True)
class StreetLayout:
    """Cross-section of a street, metres; positions are measured from the middle of the sidewalk.

    Attributes:
        side: +1 if the road is on the robot's left, -1 on its right.
        half_width: of the sidewalk.
        verge: width of the grass between sidewalk and kerb, 0 for none.
        setback: from the edge of the sidewalk to the houses.
        bike_lane: width, 0 for none.
        parking: width, 0 for none.
        lane: width of each of the two lanes.
        gardens: whether there are hedges and lawns in front of the houses.
    """

    side: int
    half_width: float
    verge: float
    setback: float
    bike_lane: float
    parking: float
    lane: float
    gardens: bool

    @property
    def kerb(self) -> float:
        """Position of the kerb."""
        return self.half_width + self.verge

    @property
    def lanes_from(self) -> float:
        """Position of the near edge of the first driving lane."""
        return self.kerb + 0.2 + self.bike_lane + self.parking

    @property
    def far_kerb(self) -> float:
        """Position of the kerb on the other side of the road."""
        return self.lanes_from + 2 * self.lane + 0.4


def choose_layout(rng: Random) -> StreetLayout:
    """Draw a random street layout."""
    gardens = bool(rng.random() < 0.4)
    return StreetLayout(
        side=1 if rng.random() < 0.5 else -1,
        half_width=float(rng.uniform(1.5, 2.4)),
        verge=float(rng.uniform(0.9, 1.6)) if rng.random() < 0.4 else 0.0,
        setback=float(rng.uniform(2.5, 5.0)) if gardens else float(rng.uniform(0.0, 0.5)),
        bike_lane=1.5 if rng.random() < 0.5 else 0.0,
        parking=2.1 if rng.random() < 0.65 else 0.0,
        lane=float(rng.uniform(2.9, 3.4)),
        gardens=gardens,
    )


@dataclass(frozen=True)
class _Cover:
    """What ground is covered with: its class, and a texture that repeats every ``metres``."""

    surface: str
    texture: Any
    metres: float


class Street:
    """Builds a street into a scene, and computes the distances of its surfaces."""

    def __init__(
        self,
        rng: Random,
        textures: TextureLibrary,
        scene: Scene,
        layout: StreetLayout,
        weather: Weather,
        travel: float,
    ) -> None:
        self._rng, self._textures, self._scene = rng, textures, scene
        self.layout, self._weather = layout, weather
        self._start, self._end = -_BEHIND, travel + _AHEAD
        # Near surfaces first: the renderer shades only pixels that pass the depth test.
        self._houses()
        self._marks()
        self._ground()

    def _shade(self, normal: tuple[float, float, float], dim: float = 1.0) -> tuple[float, float, float]:
        """RGB of the light on a surface, times ``dim``."""
        light = self._weather.light
        facing = max(sum(n * s for n, s in zip(normal, light.towards_sun, strict=True)), 0.0)
        up = (normal[2] + 1) / 2
        r, g, b = (
            min((k * up + o * (1 - up) + s * facing) * dim, 1.0)
            for k, o, s in zip(light.sky, light.ground, light.sun, strict=True)
        )
        return (r, g, b)

    def _quads(
        self,
        corners: list[list[tuple[float, float, float]]],
        uvs: list[Any],
        colours: list[Any],
        texture: Any,
        surface: str | None,
    ) -> None:
        """Add quads, each with four corners in order around it; ``surface`` is their class, None for paint."""
        points, triangles = self._mesh(corners)
        rgba = np.full((len(points), 4), 255, np.uint8)
        rgba[:, :3] = np.repeat(np.array(colours, np.float32) * 255, 4, axis=0)
        index = None if surface is None else class_index(surface)
        self._scene.add_surface(points, triangles, rgba, np.array(uvs, np.float32).reshape(-1, 2), texture, index)

    def _mesh(self, corners: list[list[tuple[float, float, float]]]) -> tuple[Floats, Ints]:
        """Points and triangles of quads, mirrored to the side of the road."""
        points = np.array(corners, np.float32).reshape(-1, 3) * np.array([1, self.layout.side, 1], np.float32)
        first = np.arange(len(corners), dtype=np.int32)[:, None] * 4
        triangles = (first[:, :, None] + np.array([[0, 1, 2], [0, 2, 3]], np.int32)[None]).reshape(-1, 3)
        return points, triangles

    def _strip(self, y: tuple[float, float], z: tuple[float, float], cover: _Cover, dim: float = 1.0) -> None:
        """Add a strip along the whole street, from (y, z) to (y, z)."""
        (y0, y1), (z0, z1), metres = y, z, cover.metres
        normal = (0.0, 0.0, 1.0) if abs(z1 - z0) < 0.01 else (0.0, 1.0 * self.layout.side, 0.0)
        corners, uvs = [], []
        reach = abs(y1 - y0) + abs(z1 - z0)
        x = self._start
        while x < self._end:
            after = min(x + 12.0, self._end)
            corners.append([(x, y0, z0), (after, y0, z0), (after, y1, z1), (x, y1, z1)])
            a, b, v = x / metres, after / metres, reach / metres
            uvs.append([(a, 0), (b, 0), (b, v), (a, v)])
            x = after
        self._quads(corners, uvs, [self._shade(normal, dim)] * len(corners), cover.texture, cover.surface)

    def _ground(self) -> None:
        rng, layout = self._rng, self.layout
        paving, lawn, stone, road = (self._textures.choose(rng, kind) for kind in ("paving", "lawn", "kerb", "asphalt"))
        wet = 0.78 if self._weather.rain else 1.0
        edge, kerb, far_kerb = layout.half_width, layout.kerb, layout.far_kerb
        walk, grass, kerbstone = _Cover("sidewalk", paving, 2.4), _Cover("grass", lawn, 3.0), _Cover("kerb", stone, 4.0)
        self._strip((-edge, edge), (0, 0), walk, wet)
        front = grass if layout.gardens else replace(walk, metres=3.0)
        self._strip((-edge - layout.setback - 0.2, -edge), (0, 0), front, wet)
        if layout.verge:
            self._strip((edge, kerb), (0, 0), grass, wet)
        self._strip((kerb, kerb + 0.18), (0.0, 0.0), kerbstone, wet)
        self._strip((kerb + 0.18, kerb + 0.2), (0.0, ROAD_LEVEL), kerbstone, 0.8 * wet)
        self._strip((kerb + 0.2, far_kerb), (ROAD_LEVEL, ROAD_LEVEL), _Cover("road", road, 5.0), wet * 0.92)
        self._strip((far_kerb, far_kerb + 0.02), (ROAD_LEVEL, 0.0), kerbstone, 0.85 * wet)
        self._strip((far_kerb, far_kerb + 3.2), (0.0, 0.0), walk, wet * 0.95)

    def _marks(self) -> None:
        """Add lane markings, the edge of a bicycle lane and zebra crossings."""
        rng, layout = self._rng, self.layout
        z = ROAD_LEVEL + 0.012
        white, bike, crossings = [], [], []
        middle = layout.lanes_from + layout.lane
        x = self._start
        while x < self._end:
            white.append((x, middle - 0.06, x + 3.0, middle + 0.06))
            x += 6.0
        if layout.parking:
            y = layout.lanes_from
            white.append((self._start, y - 0.06, self._end, y + 0.06))
        if layout.bike_lane:
            edge = layout.kerb + 0.2 + layout.bike_lane
            white.append((self._start, edge - 0.06, self._end, edge + 0.06))
            if rng.random() < 0.6:
                bike.append((self._start, layout.kerb + 0.25, self._end, edge - 0.1))
        x = float(rng.uniform(6, 30))
        while x < self._end:
            crossings.append((x, layout.kerb + 0.2, x + 3.2, layout.far_kerb))
            y = layout.kerb + 0.5
            while y < layout.far_kerb - 0.5:
                white.append((x, y, x + 3.2, y + 0.5))
                y += 1.0
            x += float(rng.uniform(45, 80))
        self._crossings(crossings, z)
        tone = self._textures.choose(rng, "paint")
        self._marking(bike, z - 0.006, tone, pick(rng, ((0.62, 0.25, 0.2), (0.25, 0.45, 0.3)), 0.03))
        self._marking(white, z, tone, (1.0, 1.0, 1.0))

    def _crossings(self, rectangles: list[tuple[float, float, float, float]], z: float) -> None:
        """Classify crossings from kerb to kerb: their stripes with the asphalt between them."""
        if rectangles:
            corners = [[(x0, y0, z), (x1, y0, z), (x1, y1, z), (x0, y1, z)] for x0, y0, x1, y1 in rectangles]
            self._scene.add_zone(*self._mesh(corners), class_index("crossing"))

    def _marking(
        self, rectangles: list[tuple[float, float, float, float]], z: float, texture: Any, colour: Any
    ) -> None:
        if not rectangles:
            return
        pieces = []
        for x0, y0, x1, y1 in rectangles:
            x = x0
            while x < x1 - 1e-3:
                after = min(x + 12.0, x1)
                pieces.append([(x, y0, z), (after, y0, z), (after, y1, z), (x, y1, z)])
                x = after
        uvs = [[(p[0] / 3, p[1] / 3) for p in piece] for piece in pieces]
        shade = tuple(s * c for s, c in zip(self._shade((0, 0, 1)), colour, strict=True))
        self._quads(pieces, uvs, [shade] * len(pieces), texture, None)

    def _houses(self) -> None:
        rng, layout = self._rng, self.layout
        walls, fronts = zip(*(self._textures.house(rng, self._weather.lit) for _ in range(2)), strict=True)
        tall = float(rng.uniform(6, 17))
        near, far = -(layout.half_width + layout.setback), layout.far_kerb + 3.2
        if layout.gardens:
            self._hedges(near)
        for wall_y, inwards in ((near, 1.0), (far, -1.0)):
            faces: list[list[Any]] = [[] for _ in range(4)]
            x, covered = self._start, 0.0
            while x < self._end:
                width = 6.0 * float(rng.integers(1, 5))
                height = 4.0 + 3.0 * max(1, round(tall * float(rng.uniform(0.6, 1.3)) / 3))
                self._house(faces, int(rng.integers(2)), (x, x + width), wall_y, inwards, (covered, height))
                gap = float(rng.uniform(1.5, 6)) if rng.random() < 0.25 else 0.0
                x, covered = x + width + gap, 0.0 if gap else height
            for index, pieces in enumerate(faces):
                if pieces:
                    corners, uvs, colours = (list(column) for column in zip(*pieces, strict=True))
                    self._quads(corners, uvs, colours, (walls + fronts)[index], "building")

    def _house(
        self,
        faces: list[list[Any]],
        style: int,
        span: tuple[float, float],
        y: float,
        inwards: float,
        heights: tuple[float, float],
    ) -> None:
        """Append front, gable and cornice of one house; ``inwards`` is the sign of y towards the street.

        Builds only faces that the camera can see: of the gables the one that faces it, above the neighbour's roof.
        """
        x0, x1 = span
        covered, height = heights
        side = self.layout.side
        tone = float(self._rng.uniform(0.88, 1.05))
        front = self._shade((0.0, inwards * side, 0.0), tone)
        u0 = float(self._rng.integers(4)) / 4
        u1 = u0 + (x1 - x0) / 12
        base = [(x0, y, -0.12), (x1, y, -0.12), (x1, y, 4.0), (x0, y, 4.0)]
        faces[2 + style].append((base, [(u0, 0), (u1, 0), (u1, 1), (u0, 1)], front))
        upper = [(x0, y, 4.0), (x1, y, 4.0), (x1, y, height), (x0, y, height)]
        top = (height - 4.0) / 12
        faces[style].append((upper, [(u0, 0), (u1, 0), (u1, top), (u0, top)], front))
        if covered < height:
            back, low = y - inwards * 9, covered or -0.12
            gable = [(x0, y, low), (x0, back, low), (x0, back, height), (x0, y, height)]
            v0, v1 = low / 12, height / 12
            shade = self._shade((-1.0, 0.0, 0.0), tone * 0.9)
            faces[style].append((gable, [(0, v0), (0.75, v0), (0.75, v1), (0, v1)], shade))
        out = y + inwards * 0.35
        dark = tuple(c * 0.75 for c in front)
        for z in (3.9, height):
            cornice = [(x0, out, z), (x1, out, z), (x1, out, z + 0.25), (x0, out, z + 0.25)]
            faces[style].append((cornice, [(0.01, 0.01)] * 4, front))
            under = [(x0, out, z), (x1, out, z), (x1, y, z), (x0, y, z)]
            faces[style].append((under, [(0.01, 0.01)] * 4, dark))

    def _hedges(self, wall_y: float) -> None:
        """Add hedges along the edge of the sidewalk, with gaps between them."""
        rng = self._rng
        leaves = self._textures.choose(rng, "hedge")
        y, depth = -self.layout.half_width - 0.25, 0.7
        front, top = self._shade((0.0, float(self.layout.side), 0.0)), self._shade((0, 0, 1))
        end_shade = self._shade((-1.0, 0.0, 0.0))
        corners, uvs, colours = [], [], []
        x = self._start
        while x < self._end:
            length, height = float(rng.uniform(3, 11)), float(rng.uniform(0.6, 1.5))
            x1, back = x + length, max(y - depth, wall_y)
            for piece, shade in (
                ([(x, y, 0), (x1, y, 0), (x1, y, height), (x, y, height)], front),
                ([(x, y, height), (x1, y, height), (x1, back, height), (x, back, height)], top),
                ([(x, y, 0), (x, back, 0), (x, back, height), (x, y, height)], end_shade),
            ):
                corners.append(piece)
                uvs.append([(p[0] / 3, (p[1] + p[2]) / 3) for p in piece])
                colours.append(shade)
            x = x1 + float(rng.uniform(1.2, 4))
        self._quads(corners, uvs, colours, leaves, "vegetation")

    def distances(self, camera_height: float, pitch: float) -> Floats:
        """Distance of the empty street in each pixel, float32 (height, width), metres; 150 for the sky."""
        scene, layout = self._scene, self.layout
        v = (np.arange(scene.height, dtype=np.float32)[:, None] + np.float32(0.5 - scene.height / 2)) / np.float32(
            scene.focal
        )
        u = (np.arange(scene.width, dtype=np.float32)[None, :] + np.float32(0.5 - scene.width / 2)) / np.float32(
            scene.focal
        )
        down = v * np.float32(math.cos(pitch)) - np.float32(math.sin(pitch))
        ahead = np.maximum(np.float32(math.cos(pitch)) + v * np.float32(math.sin(pitch)), 0.05)
        left = -u * np.float32(layout.side)  # towards the road
        ground = np.where(down > 1e-4, np.float32(camera_height) / np.maximum(down, 1e-4), np.float32(1e4))
        wall = np.where(left > 0, layout.far_kerb + 3.2, layout.half_width + layout.setback)
        sideways = wall.astype(np.float32) / np.maximum(np.abs(left), 1e-4)
        reach: Floats = np.minimum(np.minimum(ground, sideways) * ahead, 150).astype(np.float32)
        return reach
