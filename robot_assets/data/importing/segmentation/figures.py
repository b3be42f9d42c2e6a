"""Figures of imported masks, for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from robot_assets.core.text import plural
from robot_assets.tasks.segmentation.classes import IGNORED

if TYPE_CHECKING:
    from robot_assets.data.importing.copying import MaskFacts

IGNORED_PIXELS = ""
"""Key of the share of ignored pixels: no class has this name."""


def pixel_shares(masks: Sequence[MaskFacts], classes: Sequence[str]) -> dict[str, float]:
    """Share of the pixels of all masks by class name, and that of ignored ones."""
    counts: Counter[int] = Counter()
    for mask in masks:
        counts.update(mask.pixels)
    total = max(1, sum(counts.values()))
    shares = {name: counts[index] / total for index, name in enumerate(classes)}
    return shares | {IGNORED_PIXELS: counts[IGNORED] / total}


def about_shapes(masks: Sequence[MaskFacts], background: str | None, has_runs: bool) -> Iterator[str]:
    """What became of polygons, and of masks where the format has them: what covers what, and what is not visible."""
    shapes, hidden, covered, clipped = (
        sum(getattr(mask, key) for mask in masks) for key in ("shapes", "hidden", "covered", "clipped")
    )
    rest = f"are ignored ({IGNORED}); --background NAME makes them a class"
    rest = f"are of the class {background!r}" if background else rest
    nouns = ("polygon or mask", "polygons or masks") if has_runs else ("polygon", "polygons")
    yield f"{plural(shapes, *nouns)} painted; pixels that none covers {rest}"
    if covered:
        yield f"{plural(covered, 'pixel is', 'pixels are')} covered by more than one of them: the smaller one is on top"
    if hidden:
        verbs = (f"{nouns[0]} has", f"{nouns[1]} have")
        yield f"{plural(hidden, *verbs)} no pixel in the result: smaller than one, or below smaller ones"
    if clipped:
        yield f"{plural(clipped, 'polygon')} clipped to the image"
