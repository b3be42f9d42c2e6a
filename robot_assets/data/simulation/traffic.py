"""Spawns and moves the actors of a session, and replaces those that have left the view."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from robot_assets.data.simulation.actors import BUILDERS
from robot_assets.data.simulation.class_masks import actor_class
from robot_assets.data.simulation.palette import Random
from robot_assets.data.simulation.render import Item, Scene, View
from robot_assets.data.simulation.shapes import Floats, Light, Mesh, Point, face_areas, normals, vertex_colours
from robot_assets.data.simulation.street import ROAD_LEVEL, StreetLayout

_FRAME_INTERVAL_S = 0.7
SHADOWS_AHEAD = 9.0
"""Metres; farther away, a shadow is a thin line only."""

_MESHES_PER_CLASS = 24  # in one simulation
_LOOKS = {"pedestrian": 8, "cyclist": 6, "car": 6, "robot": 3, "cone": 2, "bin": 3}  # of those, in one session
_TURNS = {"pedestrian": 12, "cyclist": 12, "car": 12, "robot": 12, "cone": 3, "bin": 12}
"""Number of headings that a mesh is lit for; actors use the nearest, so that lit meshes can be reused."""


@dataclass(frozen=True)
class SpawnRule:
    """Distances (metres ahead of the camera) and number of the actors of a class.

    ``absent`` is the probability that a slot stays empty for a frame after its actor has left. The distances keep most
    objects between 15 and 120 pixels high in an image of 320x240.
    """

    nearest: float
    farthest: float
    fewest: int
    most: int
    absent: float


SPAWN_RULES = {
    "pedestrian": SpawnRule(2.6, 15.0, 1, 2, 0.1),
    "cyclist": SpawnRule(3.6, 16.0, 1, 1, 0.15),
    "car": SpawnRule(5.0, 20.0, 1, 2, 0.1),
    "robot": SpawnRule(1.9, 8.5, 1, 1, 0.15),
    "cone": SpawnRule(1.6, 7.5, 1, 2, 0.2),
    "bin": SpawnRule(2.0, 9.5, 1, 1, 0.15),
}


ACTORS_AHEAD = max(rule.farthest for rule in SPAWN_RULES.values()) * 1.15
"""Metres; no actor is farther away, so that nothing beyond can occlude one."""


@dataclass(frozen=True)
class ActorMesh:
    """A mesh with its vertex normals, float32 (n, 3)."""

    mesh: Mesh
    normals: Floats


class MeshLibrary:
    """The actor meshes of a simulation, built on first use. Mesh k of a class depends on the seed only."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._meshes: dict[tuple[str, int], ActorMesh] = {}

    def get(self, name: str, index: int) -> ActorMesh:
        """Return mesh ``index`` of class ``name``."""
        key = (name, index)
        if key not in self._meshes:
            rng = np.random.default_rng([self._seed, 1, tuple(BUILDERS).index(name), index])
            mesh = BUILDERS[name](rng)
            self._meshes[key] = ActorMesh(mesh, normals(mesh, face_areas(mesh)))
        return self._meshes[key]


@dataclass
class Actor:
    """A labelled object. Position in metres, speed in metres per second along the street.

    ``low`` and ``high`` are the corners of its bounds relative to its position.
    """

    name: str
    item: Item
    actor_mesh: ActorMesh
    x: float
    y: float
    z: float
    heading: float
    speed: float
    low: tuple[float, float, float]
    high: tuple[float, float, float]


@dataclass
class _Slot:
    """Slot for one actor of a class at a time."""

    name: str
    ident: int
    actor: Actor | None = None
    wait: int = 0
    rule: SpawnRule = field(init=False)

    def __post_init__(self) -> None:
        self.rule = SPAWN_RULES[self.name]


