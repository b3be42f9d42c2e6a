"""The training loss: binary cross-entropy of task-aligned class targets, complete IoU of boxes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from robot_assets.tasks.detection.assign import Grid, Targets, assign, box_iou
from robot_assets.tasks.learning import Loss

CLS_WEIGHT, BOX_WEIGHT = 1.0, 5.0


def detection_loss(heads: Sequence[Tensor], targets: Targets, grid: Grid) -> Loss:
    """Loss of the raw heads of a batch, computed in float32.

    Args:
        heads: In the order of the interface; any floating dtype.
        targets: The objects of the batch.
        grid: The cells of the network, on the device of the heads.
    """
    logits = torch.cat([_flat(head) for head in heads[0::2]], dim=1)
    raw = torch.cat([_flat(head) for head in heads[1::2]], dim=1)
    assigned = assign(logits.detach(), raw.detach(), targets, grid)
    expected = torch.zeros_like(logits)
    expected[assigned.image, assigned.cell, targets.labels[assigned.target]] = assigned.quality
    norm = assigned.quality.sum().clamp(min=1)
    cls = functional.binary_cross_entropy_with_logits(logits, expected, reduction="sum") / norm * CLS_WEIGHT
    predicted = grid.boxes(raw[assigned.image, assigned.cell], assigned.cell)
    distance = 1 - complete_iou(predicted, targets.boxes[assigned.target])
    box = (distance * assigned.quality).sum() / norm * BOX_WEIGHT
    return Loss(cls + box, {"cls": cls.detach(), "box": box.detach()})


def complete_iou(predicted: Tensor, expected: Tensor) -> Tensor:
    """CIoU (arXiv 1911.08287) of boxes (P, 4) xyxy: IoU minus penalties for distance and aspect."""
    iou = box_iou(predicted, expected)
    hull = torch.maximum(predicted[:, 2:], expected[:, 2:]) - torch.minimum(predicted[:, :2], expected[:, :2])
    offset = (predicted[:, :2] + predicted[:, 2:] - expected[:, :2] - expected[:, 2:]) / 2
    distance = offset.pow(2).sum(1) / (hull.pow(2).sum(1) + 1e-7)
    aspect = (4 / math.pi**2) * (_angle(expected) - _angle(predicted)).pow(2)
    with torch.no_grad():
        weight = aspect / (1 - iou + aspect + 1e-7)
    return iou - distance - weight * aspect


def _angle(boxes: Tensor) -> Tensor:
    sides = boxes[:, 2:] - boxes[:, :2]
    return torch.atan(sides[:, 0] / (sides[:, 1] + 1e-7))


def _flat(head: Tensor) -> Tensor:
    """(N, C, rows, columns) -> float32 (N, rows * columns, C)."""
    return head.float().flatten(2).transpose(1, 2)
