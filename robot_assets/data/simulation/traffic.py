"""Who is on the street in which frame: actors come, move, and are replaced once the robot has passed them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from robot_assets.data.simulation.actors import BUILDERS
from robot_assets.data.simulation.palette import Random
from robot_assets.data.simulation.render import Item, Stage, View
from robot_assets.data.simulation.shapes import Floats, Light, Mesh, Point, face_areas, lit, normals
from robot_assets.data.simulation.street import ROAD_LEVEL, Place

_SECONDS = 0.7  # between frames
SHADOWS_AHEAD = 9.0
"""Metres; the shadow of what is farther away would be a line."""

_WARDROBE = 24  # different meshes of each class in one simulation
_LOOKS = {"pedestrian": 8, "cyclist": 6, "car": 6, "robot": 3, "cone": 2, "bin": 3}  # of those, in one session
_TURNS = {"pedestrian": 12, "cyclist": 12, "car": 12, "robot": 12, "cone": 3, "bin": 12}
"""Headings that a mesh is lit for; an actor takes the nearest, so that meshes on the stage can be used again."""


@dataclass(frozen=True)
class Habit:
    """Where a class is met: metres before the camera, and how many at once.

    The ranges keep most objects between 15 and 120 pixels high in an image of 320x240.
    """

    nearest: float
    farthest: float
    fewest: int
    most: int
    absent: float


HABITS = {
    "pedestrian": Habit(2.6, 15.0, 1, 2, 0.1),
    "cyclist": Habit(3.6, 16.0, 1, 1, 0.15),
    "car": Habit(5.0, 20.0, 1, 2, 0.1),
    "robot": Habit(1.9, 8.5, 1, 1, 0.15),
    "cone": Habit(1.6, 7.5, 1, 2, 0.2),
    "bin": Habit(2.0, 9.5, 1, 1, 0.15),
}


ACTORS_AHEAD = max(habit.farthest for habit in HABITS.values()) * 1.15
"""Metres; no actor is farther away, so that nothing beyond can hide one."""


@dataclass(frozen=True)
class Outfit:
    """A mesh with its vertex normals, float32 (n, 3)."""

    mesh: Mesh
    normals: Floats


class Wardrobe:
    """All meshes of a simulation, built when first asked for. Mesh k of a class depends on the seed alone."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._outfits: dict[tuple[str, int], Outfit] = {}

    def outfit(self, name: str, index: int) -> Outfit:
        """Return mesh ``index`` of class ``name``."""
        key = (name, index)
        if key not in self._outfits:
            rng = np.random.default_rng([self._seed, 1, tuple(BUILDERS).index(name), index])
            mesh = BUILDERS[name](rng)
            self._outfits[key] = Outfit(mesh, normals(mesh, face_areas(mesh)))
        return self._outfits[key]


@dataclass
class Actor:
    """One labelled thing. Position in metres, speed in metres a second along the street.

    ``low`` and ``high`` are the corners of its bounds around its position.
    """

    name: str
    item: Item
    outfit: Outfit
    x: float
    y: float
    z: float
    heading: float
    speed: float
    low: tuple[float, float, float]
    high: tuple[float, float, float]


@dataclass
class _Slot:
    """A standing order for one actor of a class."""

    name: str
    ident: int
    actor: Actor | None = None
    wait: int = 0
    habit: Habit = field(init=False)

    def __post_init__(self) -> None:
        self.habit = HABITS[self.name]


