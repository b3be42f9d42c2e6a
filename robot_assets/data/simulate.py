"""A data set of a simulated sidewalk: ``simulate`` renders, labels and writes it from a seed.

Each recording session has a street, a weather, a light, a camera mounting and a random generator of its own,
so that session 3 of seed 7 is the same however many others there are.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from robot_assets.core.progress import report
from robot_assets.core.publishing import publishing_directory
from robot_assets.data.simulation.fabrics import Fabrics
from robot_assets.data.simulation.furniture import Prop, furnish
from robot_assets.data.simulation.labels import Label, label
from robot_assets.data.simulation.render import IDS, Engine, Item, Stage, View
from robot_assets.data.simulation.sensor import Sensor
from robot_assets.data.simulation.sky import Sky
from robot_assets.data.simulation.street import Place, Street, choose_place
from robot_assets.data.simulation.textures import Grain
from robot_assets.data.simulation.traffic import ACTORS_AHEAD, SHADOWS_AHEAD, Actor, Traffic, Wardrobe
from robot_assets.data.simulation.weather import Weather, choose_weather, clearness_map, clearness_of
from robot_assets.data.spec import SIMULATED_CLASSES, SimulationSource

JPEG_QUALITY = 88

_FIRST_PROP = 32  # ids below belong to actors
_PROPS_AHEAD = 30.0  # metres; what is farther away is left out


@dataclass(frozen=True)
class SimulationSummary:
    """What was simulated.

    Attributes:
        images: number of images.
        sessions: names of the sessions, in order.
        objects: labelled objects of each class.
        images_with: images that show at least one object of each class.
        seconds: wall-clock time of the whole.
        images_per_second: images / seconds.
    """

    images: int
    sessions: tuple[str, ...]
    objects: dict[str, int]
    images_with: dict[str, int]
    seconds: float
    images_per_second: float


def simulate(source: SimulationSource, out: Path) -> SimulationSummary:
    """Render a raw data set into the directory ``out``: JPEG images and ``annotations.json`` (COCO).

    The same source gives the same bytes. Boxes are those of the visible pixels; an actor with fewer than 24
    visible pixels, or of which less than a quarter is visible, gets no label. Not for two threads at a time:
    the renderer is one to a process.

    Args:
        source: number and size of the images, number of sessions, seed.
        out: directory to publish; what stands there is replaced when all is done.

    Raises:
        DataError: Panda3D is missing, or has no software renderer.
    """
    started = time.perf_counter()
    shares = _images_of_sessions(source)
    ledger = _Ledger()
    with publishing_directory(out) as staging, closing(Engine(source.width, source.height)) as engine:
        images = staging / "images"
        grain = Grain(source.seed)
        stock = _Stock(engine, Wardrobe(source.seed), grain, Fabrics(source.seed, grain, engine))
        for index, count in enumerate(shares):
            name = f"sim{source.seed:02d}/s{index + 1:02d}"
            (images / name).mkdir(parents=True)
            for number, (image, labels) in enumerate(_recording(source, index, count, stock), start=1):
                file = f"{name}/frame_{number:04d}.jpg"
                _write(f"{images}/{file}", _jpeg(image))
                ledger.add(file, name, (image.height, image.width), labels)
            report("simulating", sum(shares[: index + 1]), source.images, name)
        document = json.dumps(ledger.coco(), sort_keys=True, allow_nan=False)
        (staging / "annotations.json").write_text(document + "\n", encoding="utf-8")
    seconds = time.perf_counter() - started
    return ledger.summary(seconds)


def _images_of_sessions(source: SimulationSource) -> list[int]:
    """Spread the images over the sessions, the first ones getting what is left over."""
    each, over = divmod(source.images, source.sessions)
    return [each + (1 if index < over else 0) for index in range(source.sessions)]


def _jpeg(image: Image.Image) -> bytes:
    """Encode a picture. ``Image.save`` gives the same bytes, a fifth of its time spent around the encoder."""
    return image.tobytes("jpeg", "RGB", JPEG_QUALITY)


def _write(path: str, data: bytes) -> None:
    """Write a new file with three system calls; thousands of images are written."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        done = os.write(file, data)
        while done < len(data):
            done += os.write(file, data[done:])
    finally:
        os.close(file)


@dataclass(frozen=True)
class _Stock:
    """What all sessions of a simulation share."""

    engine: Engine
    wardrobe: Wardrobe
    grain: Grain
    fabrics: Fabrics


def _recording(
    source: SimulationSource, index: int, count: int, stock: _Stock
) -> Iterator[tuple[Image.Image, list[Label]]]:
    """Drive along one street and yield each image with its labels."""
    rng = np.random.default_rng([source.seed, 0, index])
    place = choose_place(rng)
    weather = _sun_over_the_road(choose_weather(rng), place)
    mount = _Mount.choose(rng)
    views = mount.drive(rng, place, count)
    travel = views[-1].x
    with closing(
        Stage(stock.engine, source.width, source.height, mount.field_of_view, weather.light.towards_sun)
    ) as stage:
        street = Street(rng, stock.fabrics, stage, place, weather, travel)
        props = _Props(furnish(rng, stage, place, weather.light, travel), stage)
        traffic = Traffic(rng, stage, place, weather.light, stock.wardrobe, math.tan(mount.field_of_view / 2))
        size = (source.height, source.width)
        sensor = Sensor(rng, weather, stock.grain, *size)
        sky = Sky(rng, weather, stock.grain.cloud(rng), size, stage.focal, mount.pitch)
        empty = clearness_of(street.distances(mount.height, mount.pitch), weather.haze)
        for view in views:
            actors = traffic.step(view)
            standing = props.around(view)
            frame = stage.look(view)
            before_items = clearness_of(_distances(view, actors, standing), weather.haze)
            clearness = clearness_map(frame, empty, before_items)
            labels = label(stage, view, frame, actors)
            yield sensor.develop(frame, sky.behind(view.heading), clearness, rng), labels


