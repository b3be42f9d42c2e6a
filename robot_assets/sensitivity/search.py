"""Searches a cheap set of layers to leave in float so that the accuracy is within a bound. Pure functions.

Quantization noise adds up: layers with small losses can have a large one together. A set is therefore never judged by
its members. The rankings of the layers only determine which sets are tried; each is judged by the measured drop of the
whole network with that set in float.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

Drop = Callable[[frozenset[str]], float]
"""Layers in float, the others quantized -> points that the network loses. Called once per set."""
Cost = Callable[[frozenset[str]], float]
"""Layers in float -> their cost."""


@dataclass(frozen=True)
class Trial:
    """A measured set of layers in float.

    Attributes:
        layers: The layers, in the order of the first ranking.
        drop_points: Points lost.
        cost: Cost of the set.
    """

    layers: tuple[str, ...]
    drop_points: float
    cost: float


@dataclass(frozen=True)
class SearchResult:
    """The result of a search.

    Attributes:
        best: The cheapest set within the bound; if there is none, the set with the smallest drop.
        holds: Whether ``best`` is within the bound.
        trials: All trials in order; the first has no layer in float.
    """

    best: Trial
    holds: bool
    trials: tuple[Trial, ...]


def search(rankings: Sequence[Sequence[str]], drop: Drop, cost: Cost, bound: float, layers_max: int) -> SearchResult:
    """Search a cheap set of at most ``layers_max`` layers whose drop is within ``bound``.

    Layers are added in the order of each ranking until the drop is within the bound. Then layers that are not needed
    are removed again, the most expensive first, until every remaining layer is needed.

    Args:
        rankings: The layers, in the order to add them. Of equal sets the first one measured is chosen.
        drop: Measures a set.
        cost: Cost of a set.
        bound: Points that may be lost.
        layers_max: Limit of layers in a set.
    """
    measured: dict[frozenset[str], Trial] = {}

    def measure(layers: frozenset[str]) -> Trial:
        if layers not in measured:
            ordered = tuple(name for name in rankings[0] if name in layers)
            measured[layers] = Trial(ordered, drop(layers), cost(layers))
        return measured[layers]

    measure(frozenset())
    for ranking in rankings:
        layers = frozenset[str]()
        for name in ranking[:layers_max]:
            if measure(layers).drop_points <= bound:
                break
            layers |= {name}
        if measure(layers).drop_points <= bound:
            _remove_unneeded(layers, measure, cost, bound)
    trials = tuple(measured.values())
    within = [one for one in trials if one.drop_points <= bound]
    if within:
        return SearchResult(min(within, key=lambda one: (one.cost, len(one.layers), one.drop_points)), True, trials)
    return SearchResult(min(trials, key=lambda one: (one.drop_points, one.cost, len(one.layers))), False, trials)


def _remove_unneeded(
    layers: frozenset[str], measure: Callable[[frozenset[str]], Trial], cost: Cost, bound: float
) -> None:
    """Measure ``layers`` without each of them, the cheapest rest first, and repeat from the first within the bound."""
    while layers:
        rests = sorted((layers - {name} for name in layers), key=lambda rest: (cost(rest), sorted(rest)))
        within = next((rest for rest in rests if measure(rest).drop_points <= bound), None)
        if within is None:
            return
        layers = within
