"""Parameters of a network."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from robot_assets.tasks.detection.heads import GridOptions
from robot_assets.tasks.networks import CompactNetwork


class NetworkSpec(CompactNetwork):
    """A compact anchor-free detector of dense 3x3 convolutions."""

    depth: int = Field(default=1, ge=1, le=8, description="residual blocks per stage; twice as many at stride 16")
    finest_stride: Literal[4, 8] = Field(
        default=8, description="pixels per cell of the finest head; 4 detects smaller objects at a higher cost"
    )

    @property
    def heads(self) -> GridOptions:
        """Options of the decoder: pixels per cell of each head, finest first."""
        return GridOptions(strides=tuple(stride for stride in (4, 8, 16) if stride >= self.finest_stride))
