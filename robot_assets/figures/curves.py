"""Loss and accuracy over the epochs of a training."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import TYPE_CHECKING

from robot_assets.figures.chart import (
    SMALL,
    TEXT,
    WIDTH,
    add_panel,
    counted,
    draw_grid,
    empty_card,
    fitted_text,
    new_card,
    png_bytes,
    separate,
    width_of,
)
from robot_assets.figures.style import CARD, INK, MUTED

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Curve = list[tuple[float, float]]

_ACCURACIES = ("#0072b2", "#56b4e9", "#44aa99", "#999933")
_LOSSES = ("#d55e00", "#cc79a7", "#785ef0", "#c4b61e", "#009e73")
_ROUND = [1, 2, 5, 10]
_HEIGHT = 400
_TOP, _BOTTOM = 112, _HEIGHT - 52
_RIGHT = 736
_LEFT_LABELS, _RIGHT_LABELS = 140.0, WIDTH - _RIGHT - 16.0
"""Pixels of the name and the value at the right end of a curve, by panel."""


def training_curves(
    history: Sequence[Mapping[str, object]], metrics: Mapping[str, str], *, best_epoch: int | None = None
) -> bytes:
    """Draw validation accuracy and the parts of the loss over the epochs.

    Args:
        history: A row per epoch with ``epoch``, ``loss``, any ``loss_*`` parts, and metrics in [0, 1]. Values that are
            missing, None or not finite are not drawn.
        metrics: Names of the metrics by their key in ``history``; the first is the one that the task is judged by.
        best_epoch: The epoch whose weights were kept; by default the first with the highest first metric.

    Returns:
        PNG bytes.

    Raises:
        ValueError: A row without ``epoch``.
    """
    if not history:
        return empty_card("Training", "No epoch has finished yet.")
    accuracy = {key: curve for key in metrics if (curve := _curve(history, key))}
    colours = dict(zip(metrics, cycle(_ACCURACIES), strict=False))
    judged = next(iter(metrics), "")
    losses = {key: curve for key in _loss_names(history) if (curve := _curve(history, key))}
    best = _best(accuracy.get(judged, []), best_epoch)
    title = f"{counted(len(history), 'epoch')}, not validated yet"
    if best is not None:
        title = f"{metrics[judged]} of {best[1]:.3f} at epoch {best[0]:g}"
    figure = new_card(_HEIGHT, title, "Validation accuracy and training loss over the epochs")
    left = add_panel(figure, 58, _TOP, 340, _BOTTOM)
    right = add_panel(figure, 518, _TOP, _RIGHT, _BOTTOM)
    for axes, name in ((left, "Validation accuracy"), (right, "Training loss")):
        axes.set_title(name, loc="left", size=TEXT, color=INK, pad=12)
        axes.set_xlabel("epoch", size=SMALL, color=MUTED)
        _set_epoch_axis(axes, [_number(row.get("epoch")) for row in history])
        draw_grid(axes, "y")
    _draw_curves(left, _LEFT_LABELS, {metrics[k]: (curve, colours[k]) for k, curve in accuracy.items()})
    _draw_curves(
        right, _RIGHT_LABELS, {_loss_title(k): (curve, _loss_colour(k, losses)) for k, curve in losses.items()}
    )
    if best is not None:
        _draw_best(left, best)
    return png_bytes(figure)


def _number(value: object) -> float | None:
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    return None


def _curve(history: Sequence[Mapping[str, object]], key: str) -> Curve:
    points: Curve = []
    for number, row in enumerate(history):
        if (epoch := _number(row.get("epoch"))) is None:
            raise ValueError(f"row {number} of the history has no epoch: {sorted(row)}")
        if (value := _number(row.get(key))) is not None:
            points.append((epoch, value))
    return points


def _loss_names(history: Sequence[Mapping[str, object]]) -> list[str]:
    return sorted({key for row in history for key in row if key == "loss" or key.startswith("loss_")})


def _loss_title(key: str) -> str:
    return "total" if key == "loss" else key.removeprefix("loss_").replace("_", " ")


def _loss_colour(key: str, losses: Mapping[str, Curve]) -> str:
    parts = [name for name in losses if name != "loss"]
    return INK if key == "loss" else _LOSSES[parts.index(key) % len(_LOSSES)]


def _best(curve: Curve, epoch: int | None) -> tuple[float, float] | None:
    if epoch is not None:
        return next((point for point in curve if point[0] == epoch), None)
    return max(curve, key=lambda point: point[1], default=None)


def _set_epoch_axis(axes: Axes, epochs: Sequence[float | None]) -> None:
    from matplotlib.ticker import MaxNLocator

    known = [epoch for epoch in epochs if epoch is not None]
    low, high = min(known, default=0.0), max(known, default=1.0)
    pad = 0.5 if low == high else (high - low) * 0.02
    axes.set_xlim(low - pad, high + pad)
    if low == high:
        axes.set_xticks([low])
    else:
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, steps=_ROUND))


def _draw_curves(axes: Axes, label_width: float, curves: Mapping[str, tuple[Curve, str]]) -> None:
    """Draw curves on an axis from zero, each with its name at the right end."""
    from matplotlib.ticker import MaxNLocator

    highest = max((value for curve, _ in curves.values() for _, value in curve), default=1.0) or 1.0
    ceiling = highest * 1.12
    axes.set_ylim(min(0.0, *(v for curve, _ in curves.values() for _, v in curve), 0.0), ceiling)
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=_ROUND))
    if not curves:
        axes.text(0.5, 0.5, "not measured yet", transform=axes.transAxes, ha="center", size=TEXT, color=MUTED)
        return
    label_heights = separate([curve[-1][1] for curve, _ in curves.values()], ceiling * 0.075)
    for (name, (curve, colour)), y in zip(curves.items(), label_heights, strict=True):
        marker = "o" if len(curve) == 1 else ""
        axes.plot(*zip(*curve, strict=True), color=colour, linewidth=1.8, marker=marker, clip_on=False)
        axes.annotate(
            _label(name, f"{curve[-1][1]:.3f}" if ceiling < 10 else f"{curve[-1][1]:.1f}", label_width),
            (1.0, y),
            xycoords=("axes fraction", "data"),
            xytext=(8, 0),
            textcoords="offset points",
            va="center",
            color=colour,
            size=TEXT,
            annotation_clip=False,
        )


def _label(name: str, value: str, width: float) -> str:
    return f"{fitted_text(name, width - width_of(f' {value}', TEXT), TEXT)} {value}"


def _draw_best(axes: Axes, best: tuple[float, float]) -> None:
    colour = _ACCURACIES[0]
    axes.plot(
        *best,
        marker="o",
        markersize=8,
        color=colour,
        markeredgecolor=CARD,
        markeredgewidth=1.5,
        clip_on=False,
    )
    low, high = axes.get_xlim()
    side = "right" if best[0] > (low + high) / 2 else "left"
    axes.annotate(
        f"best {best[1]:.3f}",
        best,
        xytext=(0, 8),
        textcoords="offset points",
        ha=side,
        size=TEXT,
        weight="bold",
        color=colour,
    )
