"""Renders a raw data set of a simulated sidewalk from a seed, with boxes or with class masks.

Each recording session has its own street, weather, light, camera mount and random generator: session 3 of seed 7 is
the same whatever the number of sessions.
"""

from __future__ import annotations

import json
import math
import os
import struct
import time
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from robot_assets.core.progress import report
from robot_assets.core.publishing import publishing_directory
from robot_assets.data.simulation.class_masks import class_index, class_mask
from robot_assets.data.simulation.furniture import Prop, place_props
from robot_assets.data.simulation.labels import Label, label
from robot_assets.data.simulation.render import IDS, Item, Renderer, Scene, View
from robot_assets.data.simulation.sensor import Sensor
from robot_assets.data.simulation.sky import Sky
from robot_assets.data.simulation.street import Street, StreetLayout, choose_layout
from robot_assets.data.simulation.texture_library import TextureLibrary
from robot_assets.data.simulation.textures import Grain
from robot_assets.data.simulation.traffic import ACTORS_AHEAD, SHADOWS_AHEAD, Actor, MeshLibrary, Traffic
from robot_assets.data.simulation.weather import Weather, choose_weather, transmittance_map, transmittance_of
from robot_assets.data.spec import SimulationSource

JPEG_QUALITY = 88

_Mask: TypeAlias = NDArray[np.uint8]
_Number = TypeVar("_Number", int, float)

_FIRST_PROP = 32  # ids below belong to actors
_PROPS_AHEAD = 30.0  # metres; props farther away are not drawn


@dataclass(frozen=True)
class SimulationSummary:
    """Figures of a simulation.

    Attributes:
        images: number of images.
        sessions: names of the sessions, in order.
        objects: number of labelled objects by class; empty for masks.
        pixel_shares: share of the pixels by class, 0 to 1; empty for boxes.
        images_with: number of images with at least one object or pixel, by class.
        seconds: wall-clock time.
        images_per_second: images / seconds.
    """

    images: int
    sessions: tuple[str, ...]
    objects: dict[str, int]
    pixel_shares: dict[str, float]
    images_with: dict[str, int]
    seconds: float
    images_per_second: float


def simulate(source: SimulationSource, out: Path) -> SimulationSummary:
    """Render a raw data set into the directory ``out``: JPEG images and ``annotations.json`` (COCO).

    The same source gives the same bytes. Boxes bound the visible pixels; an actor with fewer than 24 visible pixels,
    or of which less than a quarter is visible, gets no label. Instead of boxes, ``labels: masks`` adds
    ``masks/SESSION/STEM.png``: grey, one byte a pixel, index in ``SIMULATED_MASK_CLASSES``, 255 where no class can be
    said. The images are the same either way. Not thread-safe: a process has one renderer.

    Args:
        source: number and size of the images, number of sessions, seed, kind of labels.
        out: directory to publish; replaced when the simulation is complete.

    Raises:
        DataError: Panda3D is missing, or has no software renderer.
    """
    started = time.perf_counter()
    shares = _images_of_sessions(source)
    collector = _CocoCollector(source)
    has_masks = source.labels == "masks"
    renderer = Renderer(source.width, source.height, len(source.label_classes) if has_masks else 0)
    with publishing_directory(out) as staging, closing(renderer):
        images, masks = staging / "images", staging / "masks"
        grain = Grain(source.seed)
        shared = _SharedAssets(renderer, MeshLibrary(source.seed), grain, TextureLibrary(source.seed, grain, renderer))
        for index, count in enumerate(shares):
            name = f"sim{source.seed:02d}/s{index + 1:02d}"
            for folder in (images, masks) if has_masks else (images,):
                (folder / name).mkdir(parents=True)
            for number, (image, labels) in enumerate(_render_session(source, index, count, shared), start=1):
                stem = f"{name}/frame_{number:04d}"
                _write(f"{images}/{stem}.jpg", _jpeg(image))
                if not isinstance(labels, list):
                    _write(f"{masks}/{stem}.png", _png(labels))
                collector.add(f"{stem}.jpg", name, (image.height, image.width), labels)
            report("simulating", sum(shares[: index + 1]), source.images, name)
        document = json.dumps(collector.coco(), sort_keys=True, allow_nan=False)
        (staging / "annotations.json").write_text(document + "\n", encoding="utf-8")
    seconds = time.perf_counter() - started
    return collector.summary(seconds)


def _images_of_sessions(source: SimulationSource) -> list[int]:
    """Number of images of each session; the first sessions get the remainder."""
    each, over = divmod(source.images, source.sessions)
    return [each + (1 if index < over else 0) for index in range(source.sessions)]