class Traffic:
    """The actors of one session."""

    def __init__(
        self, rng: Random, stage: Stage, place: Place, light: Light, wardrobe: Wardrobe, spread: float
    ) -> None:
        self._rng, self._stage, self._place, self._light = rng, stage, place, light
        self._wardrobe = wardrobe
        self._spread = spread  # tangent of half the field of view
        self._looks = {name: rng.integers(_WARDROBE, size=count).tolist() for name, count in _LOOKS.items()}
        self._geometries: dict[tuple[str, int, int], Any] = {}
        self._slots: list[_Slot] = []
        for name, habit in HABITS.items():
            for _ in range(int(rng.integers(habit.fewest, habit.most + 1))):
                self._slots.append(_Slot(name, len(self._slots) + 1))

    def step(self, view: View) -> list[Actor]:
        """Move everybody by one frame and return who is there."""
        for slot in self._slots:
            if slot.actor is not None:
                slot.actor.x += slot.actor.speed * _SECONDS
                if self._is_gone(slot.actor, slot.habit, view):
                    slot.actor.item.remove()
                    slot.actor = None
                    slot.wait = 1 if self._rng.random() < slot.habit.absent else 0
                elif slot.actor.speed:
                    slot.actor.item.place(slot.actor.x, slot.actor.y, slot.actor.z, slot.actor.heading)
            if slot.actor is None:
                if slot.wait:
                    slot.wait -= 1
                else:
                    slot.actor = self._enter(slot, view)
        actors = [slot.actor for slot in self._slots if slot.actor is not None]
        for actor in actors:
            if actor.x - view.x < SHADOWS_AHEAD:
                actor.item.cast_shadow()
        return actors

    def _is_gone(self, actor: Actor, habit: Habit, view: View) -> bool:
        ahead = actor.x - view.x
        across = abs(actor.y - view.y)
        if ahead > habit.farthest * 1.15 or ahead < habit.nearest * 0.6:
            return True
        reach = max(actor.high[0] - actor.low[0], actor.high[1] - actor.low[1]) / 2
        return across > ahead * self._spread + reach * 0.4 or self._is_taken(
            actor, actor.x, actor.y, actor.low, actor.high
        )

    def _enter(self, slot: _Slot, view: View) -> Actor | None:
        """Find a free place before the camera for a new actor; None when the street is full there."""
        rng = self._rng
        looks = self._looks[slot.name]
        index = looks[int(rng.integers(len(looks)))]
        outfit = self._wardrobe.outfit(slot.name, index)
        for _ in range(12):
            share = float(rng.random())
            ahead = slot.habit.nearest + (slot.habit.farthest - slot.habit.nearest) * share
            y, heading, speed, z = self._lane(slot.name)
            if abs(y * self._place.side - view.y) > ahead * self._spread * 0.92:
                continue
            heading *= self._place.side
            bounds = _bounds(outfit.mesh, heading)
            x, y = view.x + ahead, y * self._place.side
            if self._is_taken(None, x, y, *bounds) or (ahead < 2.5 and abs(y - view.y) < 0.45):
                continue
            item = self._stage.add_item(slot.ident, self._geometry(slot.name, index, heading), z)
            item.place(x, y, z, heading)
            return Actor(slot.name, item, outfit, x, y, z, heading, speed, *bounds)
        return None

    def _geometry(self, name: str, index: int, heading: float) -> Any:
        """Mesh ``index`` of a class, lit for about ``heading``."""
        turns = _TURNS[name]
        turn = round(heading * turns / (2 * math.pi)) % turns
        key = (name, index, turn)
        if key not in self._geometries:
            outfit = self._wardrobe.outfit(name, index)
            colours = lit(outfit.mesh, outfit.normals, self._light, turn * 2 * math.pi / turns)
            self._geometries[key] = self._stage.geometry(outfit.mesh.points, outfit.mesh.triangles, colours)
        return self._geometries[key]

    def _is_taken(
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

    def _lane(self, name: str) -> tuple[float, float, float, float]:
        """Draw (y, heading, speed, ground height) for a new actor, before the street is mirrored."""
        return {
            "pedestrian": self._walks,
            "cyclist": self._rides,
            "car": self._drives,
            "robot": self._delivers,
            "cone": self._marks_off,
            "bin": self._waits,
        }[name]()

    def _walks(self) -> tuple[float, float, float, float]:
        rng, edge = self._rng, self._place.half_width
        if rng.random() < 0.12:  # crosses the road
            y = float(rng.uniform(self._place.kerb + 0.6, self._place.far_kerb - 0.5))
            return y, math.pi / 2 * (1 if rng.random() < 0.5 else -1), 0.0, ROAD_LEVEL
        y = float(rng.uniform(-edge + 0.3, edge - 0.2))
        if rng.random() < 0.25:
            return y, float(rng.uniform(-math.pi, math.pi)), 0.0, 0.0
        forth = 1 if rng.random() < 0.4 else -1
        heading = (0.0 if forth > 0 else math.pi) + float(rng.uniform(-0.35, 0.35))
        return y, heading, forth * float(rng.uniform(0.9, 1.7)), 0.0

    def _rides(self) -> tuple[float, float, float, float]:
        rng, place = self._rng, self._place
        forth = 1 if rng.random() < 0.5 else -1
        heading = (0.0 if forth > 0 else math.pi) + float(rng.uniform(-0.3, 0.3))
        if rng.random() < 0.15:  # turns into the street
            heading += math.pi / 2 * (1 if rng.random() < 0.5 else -1)
        if rng.random() < 0.35:
            return (
                float(rng.uniform(-place.half_width + 0.5, place.half_width - 0.3)),
                heading,
                forth * 2.0,
                0.0,
            )
        y = place.kerb + 0.2 + (place.bike_lane / 2 if place.bike_lane else 0.6 + place.parking)
        return y + float(rng.uniform(-0.2, 0.3)), heading, forth * float(rng.uniform(1.0, 3.0)), ROAD_LEVEL

    def _drives(self) -> tuple[float, float, float, float]:
        rng, place = self._rng, self._place
        wiggle = float(rng.uniform(-0.04, 0.04))
        if place.parking and rng.random() < 0.5:
            y = place.kerb + 0.2 + place.bike_lane + place.parking / 2
            return y, wiggle + (math.pi if rng.random() < 0.2 else 0.0), 0.0, ROAD_LEVEL
        if rng.random() < 0.12:  # turns out of a side street
            y = place.lanes_from + place.lane * float(rng.uniform(0.7, 1.3))
            return y, float(rng.uniform(0.6, 2.5)), 0.0, ROAD_LEVEL
        if rng.random() < 0.5:
            return place.lanes_from + place.lane / 2, wiggle, float(rng.uniform(0.5, 4.0)), ROAD_LEVEL
        return (
            place.lanes_from + place.lane * 1.5,
            math.pi + wiggle,
            -float(rng.uniform(2.0, 6.0)),
            ROAD_LEVEL,
        )

    def _delivers(self) -> tuple[float, float, float, float]:
        rng, edge = self._rng, self._place.half_width
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

    def _marks_off(self) -> tuple[float, float, float, float]:
        rng, place = self._rng, self._place
        heading = float(rng.uniform(-math.pi, math.pi))
        if rng.random() < 0.3:
            return place.kerb + float(rng.uniform(0.5, 1.6)), heading, 0.0, ROAD_LEVEL
        return float(rng.uniform(-place.half_width + 0.2, place.half_width - 0.1)), heading, 0.0, 0.0

    def _waits(self) -> tuple[float, float, float, float]:
        rng, place = self._rng, self._place
        if rng.random() < 0.5:
            y = -place.half_width + float(rng.uniform(0.3, 0.6))
            return y, math.pi / 2 + float(rng.uniform(-0.4, 0.4)), 0.0, 0.0
        y = place.half_width - float(rng.uniform(0.25, 0.6))
        return y, -math.pi / 2 + float(rng.uniform(-0.5, 0.5)), 0.0, 0.0


def _bounds(mesh: Mesh, heading: float) -> tuple[Point, Point]:
    """Lowest and highest corner of a mesh that is turned by ``heading``."""
    cos, sin = np.float32(math.cos(heading)), np.float32(math.sin(heading))
    across, along = mesh.points[:, 0], mesh.points[:, 1]
    axes = (across * cos - along * sin, across * sin + along * cos, mesh.points[:, 2])
    low = (float(axes[0].min()), float(axes[1].min()), float(axes[2].min()))
    high = (float(axes[0].max()), float(axes[1].max()), float(axes[2].max()))
    return low, high
