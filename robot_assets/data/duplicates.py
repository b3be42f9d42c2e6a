"""Near-duplicate images: pairs whose 64-bit perceptual hashes differ in few bits."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class SessionLink:
    """Two sessions that share near-duplicate images, shown by one pair of images.

    Attributes:
        sessions: Both names, sorted.
        images: An image of each.
        bits: Number of differing bits of their hashes, of 64.
    """

    sessions: tuple[str, str]
    images: tuple[str, str]
    bits: int


def session_links(images: Sequence[tuple[str, str, int | None]], bits: int) -> list[SessionLink]:
    """The links that connect all sessions with near-duplicate images, one per pair of sessions, sorted.

    Args:
        images: Name, session and perceptual hash of each image; None has no links.
        bits: Largest number of differing bits.
    """
    nearest: dict[tuple[str, str], SessionLink] = {}
    for i, j in near_links([value for _, _, value in images], bits):
        one, other = sorted((images[i], images[j]), key=lambda image: image[1])
        if one[1] != other[1] and one[2] is not None and other[2] is not None:
            link = SessionLink((one[1], other[1]), (one[0], other[0]), (one[2] ^ other[2]).bit_count())
            known = nearest.setdefault(link.sessions, link)
            nearest[link.sessions] = min(known, link, key=lambda link: (link.bits, link.images))
    return [nearest[sessions] for sessions in sorted(nearest)]


def near_links(hashes: Sequence[int | None], bits: int) -> list[tuple[int, int]]:
    """Pairs of indices that connect all images whose hashes differ in at most ``bits`` bits.

    The links have the same connected components as all near pairs, and are fewer than the images: an hour of a static
    camera has millions of pairs. None has no links. Two hashes that differ in at most ``bits`` bits agree in at least
    one of ``bits + 1`` bands (pigeonhole), so only hashes that share a band are compared. Source: M. Norouzi et al.,
    "Fast search in Hamming space with multi-index hashing", 2012.
    """
    hashed = [(index, value) for index, value in enumerate(hashes) if value is not None]
    values, inverse = np.unique(np.array([value for _, value in hashed], dtype=np.uint64), return_inverse=True)
    members: list[list[int]] = [[] for _ in values]
    for (index, _), value in zip(hashed, inverse.tolist(), strict=True):
        members[value].append(index)
    links = [link for same in members for link in itertools.pairwise(same)]
    links += [(members[one][0], members[other][0]) for one, other in _near_values(values, bits)]
    return sorted(links)


def _near_values(values: np.ndarray[Any, np.dtype[np.uint64]], bits: int) -> list[tuple[int, int]]:
    """Pairs of indices into ``values`` (uint64, unique, sorted) that connect all that differ in at most ``bits`` bits.

    Values that are connected already are not linked again, so there are fewer pairs than values.
    """
    edges = np.linspace(0, 64, bits + 2).astype(int).tolist()
    component = np.arange(len(values))
    found: list[tuple[int, int]] = []
    for low, high in itertools.pairwise(edges):
        band = (values >> np.uint64(low)) & np.uint64((1 << (high - low)) - 1)
        order = np.argsort(band, kind="stable")
        cuts = np.flatnonzero(np.diff(band[order])) + 1
        for bucket in np.split(order, cuts):
            for at, index in enumerate(bucket[:-1].tolist()):
                rest = bucket[at + 1 :]
                near = rest[np.bitwise_count(values[rest] ^ values[index]) <= bits]
                found += [(index, other) for other in _joined(component, index, near)]
    return found


def _joined(component: np.ndarray[Any, np.dtype[np.int64]], index: int, near: np.ndarray[Any, Any]) -> Iterator[int]:
    """Put ``near`` into the component of ``index``; yield one of each component that was another."""
    apart = near[component[near] != component[index]]
    for other in apart.tolist():
        if component[other] != component[index]:
            component[component == component[other]] = component[index]
            yield other


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
