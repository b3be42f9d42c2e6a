import numpy as np
import torch

from robot_assets.tasks.detection.assign import Grid, Targets, assign, box_iou
from robot_assets.tasks.detection.decode import decode_grid
from robot_assets.tasks.detection.loss import complete_iou, detection_loss
from robot_assets.tasks.detection.spec import NetworkSpec
from tests.detectors import interface

INTERFACE = interface(NetworkSpec(input_height=64, input_width=96, width=8))
CELLS = 8 * 12 + 4 * 6


def targets(*boxes: tuple[float, float, float, float], image: int = 0) -> Targets:
    return Targets(
        image=torch.full((len(boxes),), image),
        boxes=torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        labels=torch.arange(len(boxes)),
    )


def heads(seed: int = 0) -> list[torch.Tensor]:
    rng = torch.Generator().manual_seed(seed)
    return [torch.randn(2, *head.shape[1:], generator=rng).requires_grad_() for head in INTERFACE.heads]


def test_an_object_thinner_than_a_cell_is_assigned_cells() -> None:
    found = assign(
        torch.zeros(2, CELLS, 3), torch.zeros(2, CELLS, 4), targets((40, 20, 43, 30), image=1), Grid(INTERFACE)
    )
    assert len(found.cell) > 0
    assert set(found.image.tolist()) == {1}
    assert (found.quality > 0).all()
    assert (found.quality <= 1).all()


def test_no_cell_is_assigned_to_two_objects() -> None:
    found = assign(
        torch.zeros(2, CELLS, 3),
        torch.zeros(2, CELLS, 4),
        targets((30, 20, 60, 50), (31, 21, 61, 51), (30, 20, 60, 50)),
        Grid(INTERFACE),
    )
    assert len(set(found.cell.tolist())) == len(found.cell)
    assert set(found.target.tolist()) <= {0, 1, 2}


def test_cells_near_the_object_are_assigned() -> None:
    grid = Grid(INTERFACE)
    box = (60.0, 8.0, 84.0, 56.0)
    found = assign(torch.zeros(2, CELLS, 3), torch.zeros(2, CELLS, 4), targets(box), grid)
    centres = grid.centre[found.cell]
    assert (centres[:, 0] > 60).all()
    assert (centres[:, 0] < 84).all()


def test_a_batch_without_objects_has_a_finite_loss_and_gradient() -> None:
    outputs = heads()
    loss = detection_loss(outputs, targets(), Grid(INTERFACE))
    loss.total.backward()
    assert torch.isfinite(loss.total)
    assert loss.parts["box"] == 0
    assert all(torch.isfinite(output.grad).all() for output in outputs[0::2])


def test_minimizing_the_loss_finds_the_object() -> None:
    outputs, expected, grid = heads(), targets((20, 10, 44, 40)), Grid(INTERFACE)
    optimizer = torch.optim.Adam(outputs, lr=0.1)
    for _ in range(80):
        optimizer.zero_grad()
        detection_loss(outputs, expected, grid).total.backward()
        optimizer.step()

    found = decode_grid([output.detach().numpy() for output in outputs], INTERFACE, score_min=0.3)[0]
    assert found.labels[0] == 0
    assert np.abs(found.boxes[0] - [20, 10, 44, 40]).max() < 2


def test_iou_of_known_boxes() -> None:
    one = torch.tensor([[0.0, 0.0, 10.0, 10.0]])
    half = torch.tensor([[5.0, 0.0, 15.0, 10.0]])
    torch.testing.assert_close(box_iou(one, half), torch.tensor([1 / 3]))
    torch.testing.assert_close(complete_iou(one, one), torch.tensor([1.0]))
    assert complete_iou(one, half) < box_iou(one, half)
