"""What training needs of a task: targets of augmented images, and the loss of the heads. Needs torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, Self

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray
    from torch import Tensor

    from robot_assets.core.spec import Spec
    from robot_assets.tasks.geometry import Fitted, Placement
    from robot_assets.tasks.interface import Interface
    from robot_assets.tasks.task import Split


@dataclass(frozen=True)
class Loss:
    """A loss and its parts, each a scalar tensor.

    Attributes:
        total: The sum that is minimized.
        parts: Its weighted parts by name, detached; always the same names.
    """

    total: Tensor
    parts: Mapping[str, Tensor]


class Targets(Protocol):
    """The labels of a batch as tensors."""

    def to(self, device: torch.device) -> Self:
        """The same on ``device``."""
        ...


class Learning(Protocol):
    """Labels of training images, and the loss. The labels of one image are a value of the task's own type.

    Attributes:
        parts: Names of the parts of the loss, in order.
    """

    parts: tuple[str, ...]

    def __init__(self, interface: Interface, options: Spec, device: torch.device) -> None: ...

    def labels(self, split: Split, index: int, fitted: Fitted) -> Any:
        """The labels of image ``index``, in pixels of the input."""
        ...

    def focus_points(self, labels: Any) -> NDArray[np.float32]:
        """Points (n, 2) xy in pixels that a crop may be centred near; none: crops are anywhere."""
        ...

    def placed(self, labels: Sequence[Any], placements: Sequence[Placement], size: tuple[int, int]) -> Any:
        """The labels of a canvas of ``size`` (width, height) that parts of some images lie on."""
        ...

    def flipped(self, labels: Any, width: int) -> Any:
        """The labels of a canvas of ``width`` pixels after it was mirrored left to right."""
        ...

    def targets(self, labels: Sequence[Any]) -> Targets:
        """The labels of a batch, on the CPU."""
        ...

    def loss(self, heads: Sequence[Tensor], targets: Any) -> Loss:
        """The loss of the heads of a batch, in float32. Targets are on the device of the heads."""
        ...
