"""The result of the search for sensitive layers, in one sentence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from robot_assets.core.text import plural

if TYPE_CHECKING:
    from robot_assets.sensitivity.analysis import Sensitivity


def headline(found: Sensitivity, latency_added: float | None = None) -> str:
    """The worst layer, and the chosen layers in float.

    Args:
        found: The result of the search.
        latency_added: Relative increase of the latency with the chosen layers in float; None if not measured.
    """
    best = found.chosen.best
    if found.chosen.holds and not best.layers:
        return f"{_worst(found)}; all int8 {_change(found.int8_drop_points)}, at most {found.bound:g} allowed"
    count = f"{plural(len(best.layers), 'layer')} in float"
    if found.chosen.holds:
        verb = "meets" if len(best.layers) == 1 else "meet"
        cost = "" if latency_added is None else f" at {100 * latency_added:+z.0f} % latency"
        return f"{_worst(found)}; {count} {verb} the bound{cost}"
    lost = _points(best.drop_points)
    return f"{_worst(found)}; the bound is not met: {lost} lost with {count}, at most {found.bound:g} allowed"


def _worst(found: Sensitivity) -> str:
    loss = found.worst.drop_points
    if round(loss, 1) > 0:
        return f"{found.worst.layer.name} loses most ({_points(loss)})"
    return "no layer alone loses accuracy"


def _change(drop: float) -> str:
    return f"{'gains' if round(drop, 1) < 0 else 'loses'} {_points(abs(drop))}"


def _points(drop: float) -> str:
    rounded = round(drop, 1)
    return f"{rounded:.1f} point{'' if rounded == 1 else 's'}"
