"""Boxes out of instance masks: what can be seen of an actor, and whether that is enough for a label."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from robot_assets.data.simulation.render import Frame, Stage, View
from robot_assets.data.simulation.traffic import Actor

PIXELS_MIN = 24
"""An actor with fewer visible pixels than this gets no label: nobody could tell what it is."""

VISIBLE_MIN = 0.25
"""An actor of which less than this share can be seen, behind others or beyond the border, gets no label."""


@dataclass(frozen=True)
class Label:
    """One labelled actor.

    Attributes:
        name: class.
        box: x, y, width, height in pixels, of what is visible.
        area: visible pixels.
    """

    name: str
    box: tuple[int, int, int, int]
    area: int


@dataclass(frozen=True)
class _Seen:
    """Visible pixels of one actor, and its projected bounds (left, top, right, bottom), uncut."""

    actor: Actor
    box: tuple[int, int, int, int]
    area: int
    bounds: tuple[float, float, float, float]


def label(stage: Stage, view: View, frame: Frame, actors: Sequence[Actor]) -> list[Label]:
    """Label what is visible enough, in the order of the instance ids.

    The share that is visible is (visible pixels / pixels of the silhouette with nothing before it) times the
    share of its projected bounds that lies within the image.

    Args:
        stage: with the actors on it.
        view: that ``frame`` was taken from.
        frame: as rendered.
        actors: who is there.
    """
    visible = _visible(frame, [actor.item.ident for actor in actors])
    shown = sorted((actor for actor in actors if actor.item.ident in visible), key=lambda actor: actor.item.ident)
    bounds = _bounds(stage, view, shown)
    seen = [_Seen(actor, *visible[actor.item.ident], own) for actor, own in zip(shown, bounds, strict=True)]
    inside = [_inside(stage, one.bounds) for one in seen]
    share = [one.area / _most(frame, one) for one in seen]
    doubtful = [i for i in range(len(seen)) if share[i] * inside[i] < VISIBLE_MIN <= inside[i]]
    silhouettes = stage.silhouettes([seen[i].actor.item for i in doubtful])
    for i, total in zip(doubtful, silhouettes, strict=True):
        share[i] = min(seen[i].area / max(total, 1), 1.0)
    return [
        Label(one.actor.name, one.box, one.area)
        for one, clear, part in zip(seen, share, inside, strict=True)
        if clear * part >= VISIBLE_MIN
    ]


def _visible(frame: Frame, wanted: Sequence[int]) -> dict[int, tuple[tuple[int, int, int, int], int]]:
    """Box and pixel count of each wanted id that has enough pixels in the mask."""
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


def _bounds(stage: Stage, view: View, actors: Sequence[Actor]) -> list[tuple[float, float, float, float]]:
    """Project the corners of the actors' bounds: left, top, right, bottom of each in pixels."""
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
    scale = stage.focal / np.maximum(forward * nod + z * rise, 0.15)
    u = stage.width / 2 - left * scale
    v = stage.height / 2 - (z * nod - forward * rise) * scale
    edges = np.stack([u.min(axis=1), v.min(axis=1), u.max(axis=1), v.max(axis=1)], axis=1)
    return [(a, b, c, d) for a, b, c, d in edges.tolist()]


def _area(bounds: tuple[float, float, float, float]) -> float:
    return (bounds[2] - bounds[0]) * (bounds[3] - bounds[1])


def _inside(stage: Stage, bounds: tuple[float, float, float, float]) -> float:
    """Share of the projected bounds that lies within the image."""
    left, top, right, bottom = bounds
    width = max(min(right, stage.width) - max(left, 0.0), 0.0)
    height = max(min(bottom, stage.height) - max(top, 0.0), 0.0)
    return width * height / max(_area(bounds), 1e-6)


def _most(frame: Frame, seen: _Seen) -> int:
    """Pixels that the silhouette of an actor has at most: its own, and those of any other item in its bounds.

    Only items can hide an actor, and where one does, an item is what the mask shows.
    """
    left, top, right, bottom = seen.bounds
    rows = slice(max(math.floor(top) - 1, 0), max(math.ceil(bottom) + 1, 0))
    columns = slice(max(math.floor(left) - 1, 0), max(math.ceil(right) + 1, 0))
    return max(int(np.count_nonzero(frame.is_item[rows, columns])), seen.area)