@dataclass(frozen=True)
class _Mount:
    """How the camera sits on the robot of one session: metres and radians."""

    height: float
    pitch: float
    field_of_view: float

    @classmethod
    def choose(cls, rng: np.random.Generator) -> _Mount:
        return cls(
            float(rng.uniform(0.6, 0.9)),
            math.radians(float(rng.uniform(-5, 3))),
            math.radians(float(rng.uniform(56, 72))),
        )

    def drive(self, rng: np.random.Generator, place: Place, count: int) -> list[View]:
        """Plan where the camera is in each frame: the robot keeps to the sidewalk and wanders a little."""
        x, y, heading = 0.0, float(rng.uniform(-0.4, 0.4)) * place.half_width, 0.0
        views = []
        for _ in range(count):
            x += float(rng.uniform(0.4, 1.1))
            y = min(max(y + float(rng.uniform(-0.35, 0.35)), -0.5 * place.half_width), 0.5 * place.half_width)
            heading = min(max(heading * 0.6 + float(rng.uniform(-0.09, 0.09)), -0.16), 0.16)
            views.append(View(x, y, self.height, heading, self.pitch + float(rng.uniform(-0.012, 0.012))))
        return views


def _sun_over_the_road(weather: Weather, place: Place) -> Weather:
    """Move a sun that stands behind the houses to the road side: the sidewalk is then not all shade."""
    x, y, z = weather.light.towards_sun
    if y * place.side >= -0.15 * z:
        return weather
    return replace(weather, light=replace(weather.light, towards_sun=(x, -y, z)))


class _Props:
    """Keeps on the stage those unlabelled things that the camera can see."""

    def __init__(self, props: list[Prop], stage: Stage) -> None:
        self._waiting = props[::-1]
        self._standing: list[tuple[Prop, Item]] = []
        self._free = list(range(IDS, _FIRST_PROP - 1, -1))
        self._stage = stage

    def around(self, view: View) -> list[tuple[Prop, Item]]:
        """Let go of what is behind the camera and put up what comes into reach."""
        for prop, item in [pair for pair in self._standing if pair[0].x < view.x - 4.0]:
            item.remove()
            self._free.append(item.ident)
            self._standing.remove((prop, item))
        while self._waiting and self._free and self._waiting[-1].x < view.x + _PROPS_AHEAD:
            prop = self._waiting.pop()
            item = self._stage.add_item(self._free.pop(), prop.geometry)
            item.place(prop.x, prop.y, prop.z)
            item.show_in_masks(False)
            self._standing.append((prop, item))
        for prop, item in self._standing:
            if prop.is_near and prop.x < view.x + ACTORS_AHEAD:
                item.show_in_masks(True)
                if prop.x < view.x + SHADOWS_AHEAD:
                    item.cast_shadow()
        return self._standing


def _distances(
    view: View, actors: list[Actor], props: list[tuple[Prop, Item]]
) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """Distance of each instance id, float32 (256,), metres."""
    table = np.zeros(256, np.float32)
    for actor in actors:
        table[actor.item.ident] = math.sqrt((actor.x - view.x) ** 2 + (actor.y - view.y) ** 2)
    for prop, item in props:
        table[item.ident] = math.sqrt((prop.x - view.x) ** 2 + (prop.y - view.y) ** 2)
    return table


class _Ledger:
    """Collects images and labels into a COCO document."""

    def __init__(self) -> None:
        self._images: list[dict[str, object]] = []
        self._annotations: list[dict[str, object]] = []
        self._objects: Counter[str] = Counter()
        self._images_with: Counter[str] = Counter()
        self._sessions: list[str] = []

    def add(self, file: str, session: str, size: tuple[int, ...], labels: list[Label]) -> None:
        """Add one image."""
        ident = len(self._images) + 1
        height, width = size
        self._images.append({"id": ident, "file_name": file, "width": width, "height": height, "session": session})
        if session not in self._sessions[-1:]:
            self._sessions.append(session)
        for one in labels:
            self._annotations.append(
                {
                    "id": len(self._annotations) + 1,
                    "image_id": ident,
                    "category_id": SIMULATED_CLASSES.index(one.name) + 1,
                    "bbox": list(one.box),
                    "area": one.area,
                    "iscrowd": 0,
                }
            )
        self._objects.update(one.name for one in labels)
        self._images_with.update({one.name for one in labels})

    def coco(self) -> dict[str, object]:
        """Return the COCO document."""
        return {
            "info": {"description": "simulated sidewalk, rendered by robot-assets"},
            "licenses": [],
            "images": self._images,
            "annotations": self._annotations,
            "categories": [{"id": i, "name": name} for i, name in enumerate(SIMULATED_CLASSES, start=1)],
        }

    def summary(self, seconds: float) -> SimulationSummary:
        """Return the figures of the finished run."""
        return SimulationSummary(
            images=len(self._images),
            sessions=tuple(self._sessions),
            objects={name: self._objects[name] for name in SIMULATED_CLASSES},
            images_with={name: self._images_with[name] for name in SIMULATED_CLASSES},
            seconds=seconds,
            images_per_second=len(self._images) / seconds,
        )
