"""The section ``network`` of a model: the network of this package, or a class of one's own."""

from __future__ import annotations

import re
from typing import Any

from pydantic import Field, field_validator

from robot_assets.core.spec import Spec

COMPACT = "compact"
_ENTRY = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


class NetworkBase(Spec):
    """What every network has: the size of its input, and the weights that its training starts from."""

    kind: str = COMPACT
    input_height: int = Field(ge=8, le=4096, description="pixels")
    input_width: int = Field(ge=8, le=4096, description="pixels")
    weights: str | None = Field(
        default=None, description="entry of weights that the training starts from; by default random weights"
    )


class OwnNetwork(NetworkBase):
    """``network`` with ``kind: "package.module:Class"``: a ``torch.nn.Module`` of an installed package.

    Its ``forward`` takes float32 (N, 3, input_height, input_width) and returns a tensor, or a tuple or list of tensors,
    in the order of the heads of the task.
    """

    kind: str = Field(description="package.module:Class of the module")
    arguments: dict[str, Any] = Field(default_factory=dict, description="keyword arguments of the class")
    heads: dict[str, Any] = Field(
        default_factory=dict, description="options of the task's own decoder, such as strides: [8, 16]"
    )

    @field_validator("kind")
    @classmethod
    def _is_an_entry_point(cls, kind: str) -> str:
        if not _ENTRY.fullmatch(kind):
            raise ValueError(f'needed {COMPACT}, or "package.module:Class" of a torch.nn.Module')
        return kind
