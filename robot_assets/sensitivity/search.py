"""Which layers to leave in float: the few that bring the accuracy back, at the least cost. Pure; measures nothing.

Quantization noise adds up, roughly: a set of layers that loses little each is no set that loses little. So a set is
never judged by its parts. The order of the layers only says what to try; what counts is the measured drop of the
whole network with that set in float.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

Drop = Callable[[frozenset[str]], float]
"""Layers in float, the others quantized -> points that the network loses; called once for each set."""
Cost = Callable[[frozenset[str]], float]
"""Layers in float -> what that costs."""


@dataclass(frozen=True)
class Trial:
    """A set of layers in float, as it was tried.

    Attributes:
        layers: In the order of the first ranking.
        drop_points: Points lost.
        cost: What it costs.
    """

    layers: tuple[str, ...]
    drop_points: float
    cost: float


@dataclass(frozen=True)
class Chosen:
    """What the search came to.

    Attributes:
        best: The cheapest set that holds the bound; where none was found, the one that loses least.
        holds: Whether it holds the bound.
        trials: Everything that was tried, in that order; the first leaves nothing in float.
    """

    best: Trial
    holds: bool
    trials: tuple[Trial, ...]


def search(rankings: Sequence[Sequence[str]], drop: Drop, cost: Cost, bound: float, most: int) -> Chosen:
    """Look for a cheap set of at most ``most`` layers whose drop is within ``bound``.

    Each ranking is walked from its top until the bound holds. Then what is not needed after all goes back, the
    dearest first, until every layer that is left is needed.

    Args:
        rankings: The layers, those to try first in front; ties between sets go to the first ranking.
        drop: Measures a set.
        cost: Prices a set.
        bound: Points that may be lost.
        most: Layers that a set may have.
    """
    tried: dict[frozenset[str], Trial] = {}

    def trial(layers: frozenset[str]) -> Trial:
        if layers not in tried:
            ordered = tuple(name for name in rankings[0] if name in layers)
            tried[layers] = Trial(ordered, drop(layers), cost(layers))
        return tried[layers]

    trial(frozenset())
    for ranking in rankings:
        layers = frozenset[str]()
        for name in ranking[:most]:
            if trial(layers).drop_points <= bound:
                break
            layers |= {name}
        if trial(layers).drop_points <= bound:
            _give_back(layers, trial, cost, bound)
    found = tuple(tried.values())
    holding = [one for one in found if one.drop_points <= bound]
    if holding:
        return Chosen(min(holding, key=lambda one: (one.cost, len(one.layers), one.drop_points)), True, found)
    return Chosen(min(found, key=lambda one: (one.drop_points, one.cost, len(one.layers))), False, found)


def _give_back(layers: frozenset[str], trial: Callable[[frozenset[str]], Trial], cost: Cost, bound: float) -> None:
    """Try ``layers`` without each of them, the cheapest rest first, and go on from the first that still holds."""
    while layers:
        rests = sorted((layers - {name} for name in layers), key=lambda rest: (cost(rest), sorted(rest)))
        holding = next((rest for rest in rests if trial(rest).drop_points <= bound), None)
        if holding is None:
            return
        layers = holding
