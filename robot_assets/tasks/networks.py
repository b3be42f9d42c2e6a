"""The section ``network`` of a model: the network of this package, or a class of one's own; and its interface."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import Field, field_validator

from robot_assets.core.dispatch import chosen_by_params, entry
from robot_assets.core.spec import Spec
from robot_assets.tasks.interface import Input, Interface, Preprocessing

if TYPE_CHECKING:
    from robot_assets.tasks.task import Task

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


class CompactNetwork(NetworkBase):
    """What the networks of this package have in common: three stages down to stride 16."""

    input_height: int = Field(ge=64, le=2048, multiple_of=16, description="pixels")
    input_width: int = Field(ge=64, le=2048, multiple_of=16, description="pixels")
    width: int = Field(
        default=32,
        ge=8,
        le=256,
        multiple_of=8,
        description="channels at stride 4; doubled at 8 and again at 16",
    )


class OwnNetwork(NetworkBase):
    """``network`` with ``kind: "package.module:Class"``: a ``torch.nn.Module`` of an installed package.

    Its ``forward`` takes float32 (N, 3, input_height, input_width) and returns a tensor, or a tuple or list of tensors,
    in the order of the heads of the task, or a mapping by their names.
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


def network_code(network: NetworkBase, task: Task) -> tuple[str, ...]:
    """The entry points of the code that builds a network, for the stages that build it."""
    built = network.kind if isinstance(network, OwnNetwork) else task.compact
    return (entry(type(network)), built) if built else ()


@dataclass(frozen=True)
class NetworkDefinition:
    """What params.yaml says of a network that is trained here.

    Attributes:
        task: Name of its task.
        network: The network.
        input: Preprocessing of its images.
        loss: Parameters of its loss.
    """

    task: str
    network: NetworkBase
    input: Preprocessing
    loss: Spec


@chosen_by_params
def network_of(task: Task, document: Mapping[str, Any]) -> NetworkBase:
    """Validate a section ``network``.

    Raises:
        ValueError: It is not valid, or the task has no network of this package; pydantic's error is one.
    """
    if document.get("kind", COMPACT) != COMPACT:
        return OwnNetwork.model_validate(document)
    if task.compact_spec is None:
        raise ValueError(
            f'kind: there is no {COMPACT} network for {task.name}; needed "package.module:Class" of a torch.nn.Module'
        )
    found: NetworkBase = task.compact_spec.model_validate(document)
    return found


@chosen_by_params
def interface_of(task: Task, network: NetworkBase, preprocessing: Preprocessing, classes: tuple[str, ...]) -> Interface:
    """The interface of a network that is trained here.

    Raises:
        ValueError: The options of its heads are not valid, or do not fit its input.
    """
    decoder = task.own_decoder
    heads: Any = getattr(network, "heads", {})
    options = heads if isinstance(heads, decoder.options) else decoder.options.model_validate(heads)
    size = {"height": network.input_height, "width": network.input_width}
    input = Input(**preprocessing.model_dump(include=set(Preprocessing.model_fields)), **size)
    return Interface(
        task=task.name,
        classes=classes,
        input=input,
        heads=decoder.heads(input, options, classes, {}),
        decoder=decoder.name,
        options=options.model_dump(mode="json"),
    )
