"""An entry of ``models`` in params.yaml: a network that is trained here, or an ONNX file that was trained elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from pydantic import Field, ModelWrapValidatorHandler, ValidationError, create_model, model_validator

from robot_assets.core.dispatch import chosen_by_params
from robot_assets.core.spec import Spec
from robot_assets.core.validation import nearest, needed_of, shown_value, unknown
from robot_assets.foreign.spec import OnnxSource
from robot_assets.sensitivity.entry import OnnxQuantizationEntry, QuantizationEntry, SensitivityEntry
from robot_assets.tasks.interface import Interface, Preprocessing
from robot_assets.tasks.networks import COMPACT, NetworkBase, NetworkDefinition, OwnNetwork, interface_of
from robot_assets.tasks.registry import task_of, tasks
from robot_assets.training.spec import TrainingSpec

if TYPE_CHECKING:
    from robot_assets.tasks.task import Task


class ModelSpec(Spec):
    """One entry of ``models``. Validating this class gives a :class:`TrainedModel` or an :class:`OnnxModel`."""

    task: str
    dataset: str
    targets: tuple[str, ...] = Field(min_length=1)
    input: Preprocessing = Preprocessing()
    quantization: SensitivityEntry

    @property
    def decoder(self) -> str:
        """Name of its decoder: declared with a graph that was trained elsewhere, else the task's own one."""
        raise NotImplementedError

    @property
    def is_imported(self) -> bool:
        """Whether it was trained elsewhere."""
        raise NotImplementedError

    @property
    def weights(self) -> str | None:
        """The entry of ``weights`` that its training starts from; None for random weights."""
        raise NotImplementedError

    def check(self, classes: tuple[str, ...]) -> None:
        """Check what depends on its task and on the classes of its data set.

        Raises:
            ValueError: One line for each mistake, which begins with its key.
        """
        raise NotImplementedError

    @model_validator(mode="wrap")
    @classmethod
    def _of_its_kind(cls, entry: Any, handler: ModelWrapValidatorHandler[ModelSpec]) -> ModelSpec:
        if cls is not ModelSpec or not isinstance(entry, Mapping):
            return handler(entry)
        return class_of(entry).model_validate(dict(entry))


class TrainedModel(ModelSpec):
    """A network that is trained here. The classes of ``network`` and ``loss`` are those of the task."""

    network: NetworkBase
    training: TrainingSpec
    loss: Spec
    quantization: QuantizationEntry

    @property
    def decoder(self) -> str:
        """The task's own decoder."""
        return task_of(self.task).own_decoder.name

    @property
    def is_imported(self) -> bool:
        """False."""
        return False

    @property
    def weights(self) -> str | None:
        """The entry of ``weights`` that its training starts from; None for random weights."""
        return self.network.weights

    @property
    def definition(self) -> NetworkDefinition:
        """The network, its preprocessing and its loss."""
        return NetworkDefinition(self.task, self.network, self.input, self.loss)

    def interface(self, classes: tuple[str, ...]) -> Interface:
        """Input, heads and decoder for some classes.

        Raises:
            ValueError: ``network.heads`` is not valid, or does not fit the input; one line for each mistake.
        """
        try:
            return interface_of(task_of(self.task), self.network, self.input, classes)
        except ValidationError as error:
            raise ValueError("\n".join(_of_options("network.heads", error, self._heads_class))) from None
        except ValueError as error:
            raise ValueError(f"network: {error}") from None

    def check(self, classes: tuple[str, ...]) -> None:
        """Check what can be checked before a training, for the classes of its data set.

        Raises:
            ValueError: One line for each mistake, which begins with its key.
        """
        self.interface(classes)
        if (check := getattr(self.loss, "check_classes", None)) is not None:
            try:
                check(classes)
            except ValueError as error:
                raise ValueError("\n".join(f"loss.{line}" for line in str(error).splitlines())) from None

    @property
    def _heads_class(self) -> type[Spec]:
        return task_of(self.task).own_decoder.options


