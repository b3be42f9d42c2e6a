"""An entry of ``models`` in params.yaml: a network that is trained here, or an ONNX file that was trained elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from pydantic import Field, ModelWrapValidatorHandler, ValidationError, create_model, model_validator

from robot_assets.core.dispatch import chosen_by_params
from robot_assets.core.spec import Spec
from robot_assets.core.validation import mistakes, unknown
from robot_assets.foreign.spec import OnnxSource
from robot_assets.sensitivity.entry import OnnxQuantizationEntry, QuantizationEntry
from robot_assets.sensitivity.spec import SensitivitySpec
from robot_assets.tasks.interface import Interface, Preprocessing
from robot_assets.tasks.networks import COMPACT, NetworkBase, NetworkDefinition, OwnNetwork, interface_of
from robot_assets.tasks.registry import task_of, tasks
from robot_assets.training.spec import TrainingSpec

if TYPE_CHECKING:
    from robot_assets.pipeline.params import Params
    from robot_assets.tasks.task import Task


class ModelSpec(Spec):
    """One entry of ``models``. Validating this class gives a :class:`TrainedModel` or an :class:`OnnxModel`."""

    task: str
    dataset: str
    targets: tuple[str, ...] = Field(min_length=1)
    input: Preprocessing = Preprocessing()

    @property
    def sensitivity(self) -> SensitivitySpec | None:
        """The search for layers to leave in float; None where it is not asked for."""
        raise NotImplementedError

    @property
    def mixed_precision(self) -> bool:
        """Whether engines are built with the layers in float that the search chose."""
        raise NotImplementedError

    @model_validator(mode="wrap")
    @classmethod
    def _of_its_kind(cls, entry: Any, handler: ModelWrapValidatorHandler[ModelSpec]) -> ModelSpec:
        if cls is not ModelSpec or not isinstance(entry, Mapping):
            return handler(entry)
        return _class_of(entry).model_validate(dict(entry))


class TrainedModel(ModelSpec):
    """A network that is trained here. The classes of ``network`` and ``loss`` are those of the task."""

    network: NetworkBase
    training: TrainingSpec
    loss: Spec
    quantization: QuantizationEntry

    @property
    def definition(self) -> NetworkDefinition:
        """The network, its preprocessing and its loss."""
        return NetworkDefinition(self.task, self.network, self.input, self.loss)

    @property
    def sensitivity(self) -> SensitivitySpec | None:
        """The search for layers to leave in float; None where it is not asked for."""
        return self.quantization.sensitivity

    @property
    def mixed_precision(self) -> bool:
        """Whether engines are built with the layers in float that the search chose."""
        return self.quantization.mixed_precision

    def interface(self, classes: tuple[str, ...]) -> Interface:
        """Input, heads and decoder for some classes.

        Raises:
            ValueError: ``network.heads`` is not valid, or does not fit the input; one line for each mistake.
        """
        try:
            return interface_of(task_of(self.task), self.network, self.input, classes)
        except ValidationError as error:
            raise ValueError("\n".join(f"network.heads.{mistake}" for mistake in mistakes(error))) from None
        except ValueError as error:
            raise ValueError(f"network: {error}") from None


class OnnxModel(ModelSpec):
    """An ONNX file that was trained elsewhere."""

    source: OnnxSource
    quantization: OnnxQuantizationEntry = OnnxQuantizationEntry()

    @property
    def sensitivity(self) -> SensitivitySpec | None:
        """The search for layers to leave in float; None where it is not asked for."""
        return self.quantization.sensitivity

    @property
    def mixed_precision(self) -> bool:
        """Whether engines are built with the layers in float that the search chose."""
        return self.quantization.mixed_precision


def trained(params: Params) -> Iterator[tuple[str, TrainedModel]]:
    """The models that are trained here, with their names."""
    for name, model in params.models.items():
        if isinstance(model, TrainedModel):
            yield name, model


def imported(params: Params) -> Iterator[tuple[str, OnnxModel]]:
    """The models that were trained elsewhere, with their names."""
    for name, model in params.models.items():
        if isinstance(model, OnnxModel):
            yield name, model


@chosen_by_params
def _class_of(entry: Mapping[str, Any]) -> type[ModelSpec]:
    """The class that an entry is of, by its task and by what it has: ``source``, or ``network``."""
    task = entry.get("task")
    if isinstance(task, str) and task not in tasks():
        raise ValueError(f"task: {unknown('task', task, tasks())}")
    given = [key for key in ("network", "training", "loss") if key in entry]
    if "source" in entry:
        if given:
            raise ValueError(
                f"{given[0]}: a model has a source, or a network and its training, and this one has both; "
                f"needed {' and '.join(given)} removed, or source"
            )
        return OnnxModel
    network = entry.get("network")
    kind = network.get("kind", COMPACT) if isinstance(network, Mapping) else COMPACT
    return _trained_class(task, kind == COMPACT) if isinstance(task, str) else TrainedModel


@cache
@chosen_by_params
def _trained_class(name: str, is_compact: bool) -> type[TrainedModel]:
    task: Task = tasks()[name]
    if is_compact and task.compact_spec is None:
        raise ValueError(
            f'network.kind: there is no {COMPACT} network for {name}; needed "package.module:Class" of a '
            "torch.nn.Module"
        )
    fields: dict[str, Any] = {
        "network": (task.compact_spec if is_compact else OwnNetwork, ...),
        "loss": (task.loss, Field(default_factory=task.loss)),
    }
    made: type[TrainedModel] = create_model(
        "TrainedModel", __base__=TrainedModel, __doc__=TrainedModel.__doc__, **fields
    )
    return made
