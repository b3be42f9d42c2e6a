"""Parameters of the segmentation network of this package, and of its loss."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from pydantic import Field

from robot_assets.core.spec import Spec
from robot_assets.core.validation import unknown
from robot_assets.tasks.networks import CompactNetwork
from robot_assets.tasks.segmentation.heads import MapOptions

ClassWeight: TypeAlias = Annotated[float, Field(gt=0, le=1000, allow_inf_nan=False)]


class CompactSegmenter(CompactNetwork):
    """A compact encoder and decoder of dense 3x3 convolutions."""

    depth: int = Field(default=1, ge=1, le=8, description="residual blocks per stage; three times as many at stride 16")

    @property
    def heads(self) -> MapOptions:
        """Options of the decoder."""
        return MapOptions(stride=4)


class SegmentationLossSpec(Spec):
    """``models.M.loss`` of a segmentation: cross-entropy, and what is added to it."""

    lovasz: float = Field(default=0.0, ge=0, le=10, description="weight of the Lovasz-Softmax term")
    dice: float = Field(default=0.0, ge=0, le=10, description="weight of the Dice term")
    class_weights: dict[str, ClassWeight] = Field(
        default_factory=dict, description="weight of a class in the cross-entropy, above 0; 1 where it is not named"
    )

    def check_classes(self, classes: tuple[str, ...]) -> None:
        """Check against the classes of the data set.

        Raises:
            ValueError: A weight is of no class; one line for each.
        """
        wrong = [name for name in self.class_weights if name not in classes]
        if wrong:
            lines = (f"class_weights.{name}: {unknown('class', name, classes, 'classes')}" for name in wrong)
            raise ValueError("\n".join(lines))