class OnnxModel(ModelSpec):
    """An ONNX file that was trained elsewhere."""

    source: OnnxSource
    quantization: OnnxQuantizationEntry = OnnxQuantizationEntry()

    @property
    def decoder(self) -> str:
        """The decoder that is declared."""
        return self.source.decoder

    @property
    def is_imported(self) -> bool:
        """True."""
        return True

    @property
    def weights(self) -> str | None:
        """None: nothing is trained here."""
        return None

    def check(self, classes: tuple[str, ...]) -> None:
        """Check the decoder and its options. The file is read by the import alone, so ``classes`` are not checked.

        Raises:
            ValueError: One line for each mistake, which begins with its key.
        """
        decoders = {one.name: one for one in task_of(self.task).decoders}
        if (decoder := decoders.get(self.source.decoder)) is None:
            raise ValueError(f"source.decoder: {unknown('decoder', self.source.decoder, decoders)}")
        try:
            decoder.options.model_validate(self.source.options)
        except ValidationError as error:
            raise ValueError("\n".join(_of_options("source.options", error, decoder.options))) from None


class _WithoutTask(ModelSpec, extra="ignore"):
    """An entry whose ``task`` is no name: what its other keys have to be is not known."""

    quantization: Any = None


def options_class(model: type[ModelSpec], entry: Mapping[str, Any], section: str) -> type[Spec] | None:
    """The class of the options of a decoder: ``heads`` of a network of one's own, ``options`` of a source.

    Args:
        model: Class of the entry.
        entry: The entry as it is in params.yaml.
        section: ``network`` or ``source``.
    """
    task = tasks().get(str(entry.get("task")))
    if task is None or section != ("source" if issubclass(model, OnnxModel) else "network"):
        return None
    if section == "network":
        return task.own_decoder.options
    named = entry[section].get("decoder") if isinstance(entry[section], Mapping) else None
    return next((one.options for one in task.decoders if one.name == named), None)


@chosen_by_params
def class_of(entry: Mapping[str, Any]) -> type[ModelSpec]:
    """The class that an entry is of, by its task and by what it has: ``source``, or ``network``.

    Raises:
        ValueError: Neither fits.
    """
    task = entry.get("task")
    if not isinstance(task, str):
        return _WithoutTask
    if task not in tasks():
        raise ValueError(f"task: {unknown('task', task, tasks())}")
    if "source" in entry:
        _refuse_both([key for key in ("network", "training", "loss") if key in entry])
        return OnnxModel
    network = entry.get("network")
    return _trained_class(task, _is_compact(network) if isinstance(network, Mapping) else True)


def _refuse_both(given: list[str]) -> None:
    if given:
        raise ValueError(
            f"{given[0]}: a model has a source, or a network and its training, and this one has both; "
            f"needed {' and '.join(given)} removed, or source"
        )


def _is_compact(network: Mapping[str, Any]) -> bool:
    """Whether a section is of the network of this package; False for one of somebody's own."""
    kind = network.get("kind", COMPACT)
    if kind != COMPACT and (not isinstance(kind, str) or ":" not in kind):
        near = " did you mean 'compact'?" if isinstance(kind, str) and nearest(kind, [COMPACT]) else ""
        needed = f'needed {COMPACT}, or "package.module:Class" of a torch.nn.Module'
        raise ValueError(f"network.kind: unknown kind {'null' if kind is None else shown_value(kind)};{near} {needed}")
    return bool(kind == COMPACT)


def _of_options(place: str, error: ValidationError, options: type[Spec]) -> Iterator[str]:
    """One line for each mistake in the options of a decoder, which are validated apart from the rest."""
    for detail in error.errors(include_url=False):
        key, needed, value = ".".join((place, *map(str, detail["loc"]))), needed_of(detail), detail["input"]
        if detail["type"] == "extra_forbidden":
            near = nearest(str(detail["loc"][-1]), options.model_fields)
            yield f"{key}: {needed}; " + (f"did you mean {near!r}?" if near else _keys(options))
        elif detail["type"] == "missing" or isinstance(value, Mapping) or needed == "needed a list":
            yield f"{key}: {needed}"
        elif detail["type"] != "too_short" or not value:  # pydantic counts the valid entries alone
            yield f"{key}: {needed} (found {shown_value(value)})"


def _keys(options: type[Spec]) -> str:
    names = list(options.model_fields)
    return f"keys: {', '.join(names)}" if names else "there are no keys"


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
