"""Bounding boxes from instance masks, for actors that are visible enough to be labelled."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from robot_assets.data.simulation.render import Frame, Scene, View
from robot_assets.data.simulation.traffic import Actor

PIXELS_MIN = 24
"""Fewer visible pixels give no label: the actor would be unrecognizable."""

VISIBLE_MIN = 0.25
"""A smaller visible share, because of occlusion or the image border, gives no label."""


@dataclass(frozen=True)
class Label:
    """One labelled actor.

    Attributes:
        name: class.
        box: x, y, width, height in pixels of the visible part.
        area: number of visible pixels.
    """

    name: str
    box: tuple[int, int, int, int]
    area: int


@dataclass(frozen=True)
class _VisibleActor:
    """Visible pixels of one actor, and its projected bounds (left, top, right, bottom), not clipped to the image."""

    actor: Actor
    box: tuple[int, int, int, int]
    area: int
    bounds: tuple[float, float, float, float]


def label(scene: Scene, view: View, frame: Frame, actors: Sequence[Actor]) -> list[Label]:
    """Label the actors that are visible enough, ordered by instance id.

    The visible share is (visible pixels / pixels of the unoccluded silhouette) times the share of the projected
    bounds inside the image.

    Args:
        scene: the scene with the actors.
        view: the view of ``frame``.
        frame: as rendered.
        actors: the actors in the scene.
    """
    visible = _visible(frame, [actor.item.ident for actor in actors])
    shown = sorted((actor for actor in actors if actor.item.ident in visible), key=lambda actor: actor.item.ident)
    bounds = _bounds(scene, view, shown)
    seen = [_VisibleActor(actor, *visible[actor.item.ident], own) for actor, own in zip(shown, bounds, strict=True)]
    inside = [_inside(scene, one.bounds) for one in seen]
    share = [one.area / _max_silhouette(frame, one) for one in seen]
    doubtful = [i for i in range(len(seen)) if share[i] * inside[i] < VISIBLE_MIN <= inside[i]]
    silhouettes = scene.silhouettes([seen[i].actor.item for i in doubtful])
    for i, total in zip(doubtful, silhouettes, strict=True):
        share[i] = min(seen[i].area / max(total, 1), 1.0)
    return [
        Label(one.actor.name, one.box, one.area)
        for one, clear, part in zip(seen, share, inside, strict=True)
        if clear * part >= VISIBLE_MIN
    ]


def _visible(frame: Frame, wanted: Sequence[int]) -> dict[int, tuple[tuple[int, int, int, int], int]]:
    """Box and pixel count of each wanted id with at least ``PIXELS_MIN`` pixels in the mask."""
    owners, width = frame.owners.tobytes(), frame.ids.shape[1]
    found = {}
    for ident in wanted:
        first, last = owners.find(ident), owners.rfind(ident)
        if first < 0:
            continue
        top, bottom = int(frame.pixels[first]) // width, int(frame.pixels[last]) // width + 1
        mine = frame.ids[top:bottom] == ident
        area = int(np.count_nonzero(mine))
        if area >= PIXELS_MIN:
            columns = np.logical_or.reduce(mine, axis=0).tobytes()
            left, right = columns.find(True), columns.rfind(True) + 1
            found[ident] = ((left, top, right - left, bottom - top), area)
    return found


_CORNERS = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], np.bool_)


def _bounds(scene: Scene, view: View, actors: Sequence[Actor]) -> list[tuple[float, float, float, float]]:
    """Project the actors' bounds: left, top, right, bottom of each in pixels."""
    if not actors:
        return []
    low = np.array([actor.low for actor in actors])[:, None]
    high = np.array([actor.high for actor in actors])[:, None]
    offset = np.array([(actor.x - view.x, actor.y - view.y, actor.z - view.z) for actor in actors])[:, None]
    corners = np.where(_CORNERS, high, low) + offset
    x, y, z = corners[..., 0], corners[..., 1], corners[..., 2]
    cos, sin = math.cos(view.heading), math.sin(view.heading)
    nod, rise = math.cos(view.pitch), math.sin(view.pitch)
    forward, left = x * cos + y * sin, y * cos - x * sin
    scale = scene.focal / np.maximum(forward * nod + z * rise, 0.15)
    u = scene.width / 2 - left * scale
    v = scene.height / 2 - (z * nod - forward * rise) * scale
    edges = np.stack([u.min(axis=1), v.min(axis=1), u.max(axis=1), v.max(axis=1)], axis=1)
    return [(a, b, c, d) for a, b, c, d in edges.tolist()]


def _area(bounds: tuple[float, float, float, float]) -> float:
    return (bounds[2] - bounds[0]) * (bounds[3] - bounds[1])


def _inside(scene: Scene, bounds: tuple[float, float, float, float]) -> float:
    """Share of the projected bounds inside the image."""
    left, top, right, bottom = bounds
    width = max(min(right, scene.width) - max(left, 0.0), 0.0)
    height = max(min(bottom, scene.height) - max(top, 0.0), 0.0)
    return width * height / max(_area(bounds), 1e-6)


def _max_silhouette(frame: Frame, seen: _VisibleActor) -> int:
    """Upper bound of the pixels of an actor's silhouette: the pixels of all items in its bounds.

    Only items can occlude an actor, and an occluded pixel has the id of an item in the mask.
    """
    left, top, right, bottom = seen.bounds
    rows = slice(max(math.floor(top) - 1, 0), max(math.ceil(bottom) + 1, 0))
    columns = slice(max(math.floor(left) - 1, 0), max(math.ceil(right) + 1, 0))
    return max(int(np.count_nonzero(frame.is_item[rows, columns])), seen.area)