class Traffic:
    """The actors of one session."""

    def __init__(
        self, rng: Random, scene: Scene, layout: StreetLayout, light: Light, meshes: MeshLibrary, spread: float
    ) -> None:
        self._rng, self._scene, self._layout, self._light = rng, scene, layout, light
        self._meshes = meshes
        self._spread = spread  # tangent of half the field of view
        self._looks = {name: rng.integers(_MESHES_PER_CLASS, size=count).tolist() for name, count in _LOOKS.items()}
        self._geometries: dict[tuple[str, int, int], Any] = {}
        self._slots: list[_Slot] = []
        for name, rule in SPAWN_RULES.items():
            for _ in range(int(rng.integers(rule.fewest, rule.most + 1))):
                self._slots.append(_Slot(name, len(self._slots) + 1))

    def step(self, view: View) -> list[Actor]:
        """Advance by one frame and return the actors in the scene."""
        for slot in self._slots:
            if slot.actor is not None:
                slot.actor.x += slot.actor.speed * _FRAME_INTERVAL_S
                if self._is_gone(slot.actor, slot.rule, view):
                    slot.actor.item.remove()
                    slot.actor = None
                    slot.wait = 1 if self._rng.random() < slot.rule.absent else 0
                elif slot.actor.speed:
                    slot.actor.item.place(slot.actor.x, slot.actor.y, slot.actor.z, slot.actor.heading)
            if slot.actor is None:
                if slot.wait:
                    slot.wait -= 1
                else:
                    slot.actor = self._spawn(slot, view)
        actors = [slot.actor for slot in self._slots if slot.actor is not None]
        for actor in actors:
            if actor.x - view.x < SHADOWS_AHEAD:
                actor.item.cast_shadow()
        return actors

    def _is_gone(self, actor: Actor, rule: SpawnRule, view: View) -> bool:
        ahead = actor.x - view.x
        across = abs(actor.y - view.y)
        if ahead > rule.farthest * 1.15 or ahead < rule.nearest * 0.6:
            return True
        reach = max(actor.high[0] - actor.low[0], actor.high[1] - actor.low[1]) / 2
        return across > ahead * self._spread + reach * 0.4 or self._is_occupied(
            actor, actor.x, actor.y, actor.low, actor.high
        )

    def _spawn(self, slot: _Slot, view: View) -> Actor | None:
        """Spawn an actor at a free position ahead of the camera; None when none is found."""
        rng = self._rng
        looks = self._looks[slot.name]
        index = looks[int(rng.integers(len(looks)))]
        actor_mesh = self._meshes.get(slot.name, index)
        for _ in range(12):
            share = float(rng.random())
            ahead = slot.rule.nearest + (slot.rule.farthest - slot.rule.nearest) * share
            y, heading, speed, z = self._spawn_pose(slot.name)
            if abs(y * self._layout.side - view.y) > ahead * self._spread * 0.92:
                continue
            heading *= self._layout.side
            bounds = _bounds(actor_mesh.mesh, heading)
            x, y = view.x + ahead, y * self._layout.side
            if self._is_occupied(None, x, y, *bounds) or (ahead < 2.5 and abs(y - view.y) < 0.45):
                continue
            geometry = self._geometry(slot.name, index, heading)
            item = self._scene.add_item(slot.ident, geometry, z, class_index=actor_class(slot.name))
            item.place(x, y, z, heading)
            return Actor(slot.name, item, actor_mesh, x, y, z, heading, speed, *bounds)
        return None

    def _geometry(self, name: str, index: int, heading: float) -> Any:
        """Mesh ``index`` of a class, lit for the heading nearest to ``heading``."""
        turns = _TURNS[name]
        turn = round(heading * turns / (2 * math.pi)) % turns
        key = (name, index, turn)
        if key not in self._geometries:
            actor_mesh = self._meshes.get(name, index)
            colours = vertex_colours(actor_mesh.mesh, actor_mesh.normals, self._light, turn * 2 * math.pi / turns)
            self._geometries[key] = self._scene.geometry(actor_mesh.mesh.points, actor_mesh.mesh.triangles, colours)
        return self._geometries[key]

    def _is_occupied(
        self,
        me: Actor | None,
        x: float,
        y: float,
        low: tuple[float, float, float],
        high: tuple[float, float, float],
    ) -> bool:
        for slot in self._slots:
            other = slot.actor
            if other is None or other is me:
                continue
            if (
                x + low[0] < other.x + other.high[0]
                and other.x + other.low[0] < x + high[0]
                and y + low[1] < other.y + other.high[1]
                and other.y + other.low[1] < y + high[1]
            ):
                return True
        return False

    def _spawn_pose(self, name: str) -> tuple[float, float, float, float]:
        """Draw (y, heading, speed, ground height) for a new actor, before the street is mirrored."""
        return {
            "pedestrian": self._pedestrian_pose,
            "cyclist": self._cyclist_pose,
            "car": self._car_pose,
            "robot": self._robot_pose,
            "cone": self._cone_pose,
            "bin": self._bin_pose,
        }[name]()

    def _pedestrian_pose(self) -> tuple[float, float, float, float]:
        rng, edge = self._rng, self._layout.half_width
        if rng.random() < 0.12:  # crossing the road
            y = float(rng.uniform(self._layout.kerb + 0.6, self._layout.far_kerb - 0.5))
            return y, math.pi / 2 * (1 if rng.random() < 0.5 else -1), 0.0, ROAD_LEVEL
        y = float(rng.uniform(-edge + 0.3, edge - 0.2))
        if rng.random() < 0.25:
            return y, float(rng.uniform(-math.pi, math.pi)), 0.0, 0.0
        forth = 1 if rng.random() < 0.4 else -1
        heading = (0.0 if forth > 0 else math.pi) + float(rng.uniform(-0.35, 0.35))
        return y, heading, forth * float(rng.uniform(0.9, 1.7)), 0.0

    def _cyclist_pose(self) -> tuple[float, float, float, float]:
        rng, layout = self._rng, self._layout
        forth = 1 if rng.random() < 0.5 else -1
        heading = (0.0 if forth > 0 else math.pi) + float(rng.uniform(-0.3, 0.3))
        if rng.random() < 0.15:  # turning
            heading += math.pi / 2 * (1 if rng.random() < 0.5 else -1)
        if rng.random() < 0.35:
            return (
                float(rng.uniform(-layout.half_width + 0.5, layout.half_width - 0.3)),
                heading,
                forth * 2.0,
                0.0,
            )
        y = layout.kerb + 0.2 + (layout.bike_lane / 2 if layout.bike_lane else 0.6 + layout.parking)
        return y + float(rng.uniform(-0.2, 0.3)), heading, forth * float(rng.uniform(1.0, 3.0)), ROAD_LEVEL

    def _car_pose(self) -> tuple[float, float, float, float]:
        rng, layout = self._rng, self._layout
        wiggle = float(rng.uniform(-0.04, 0.04))
        if layout.parking and rng.random() < 0.5:
            y = layout.kerb + 0.2 + layout.bike_lane + layout.parking / 2
            return y, wiggle + (math.pi if rng.random() < 0.2 else 0.0), 0.0, ROAD_LEVEL
        if rng.random() < 0.12:  # turning out of a side street
            y = layout.lanes_from + layout.lane * float(rng.uniform(0.7, 1.3))
            return y, float(rng.uniform(0.6, 2.5)), 0.0, ROAD_LEVEL
        if rng.random() < 0.5:
            return layout.lanes_from + layout.lane / 2, wiggle, float(rng.uniform(0.5, 4.0)), ROAD_LEVEL
        return (
            layout.lanes_from + layout.lane * 1.5,
            math.pi + wiggle,
            -float(rng.uniform(2.0, 6.0)),
            ROAD_LEVEL,
        )

    def _robot_pose(self) -> tuple[float, float, float, float]:
        rng, edge = self._rng, self._layout.half_width
        y = float(rng.uniform(-edge + 0.4, edge - 0.3))
        if rng.random() < 0.4:
            return y, float(rng.uniform(-math.pi, math.pi)), 0.0, 0.0
        forth = 1 if rng.random() < 0.5 else -1
        return (
            y,
            (0.0 if forth > 0 else math.pi) + float(rng.uniform(-0.4, 0.4)),
            forth * float(rng.uniform(0.5, 1.4)),
            0.0,
        )

    def _cone_pose(self) -> tuple[float, float, float, float]:
        rng, layout = self._rng, self._layout
        heading = float(rng.uniform(-math.pi, math.pi))
        if rng.random() < 0.3:
            return layout.kerb + float(rng.uniform(0.5, 1.6)), heading, 0.0, ROAD_LEVEL
        return float(rng.uniform(-layout.half_width + 0.2, layout.half_width - 0.1)), heading, 0.0, 0.0

    def _bin_pose(self) -> tuple[float, float, float, float]:
        rng, layout = self._rng, self._layout
        if rng.random() < 0.5:
            y = -layout.half_width + float(rng.uniform(0.3, 0.6))
            return y, math.pi / 2 + float(rng.uniform(-0.4, 0.4)), 0.0, 0.0
        y = layout.half_width - float(rng.uniform(0.25, 0.6))
        return y, -math.pi / 2 + float(rng.uniform(-0.5, 0.5)), 0.0, 0.0


def _bounds(mesh: Mesh, heading: float) -> tuple[Point, Point]:
    """Lowest and highest corner of the bounds of a mesh rotated by ``heading``."""
    cos, sin = np.float32(math.cos(heading)), np.float32(math.sin(heading))
    across, along = mesh.points[:, 0], mesh.points[:, 1]
    axes = (across * cos - along * sin, across * sin + along * cos, mesh.points[:, 2])
    low = (float(axes[0].min()), float(axes[1].min()), float(axes[2].min()))
    high = (float(axes[0].max()), float(axes[1].max()), float(axes[2].max()))
    return low, high
