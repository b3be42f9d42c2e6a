"""Near-duplicate images: pairs whose 64-bit perceptual hashes differ in few bits."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np


def near_links(hashes: Sequence[int | None], bits: int) -> list[tuple[int, int]]:
    """Pairs of indices that connect all images whose hashes differ in at most ``bits`` bits.

    The links have the same connected components as all near pairs, but are far fewer: an hour of a static camera has
    millions of pairs. None has no links. Two hashes that differ in at most ``bits`` bits agree in at least one of
    ``bits + 1`` bands (pigeonhole), so only hashes that share a band are compared. Source: M. Norouzi et al., "Fast
    search in Hamming space with multi-index hashing", 2012.
    """
    hashed = [(index, value) for index, value in enumerate(hashes) if value is not None]
    values, inverse = np.unique(np.array([value for _, value in hashed], dtype=np.uint64), return_inverse=True)
    members: list[list[int]] = [[] for _ in values]
    for (index, _), value in zip(hashed, inverse.tolist(), strict=True):
        members[value].append(index)
    links = [link for same in members for link in itertools.pairwise(same)]
    links += [(members[one][0], members[other][0]) for one, other in _near_values(values, bits)]
    return sorted(links)


def _near_values(values: np.ndarray[Any, np.dtype[np.uint64]], bits: int) -> set[tuple[int, int]]:
    """Pairs of indices into ``values`` (uint64, unique, sorted) that differ in at most ``bits`` bits."""
    edges = np.linspace(0, 64, bits + 2).astype(int).tolist()
    found: set[tuple[int, int]] = set()
    for low, high in itertools.pairwise(edges):
        band = (values >> np.uint64(low)) & np.uint64((1 << (high - low)) - 1)
        order = np.argsort(band, kind="stable")
        cuts = np.flatnonzero(np.diff(band[order])) + 1
        for bucket in np.split(order, cuts):
            for at, index in enumerate(bucket[:-1].tolist()):
                rest = bucket[at + 1 :]
                near = rest[np.bitwise_count(values[rest] ^ values[index]) <= bits]
                found |= {(min(index, other), max(index, other)) for other in near.tolist()}
    return found


def linked_groups(names: Iterable[str], links: Iterable[tuple[str, str]]) -> list[tuple[str, ...]]:
    """Connected components of ``names`` under ``links``, each sorted, ordered by first name."""
    parent = {name: name for name in names}

    def root(name: str) -> str:
        while parent[name] != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    for one, other in links:
        first, second = sorted((root(one), root(other)))
        parent[second] = first
    groups: dict[str, list[str]] = {}
    for name in sorted(parent):
        groups.setdefault(root(name), []).append(name)
    return [tuple(group) for group in groups.values()]
