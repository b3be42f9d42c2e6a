"""Parameters of a network."""

from __future__ import annotations

from pydantic import Field

from robot_assets.spec import Spec


class NetworkSpec(Spec):
    """A compact anchor-free detector of dense 3x3 convolutions."""

    input_height: int = Field(ge=64, le=2048, multiple_of=16, description="pixels")
    input_width: int = Field(ge=64, le=2048, multiple_of=16, description="pixels")
    width: int = Field(default=32, ge=8, le=256, multiple_of=8, description="channels of the first stage")
    depth: int = Field(default=1, ge=1, le=8, description="residual blocks a stage")
