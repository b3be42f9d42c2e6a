"""Parameters of a network."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from robot_assets.tasks.detection.heads import GridOptions
from robot_assets.tasks.networks import NetworkBase


class NetworkSpec(NetworkBase):
    """A compact anchor-free detector of dense 3x3 convolutions."""

    input_height: int = Field(ge=64, le=2048, multiple_of=16, description="pixels")
    input_width: int = Field(ge=64, le=2048, multiple_of=16, description="pixels")
    width: int = Field(
        default=32,
        ge=8,
        le=256,
        multiple_of=8,
        description="channels at stride 4; doubled at 8 and again at 16",
    )
    depth: int = Field(default=1, ge=1, le=8, description="residual blocks per stage; twice as many at stride 16")
    finest_stride: Literal[4, 8] = Field(
        default=8, description="pixels per cell of the finest head; 4 detects smaller objects at a higher cost"
    )

    @property
    def heads(self) -> GridOptions:
        """Options of the decoder: pixels per cell of each head, finest first."""
        return GridOptions(strides=tuple(stride for stride in (4, 8, 16) if stride >= self.finest_stride))

    @property
    def strides(self) -> tuple[int, ...]:
        """Pixels per cell of each head, finest first."""
        return self.heads.strides

    def grid(self, stride: int) -> tuple[int, int]:
        """Rows and columns of the head at ``stride``."""
        return self.input_height // stride, self.input_width // stride
