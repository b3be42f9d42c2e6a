"""Assigns cells to objects: task-aligned assignment (TOOD, arXiv 2108.07755) within a window of cells.

The candidates of an object are the cells around its centre, at every stride. The cells with the best current
prediction, by ``score^0.5 * IoU^6``, are assigned to it. The class target of a cell is its quality relative to
the best cell of its object, so that the score of a detection reflects how well its box fits. The window keeps
the cost independent of the input size.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from robot_assets.tasks.detection.decode import LOG_SIZE_MAX, cells
from robot_assets.tasks.interface import Interface

SCORE_POWER, IOU_POWER = 0.5, 6.0
"""The exponents of YOLOv8 (ultralytics); TOOD has 1 and 6."""
CELLS_PER_OBJECT = 10
WINDOW = 6
"""Side of the window of candidates, in cells of each stride."""


@dataclass(frozen=True)
class Targets:
    """The objects of a batch, concatenated.

    Attributes:
        image: int64 (G,), index into the batch.
        boxes: float32 (G, 4) xyxy, pixels of the input.
        labels: int64 (G,), class index.
    """

    image: Tensor
    boxes: Tensor
    labels: Tensor

    def to(self, device: torch.device) -> Targets:
        """The same targets on ``device``."""
        return Targets(self.image.to(device), self.boxes.to(device), self.labels.to(device))


@dataclass(frozen=True)
class Assignment:
    """The cells that are assigned to an object, each at most once.

    Attributes:
        image: int64 (P,), index into the batch.
        cell: int64 (P,), index into the cells of all levels, finest first.
        target: int64 (P,), index into the targets.
        quality: float32 (P,) in [0, 1]: the class target.
    """

    image: Tensor
    cell: Tensor
    target: Tensor
    quality: Tensor


@torch.no_grad()
def assign(logits: Tensor, raw: Tensor, targets: Targets, grid: Grid) -> Assignment:
    """Assign cells to objects.

    Args:
        logits: float32 (N, cells, classes).
        raw: float32 (N, cells, 4), undecoded boxes.
        targets: The objects.
        grid: The cells.
    """
    cell, is_candidate = grid.candidates(targets.boxes)
    image = targets.image[:, None].expand_as(cell)
    iou = box_iou(grid.boxes(raw[image, cell], cell), targets.boxes[:, None]).clamp(min=0)
    score = logits[image, cell, targets.labels[:, None]].sigmoid()
    alignment = score.pow(SCORE_POWER) * iou.pow(IOU_POWER) * is_candidate
    best, position = alignment.topk(min(CELLS_PER_OBJECT, cell.shape[1]), dim=1)
    target, column = torch.nonzero(best > 0, as_tuple=True)
    position = position[target, column]
    chosen = _without_conflicts(
        targets.image[target] * len(grid.stride) + cell[target, position],
        iou[target, position],
        target,
        cell_count=len(logits) * len(grid.stride),
    )
    target, position = target[chosen], position[chosen]
    alignment, iou = alignment[target, position], iou[target, position]
    quality = alignment / _max_by_target(alignment, target)[target] * _max_by_target(iou, target)[target]
    return Assignment(targets.image[target], cell[target, position], target, quality)


def _without_conflicts(key: Tensor, iou: Tensor, target: Tensor, cell_count: int) -> Tensor:
    """Mask of the pairs that remain when each cell keeps its object of largest IoU; ties go to the first object."""
    best = torch.zeros(cell_count, device=iou.device).scatter_reduce(0, key, iou, "amax")
    is_best = iou >= best[key]
    first = torch.full((cell_count,), len(key) + int(target.numel() and target.max()) + 1, device=key.device)
    first = first.scatter_reduce(0, key[is_best], target[is_best], "amin")
    return is_best & (target == first[key])


def _max_by_target(values: Tensor, target: Tensor) -> Tensor:
    count = int(target.max()) + 1 if target.numel() else 0
    return torch.full((count,), 1e-9, device=values.device).scatter_reduce(0, target, values, "amax")


class Grid:
    """The cells of all levels, finest first, row by row, as tensors on one device.

    Attributes:
        centre: float32 (cells, 2), xy in pixels.
        stride: float32 (cells, 1), pixels.
    """

    def __init__(self, interface: Interface, device: torch.device | str = "cpu") -> None:
        height, width = interface.input.height, interface.input.width
        strides = tuple(interface.options["strides"])
        centre, stride = cells(height, width, strides)
        self.centre = torch.from_numpy(centre).to(device)
        self.stride = torch.from_numpy(stride).to(device)
        self._levels = [(stride, height // stride, width // stride) for stride in strides]
        offsets = torch.arange(WINDOW, device=device) - (WINDOW // 2 - 1)
        self._rows, self._columns = (part.reshape(-1) for part in torch.meshgrid(offsets, offsets, indexing="ij"))

    def boxes(self, raw: Tensor, cell: Tensor) -> Tensor:
        """Decode raw boxes (..., 4) of the cells (...) to xyxy in pixels, with the arithmetic of ``decode``."""
        stride = self.stride[cell]
        centre = self.centre[cell] + raw[..., :2] * stride
        half = raw[..., 2:].clamp(max=LOG_SIZE_MAX).exp() * stride * 0.5
        return torch.cat([centre - half, centre + half], dim=-1)

    def candidates(self, boxes: Tensor) -> tuple[Tensor, Tensor]:
        """For each box (G, 4) the cells (G, K) around its centre, and whether each is a candidate (G, K).

        A cell is a candidate when its centre lies inside the box, or within one cell of the centre of the box:
        an object thinner than a cell may contain no centre.
        """
        middle = (boxes[:, :2] + boxes[:, 2:]) / 2
        found, allowed, offset = [], [], 0
        for stride, rows, columns in self._levels:
            nearest = torch.floor(middle / stride - 0.5).long()
            column = nearest[:, :1] + self._columns
            row = nearest[:, 1:] + self._rows
            is_inside = (column >= 0) & (column < columns) & (row >= 0) & (row < rows)
            cell = offset + row.clamp(0, rows - 1) * columns + column.clamp(0, columns - 1)
            centre = self.centre[cell]
            is_in_box = ((centre > boxes[:, None, :2]) & (centre < boxes[:, None, 2:])).all(-1)
            is_near = ((centre - middle[:, None]).abs() < stride).all(-1)
            found.append(cell)
            allowed.append(is_inside & (is_in_box | is_near))
            offset += rows * columns
        return torch.cat(found, dim=1), torch.cat(allowed, dim=1)


def box_iou(one: Tensor, other: Tensor) -> Tensor:
    """Intersection over union of boxes (..., 4) xyxy, elementwise."""
    sides = (torch.minimum(one[..., 2:], other[..., 2:]) - torch.maximum(one[..., :2], other[..., :2])).clamp(min=0)
    shared = sides[..., 0] * sides[..., 1]
    return shared / (_area(one) + _area(other) - shared + 1e-7)


def _area(boxes: Tensor) -> Tensor:
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])
