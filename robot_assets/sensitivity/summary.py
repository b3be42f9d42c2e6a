"""What was found about sensitive layers, in one sentence."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from robot_assets.sensitivity.analysis import Sensitivity


def headline(found: Sensitivity, latency_added: float) -> str:
    """The worst layer, and what is done about it.

    Args:
        found: What the search came to.
        latency_added: Share by which the chosen layers in float make an inference longer.
    """
    lead = f"{found.worst.layer.name} loses most ({_points(found.worst.drop_points)})"
    best = found.chosen.best
    if found.chosen.holds and not best.layers:
        return f"{lead}; all int8 loses {_points(found.int8_drop_points)}, {found.bound:g} allowed"
    count = f"{len(best.layers)} layer{'' if len(best.layers) == 1 else 's'} in float"
    if found.chosen.holds:
        verb = "holds" if len(best.layers) == 1 else "hold"
        return f"{lead}; {count} {verb} the gate at {100 * latency_added:+.0f} % latency"
    return f"{lead}; the gate does not hold: {count}, {_points(best.drop_points)} lost, {found.bound:g} allowed"


def _points(drop: float) -> str:
    rounded = round(drop, 1) + 0.0
    return f"{rounded:.1f} point{'' if rounded == 1 else 's'}"
