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
    best = found.chosen.best
    if found.chosen.holds and not best.layers:
        return f"{_lead(found)}; all int8 {_change(found.int8_drop_points)}, {found.bound:g} may be lost"
    count = f"{len(best.layers)} layer{'' if len(best.layers) == 1 else 's'} in float"
    if found.chosen.holds:
        verb = "holds" if len(best.layers) == 1 else "hold"
        return f"{_lead(found)}; {count} {verb} the gate at {100 * latency_added:+.0f} % latency"
    lost = _points(best.drop_points)
    return f"{_lead(found)}; the gate does not hold: {count}, {lost} lost, {found.bound:g} may be"


def _lead(found: Sensitivity) -> str:
    loss = found.worst.drop_points
    return f"{found.worst.layer.name} loses most ({_points(loss)})" if round(loss, 1) > 0 else "no layer alone loses"


def _change(drop: float) -> str:
    return f"{'gains' if round(drop, 1) < 0 else 'loses'} {_points(abs(drop))}"


def _points(drop: float) -> str:
    rounded = round(drop, 1)
    return f"{rounded:.1f} point{'' if rounded == 1 else 's'}"
