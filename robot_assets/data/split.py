"""Splits recording sessions into train, val and test.

A unit is one session, or several linked by near-duplicate images; it is in exactly one split. The result depends on the
units and the seed only, not on the order of the units.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from robot_assets.core.errors import DataError
from robot_assets.core.label_issues import printable
from robot_assets.core.text import listed, plural
from robot_assets.data.duplicates import SessionLink
from robot_assets.data.spec import SplitSpec

SPLITS = ("train", "val", "test")
_RESTARTS = 12
_ABSENT_CLASS = 1000.0
_IMAGE_WEIGHT = 4.0
_UNIT_WEIGHT = 0.2
"""Small but positive: many small sessions evaluate a model better than one large session."""
_LINKS_SHOWN = 10
Array = np.ndarray[Any, Any]
Assignment = list[int]
_SWAPPED_UNITS = 150
"""Maximum number of units for swaps, whose cost is quadratic; with more units, moves alone are good enough."""


@dataclass(frozen=True)
class Unit:
    """Sessions that must stay in one split.

    Attributes:
        sessions: Their names, sorted.
        images: Number of their images.
        counts: Number of labels, by class; classes without labels may be missing.
        links: The near-duplicate images that link its sessions.
    """

    sessions: tuple[str, ...]
    images: int
    counts: Mapping[str, int]
    links: tuple[SessionLink, ...] = ()


def split_units(units: Sequence[Unit], spec: SplitSpec, name: str = "") -> dict[str, tuple[str, ...]]:
    """Return the sessions of each split, sorted.

    First priority is every class in every split, if possible; then the shares of images of ``spec``; then, with less
    weight, the same shares for each class. Greedy iterative stratification (K. Sechidis et al., "On the
    stratification of multi-label data", 2011) with several restarts, each improved by moves and swaps; the best
    result is returned.

    Args:
        units: What must not be divided.
        spec: Shares of the splits, and the seed.
        name: Name of the data set, for errors.

    Raises:
        DataError: Fewer than three units.
    """
    ordered = sorted(units, key=lambda unit: unit.sessions)
    if len(ordered) < len(SPLITS):
        raise _too_few(ordered, name)
    search = _Search(ordered, (spec.train, spec.val, spec.test))
    best: Assignment = []
    for restart in range(_RESTARTS):
        found = search.improved(search.greedy(f"{spec.seed}/{restart}"))
        if not best or search.cost(found) < search.cost(best):
            best = found
    return {
        name: tuple(sorted(s for unit, at in zip(ordered, best, strict=True) if at == index for s in unit.sessions))
        for index, name in enumerate(SPLITS)
    }


def _too_few(units: Sequence[Unit], name: str) -> DataError:
    """The error about units that are fewer than the splits."""
    sessions = [session for unit in units for session in unit.sessions]
    needed = f"at least {len(SPLITS)} independent sessions: a session is never divided among train, val and test"
    found = f"{plural(len(sessions), 'session')}: cannot be split"
    if len(sessions) < len(SPLITS):
        check = f"robot-assets data check {name}   # proposes how to group the images by recording" if name else ""
        return DataError(found, needed=needed, fix=check or "group the images by recording: data import --sessions")
    fix = "add recordings of other places or times, or remove the repeated images"
    if any(link.bits for unit in units for link in unit.links):
        key = f"{f'datasets.{name}.' if name else ''}near_duplicate_bits"
        fix += f"; if the pairs above are no duplicates, lower {key} in params.yaml"
    return DataError(
        f"{found}, since near-duplicate images leave only {len(units)} independent" + linked_units(units),
        needed=needed,
        fix=fix,
    )


def linked_units(units: Sequence[Unit]) -> str:
    """The linked sessions, one group after the other, each with a pair of images for each link; "" for none."""
    text = ""
    for unit in units:
        if unit.links:
            text += f"\n    linked: {listed(map(printable, unit.sessions))}"
            text += "".join(f"\n      {_pair(link)}" for link in unit.links[:_LINKS_SHOWN])
            more = len(unit.links) - _LINKS_SHOWN
            text += f"\n      and {plural(more, 'more link')}" if more > 0 else ""
    return text


def _pair(link: SessionLink) -> str:
    one, other = map(printable, link.images)
    return f"{one} and {other}: {plural(link.bits, 'bit')} of 64 {'differs' if link.bits == 1 else 'differ'}"


class _Search:
    """Local search for an assignment (unit -> index of its split) of low cost.

    Columns of the counts: images, units, labels of each class.
    """

    def __init__(self, units: Sequence[Unit], shares: Sequence[float]) -> None:
        classes = sorted({name for unit in units for name, count in unit.counts.items() if count})
        rows = [[unit.images, 1, *(unit.counts.get(name, 0) for name in classes)] for unit in units]
        self._names = ["/".join(unit.sessions) for unit in units]
        self._counts = np.array(rows, dtype=np.float64)
        self._wanted = np.outer(np.array(shares), self._counts.sum(axis=0))
        self._weights = np.array([_IMAGE_WEIGHT, _UNIT_WEIGHT] + [1.0 / max(len(classes), 1)] * len(classes))
        # A class in fewer units than splits cannot be in every split; its cost would dominate all others.
        self._possible = (self._counts > 0).sum(axis=0) >= len(shares)

    def cost(self, assignment: Assignment) -> float:
        """Cost of an assignment."""
        totals = self._totals(assignment)
        return round(sum(float(self._cost_of(split, totals[split])) for split in range(len(totals))), 9)

    def greedy(self, seed: str) -> Assignment:
        """Assign large units first, each to the split that lacks most of its contents; ``seed`` varies the order."""
        lots = [hashlib.sha256(f"{seed}/{name}".encode()).digest() for name in self._names]
        jitter = np.array([0.5 + lot[0] / 255 for lot in lots])
        weight = ((self._counts / self._counts.sum(axis=0)).sum(axis=1) * jitter).round(9)
        order = sorted(range(len(lots)), key=lambda unit: (-weight[unit], lots[unit]))
        totals = np.zeros_like(self._wanted)
        assignment = [0] * len(lots)
        for unit in order:
            missing = ((self._wanted - totals) / self._wanted)[:, self._counts[unit] > 0]
            assignment[unit] = int(np.argmax(missing.mean(axis=1).round(9)))
            totals[assignment[unit]] += self._counts[unit]
        return assignment

    def improved(self, assignment: Assignment) -> Assignment:
        """Apply the best move or swap of units until none lowers the cost."""
        while True:
            steps = [self._best_move(assignment)]
            if len(assignment) <= _SWAPPED_UNITS:
                steps.append(self._best_swap(assignment))
            gain, changes = min(steps, key=lambda step: step[0])
            if gain > -1e-9:
                return assignment
            for unit, split in changes:
                assignment[unit] = split

    def _best_move(self, assignment: Assignment) -> tuple[float, list[tuple[int, int]]]:
        totals, here = self._totals(assignment), np.array(assignment)
        now = np.array([self._cost_of(split, totals[split]) for split in range(len(totals))])
        without = self._cost_of(here, totals[here] - self._counts) - now[here]
        gains = np.stack([self._cost_of(s, totals[s] + self._counts) - now[s] for s in range(len(totals))], axis=1)
        gains += without[:, None]
        gains[np.arange(len(here)), here] = 0.0
        unit, split = divmod(int(np.argmin(gains.round(9))), len(totals))
        return float(gains[unit, split]), [(unit, split)]

    def _best_swap(self, assignment: Assignment) -> tuple[float, list[tuple[int, int]]]:
        totals, here = self._totals(assignment), np.array(assignment)
        now = np.array([self._cost_of(split, totals[split]) for split in range(len(totals))])
        # traded[i, j]: change in cost of the split of unit i when j replaces i.
        traded = self._cost_of(here[:, None], totals[here][:, None] + self._counts[None] - self._counts[:, None])
        gains = traded - now[here][:, None]
        gains = np.where(here[:, None] == here[None], 0.0, gains + gains.T)
        one, other = divmod(int(np.argmin(gains.round(9))), len(here))
        return float(gains[one, other]), [(one, assignment[other]), (other, assignment[one])]

    def _totals(self, assignment: Assignment) -> Array:
        totals = np.zeros_like(self._wanted)
        np.add.at(totals, np.array(assignment), self._counts)
        return totals

    def _cost_of(self, split: int | Array, totals: Array) -> Array:
        """Cost of splits (...) with totals (..., columns)."""
        deviation = (totals - self._wanted[split]) / self._wanted[split]
        absent = ((totals < 0.5) & self._possible).sum(axis=-1)
        return np.asarray((deviation**2 * self._weights).sum(axis=-1) + _ABSENT_CLASS * absent)
