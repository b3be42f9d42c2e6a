"""The positions of the steps of a chain in its picture: in layers, from recorded data on the left to the artifact.

A layered drawing after Sugiyama, Tagawa and Toda (IEEE Trans. SMC 11, 1981): the longest path from the artifact gives
the layers, edges that cross a layer get a bend in it, barycentres order each layer, and heights are a least-squares
fit that keeps the order and the distances (isotonic regression, pool adjacent violators).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from robot_assets.lineage.chain import Chain

_SWEEPS = 8
_Key = tuple[str, str]


@dataclass(frozen=True)
class Point:
    """Middle of a node, or a bend of an edge. Pixels from the left and from the top."""

    x: float
    y: float


@dataclass(frozen=True)
class Layout:
    """A picture of a chain.

    Attributes:
        nodes: Position of each link, in the order of the chain.
        edges: For each input of each link the points that its edge runs through, the input first.
        width: Pixels.
        height: Pixels.
    """

    nodes: tuple[Point, ...]
    edges: tuple[tuple[Point, ...], ...]
    width: float
    height: float


@dataclass(frozen=True)
class Sizes:
    """Pixels of a node and between nodes."""

    node_width: float = 168
    node_height: float = 78
    gap_x: float = 56
    gap_y: float = 26
    bend_height: float = 16
    margin: float = 12


def lay_out(chain: Chain, sizes: Sizes | None = None) -> Layout:
    """Place every link of a chain and every edge between them."""
    sizes = sizes or Sizes()
    reads = _reads(chain)
    depth = _depths(len(chain.links), reads)
    deepest = max(depth, default=0)
    # A slot is one position in one layer: of a node, or of a bend of an edge that passes through the layer.
    layers: list[list[int]] = [[] for _ in range(deepest + 1)]
    for node, layer in enumerate(depth):
        layers[deepest - layer].append(node)
    paths, heights = [], [sizes.node_height] * len(depth)
    for reader, source in reads:
        bends = list(range(len(heights), len(heights) + depth[source] - depth[reader] - 1))
        heights += [sizes.bend_height] * len(bends)
        for column, slot in enumerate(bends, start=deepest - depth[source] + 1):
            layers[column].append(slot)
        paths.append((source, *bends, reader))
    y = _heights(layers, _neighbours(paths, len(heights)), heights, sizes.gap_y)
    top = min((y[slot] - heights[slot] / 2 for slot in range(len(heights))), default=0)
    x = {slot: _middle(column, sizes) for column, layer in enumerate(layers) for slot in layer}
    points = [Point(x[slot], y[slot] - top + sizes.margin) for slot in range(len(heights))]
    return Layout(
        nodes=tuple(points[: len(depth)]),
        edges=tuple(tuple(points[slot] for slot in path) for path in paths),
        width=_middle(deepest, sizes) + sizes.node_width / 2 + sizes.margin,
        height=max((p.y + h / 2 for p, h in zip(points, heights, strict=True)), default=0) + sizes.margin,
    )


def _middle(column: int, sizes: Sizes) -> float:
    return sizes.margin + sizes.node_width / 2 + column * (sizes.node_width + sizes.gap_x)


def _reads(chain: Chain) -> list[tuple[int, int]]:
    """(reader, input) by place in the chain; an edge that would run backwards, as in a circle, is not drawn."""
    place: dict[_Key, int] = {(link.asset, link.version): number for number, link in enumerate(chain.links)}
    found = []
    for reader, link in enumerate(chain.links):
        for key in link.record.inputs.items() if link.record else ():
            source = place.get(key, -1)
            if source > reader:
                found.append((reader, source))
    return found


def _depths(count: int, reads: Sequence[tuple[int, int]]) -> list[int]:
    """Length of the longest path from the artifact. ``reads`` names readers in the order of the chain."""
    depth = [0] * count
    for reader, source in reads:
        depth[source] = max(depth[source], depth[reader] + 1)
    return depth


def _neighbours(paths: Sequence[Sequence[int]], count: int) -> tuple[list[list[int]], list[list[int]]]:
    """The slots that each slot is connected to, on its left and on its right."""
    left: list[list[int]] = [[] for _ in range(count)]
    right: list[list[int]] = [[] for _ in range(count)]
    for path in paths:
        for one, other in pairwise(path):
            left[other].append(one)
            right[one].append(other)
    return left, right


def _heights(
    layers: list[list[int]],
    neighbours: tuple[list[list[int]], list[list[int]]],
    heights: Sequence[float],
    gap: float,
) -> list[float]:
    """Order each layer by the neighbours of its slots, then settle the heights."""
    y = [0.0] * len(heights)
    for layer in layers:
        _settle(layer, y, heights, gap)
    for sweep in range(_SWEEPS):
        side = neighbours[sweep % 2]
        for layer in layers if sweep % 2 == 0 else reversed(layers):
            for slot in layer:
                y[slot] = _mean([y[other] for other in side[slot]], y[slot])
            layer.sort(key=lambda slot: y[slot])
            _settle(layer, y, heights, gap)
    for layer in [*layers, *reversed(layers)]:
        for slot in layer:
            y[slot] = _mean([y[other] for side in neighbours for other in side[slot]], y[slot])
        _settle(layer, y, heights, gap)
    return y


def _settle(layer: Sequence[int], y: list[float], heights: Sequence[float], gap: float) -> None:
    """Move the slots of a layer, in its order, as little as possible so that none touches the next."""
    offsets, offset = [], 0.0
    for above, slot in zip([None, *layer], layer, strict=False):
        offset += 0 if above is None else (heights[above] + heights[slot]) / 2 + gap
        offsets.append(offset)
    blocks: list[tuple[float, int]] = []
    for slot, offset in zip(layer, offsets, strict=True):
        mean, count = y[slot] - offset, 1
        while blocks and blocks[-1][0] > mean:
            other, others = blocks.pop()
            mean, count = (mean * count + other * others) / (count + others), count + others
        blocks.append((mean, count))
    settled = [mean for mean, count in blocks for _ in range(count)]
    for slot, offset, base in zip(layer, offsets, settled, strict=True):
        y[slot] = base + offset


def _mean(values: Sequence[float], otherwise: float) -> float:
    return sum(values) / len(values) if values else otherwise