def _jpeg(image: Image.Image) -> bytes:
    """Encode an image. ``Image.save`` gives the same bytes, with 25 % overhead around the encoder."""
    return image.tobytes("jpeg", "RGB", JPEG_QUALITY)


def _png(mask: _Mask) -> bytes:
    """Encode a mask as a grey PNG.

    ``Image.save`` takes twice the time: it attempts every row filter. Run lengths need no hash table, whose function
    differs between processors in some releases of zlib-ng.
    """
    height, width = mask.shape
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    # Rows of a palette image are not filtered, and otherwise the same.
    image = Image.frombuffer("P", (width, height), mask, "raw", "P", 0, 1)
    rows = image.tobytes("zip", "P", False, 1, zlib.Z_RLE, b"")
    chunks = ((b"IHDR", header), (b"IDAT", rows), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_png_chunk(kind, data) for kind, data in chunks)


def _png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _write(path: str, data: bytes) -> None:
    """Write a new file with three system calls: faster than ``Path.write_bytes`` for thousands of images."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        done = os.write(file, data)
        while done < len(data):
            done += os.write(file, data[done:])
    finally:
        os.close(file)


@dataclass(frozen=True)
class _SharedAssets:
    """Shared by all sessions of a simulation."""

    renderer: Renderer
    meshes: MeshLibrary
    grain: Grain
    textures: TextureLibrary


def _render_session(
    source: SimulationSource, index: int, count: int, shared: _SharedAssets
) -> Iterator[tuple[Image.Image, list[Label] | _Mask]]:
    """Render one session: yield each image with its boxes or its class mask."""
    rng = np.random.default_rng([source.seed, 0, index])
    layout = choose_layout(rng)
    weather = _sun_on_road_side(choose_weather(rng), layout)
    mount = _CameraMount.choose(rng)
    views = mount.drive(rng, layout, count)
    travel = views[-1].x
    with closing(
        Scene(shared.renderer, source.width, source.height, mount.field_of_view, weather.light.towards_sun)
    ) as scene:
        street = Street(rng, shared.textures, scene, layout, weather, travel)
        props = _Props(place_props(rng, scene, layout, weather.light, travel), scene)
        traffic = Traffic(rng, scene, layout, weather.light, shared.meshes, math.tan(mount.field_of_view / 2))
        size = (source.height, source.width)
        sensor = Sensor(rng, weather, shared.grain, *size)
        sky = Sky(rng, weather, shared.grain.cloud(rng), size, scene.focal, mount.pitch)
        empty = transmittance_of(street.distances(mount.height, mount.pitch), weather.haze)
        for view in views:
            actors = traffic.step(view)
            visible_props = props.update(view)
            frame = scene.render(view)
            before_items = transmittance_of(_distances(view, actors, visible_props), weather.haze)
            transmittance = transmittance_map(frame, empty, before_items)
            labels: list[Label] | _Mask
            if shared.renderer.has_class_masks:
                labels = class_mask(frame, view, scene.focal, transmittance)
            else:
                labels = label(scene, view, frame, actors)
            yield sensor.capture(frame, sky.behind(view.heading), transmittance, rng), labels


@dataclass(frozen=True)
class _CameraMount:
    """Camera mount of one session: metres and radians."""

    height: float
    pitch: float
    field_of_view: float

    @classmethod
    def choose(cls, rng: np.random.Generator) -> _CameraMount:
        return cls(
            float(rng.uniform(0.6, 0.9)),
            math.radians(float(rng.uniform(-5, 3))),
            math.radians(float(rng.uniform(56, 72))),
        )

    def drive(self, rng: np.random.Generator, layout: StreetLayout, count: int) -> list[View]:
        """Camera pose in each frame, along a slightly random path on the sidewalk."""
        x, y, heading = 0.0, float(rng.uniform(-0.4, 0.4)) * layout.half_width, 0.0
        views = []
        for _ in range(count):
            x += float(rng.uniform(0.4, 1.1))
            y = min(max(y + float(rng.uniform(-0.35, 0.35)), -0.5 * layout.half_width), 0.5 * layout.half_width)
            heading = min(max(heading * 0.6 + float(rng.uniform(-0.09, 0.09)), -0.16), 0.16)
            views.append(View(x, y, self.height, heading, self.pitch + float(rng.uniform(-0.012, 0.012))))
        return views


def _sun_on_road_side(weather: Weather, layout: StreetLayout) -> Weather:
    """Mirror a sun behind the houses to the road side, so that the sidewalk is not entirely in shade."""
    x, y, z = weather.light.towards_sun
    if y * layout.side >= -0.15 * z:
        return weather
    return replace(weather, light=replace(weather.light, towards_sun=(x, -y, z)))


class _Props:
    """Keeps the props near the camera in the scene."""

    def __init__(self, props: list[Prop], scene: Scene) -> None:
        self._pending = props[::-1]
        self._shown: list[tuple[Prop, Item]] = []
        self._free = list(range(IDS, _FIRST_PROP - 1, -1))
        self._scene = scene

    def update(self, view: View) -> list[tuple[Prop, Item]]:
        """Remove props behind the camera, add those that come into range; return those in the scene."""
        for prop, item in [pair for pair in self._shown if pair[0].x < view.x - 4.0]:
            item.remove()
            self._free.append(item.ident)
            self._shown.remove((prop, item))
        while self._pending and self._free and self._pending[-1].x < view.x + _PROPS_AHEAD:
            prop = self._pending.pop()
            item = self._scene.add_item(self._free.pop(), prop.geometry, class_index=class_index(prop.class_name))
            item.place(prop.x, prop.y, prop.z)
            item.show_in_masks(False)
            self._shown.append((prop, item))
        for prop, item in self._shown:
            if prop.is_near and prop.x < view.x + ACTORS_AHEAD:
                item.show_in_masks(True)
                if prop.x < view.x + SHADOWS_AHEAD:
                    item.cast_shadow()
        return self._shown


def _distances(
    view: View, actors: list[Actor], props: list[tuple[Prop, Item]]
) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """Distance of each instance id from the camera, float32 (256,), metres."""
    table = np.zeros(256, np.float32)
    for actor in actors:
        table[actor.item.ident] = math.sqrt((actor.x - view.x) ** 2 + (actor.y - view.y) ** 2)
    for prop, item in props:
        table[item.ident] = math.sqrt((prop.x - view.x) ** 2 + (prop.y - view.y) ** 2)
    return table


class _CocoCollector:
    """Collects images and labels into a COCO document."""

    def __init__(self, source: SimulationSource) -> None:
        self._has_masks, self._classes = source.labels == "masks", source.label_classes
        self._pixels_per_image = source.width * source.height
        self._images: list[dict[str, object]] = []
        self._annotations: list[dict[str, object]] = []
        self._counts: Counter[str] = Counter()
        self._images_with: Counter[str] = Counter()
        self._sessions: list[str] = []

    def add(self, file: str, session: str, size: tuple[int, ...], labels: list[Label] | _Mask) -> None:
        """Add one image with its boxes or its class mask."""
        ident = len(self._images) + 1
        height, width = size
        self._images.append({"id": ident, "file_name": file, "width": width, "height": height, "session": session})
        if session not in self._sessions[-1:]:
            self._sessions.append(session)
        counts = self._boxes(ident, labels) if isinstance(labels, list) else self._pixels(labels)
        self._counts.update(counts)
        self._images_with.update(counts.keys())

    def _pixels(self, mask: _Mask) -> Counter[str]:
        counts = np.bincount(mask.ravel(), minlength=len(self._classes)).tolist()
        return Counter({name: count for name, count in zip(self._classes, counts, strict=False) if count})

    def _boxes(self, ident: int, labels: list[Label]) -> Counter[str]:
        for one in labels:
            self._annotations.append(
                {
                    "id": len(self._annotations) + 1,
                    "image_id": ident,
                    "category_id": self._classes.index(one.name) + 1,
                    "bbox": list(one.box),
                    "area": one.area,
                    "iscrowd": 0,
                }
            )
        return Counter(one.name for one in labels)

    def _pixel_shares(self) -> dict[str, float]:
        total = len(self._images) * self._pixels_per_image
        return {name: round(self._counts[name] / total, 6) for name in self._classes}

    def _in_order(self, values: Mapping[str, _Number]) -> dict[str, _Number]:
        return {name: values[name] for name in self._classes}

    def coco(self) -> dict[str, object]:
        """Return the COCO document."""
        return {
            "info": {"description": "simulated sidewalk, rendered by robot-assets"},
            "licenses": [],
            "images": self._images,
            "annotations": self._annotations,
            "categories": [{"id": i, "name": name} for i, name in enumerate(self._classes, start=1)],
        }

    def summary(self, seconds: float) -> SimulationSummary:
        """Return the figures of the finished run."""
        return SimulationSummary(
            images=len(self._images),
            sessions=tuple(self._sessions),
            objects={} if self._has_masks else self._in_order(self._counts),
            pixel_shares=self._in_order(self._pixel_shares()) if self._has_masks else {},
            images_with=self._in_order(self._images_with),
            seconds=seconds,
            images_per_second=len(self._images) / seconds,
        )
