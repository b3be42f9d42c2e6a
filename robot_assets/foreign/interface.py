"""The interface of a graph that was made elsewhere: its outputs, read by the decoder that params.yaml names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from robot_assets.core.errors import ExportError, ParamsError
from robot_assets.core.text import listed
from robot_assets.core.validation import mistakes, unknown
from robot_assets.foreign.checking import inputs_of, shape_of, type_of
from robot_assets.foreign.constants import remove_unread
from robot_assets.foreign.errors import refused
from robot_assets.tasks.interface import Head, Input, Interface, Preprocessing

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto

    from robot_assets.core.spec import Spec
    from robot_assets.foreign.spec import OnnxSource
    from robot_assets.tasks.task import Decoder, Task

_TYPES = ("float32", "int32", "int64")


def outputs_of(model: ModelProto) -> dict[str, tuple[int, ...]]:
    """The outputs of a graph by name with their shapes, all of them fixed."""
    return {value.name: tuple(int(size) for size in shape_of(value)) for value in model.graph.output}


def interface_of(
    model: ModelProto,
    task: Task,
    source: OnnxSource,
    preprocessing: Preprocessing,
    classes: tuple[str, ...],
    origin: str,
) -> Interface:
    """The interface of a converted graph.

    Args:
        model: The graph.
        task: What it is for.
        source: Names the decoder and its options.
        preprocessing: Of the images.
        classes: Of the data set.
        origin: The file, named in errors.

    Raises:
        ParamsError: The task has no such decoder, or the decoder no such options.
        ExportError: The decoder cannot read the outputs.
    """
    decoder, options = decoder_of(task, source)
    (value,) = inputs_of(model.graph)
    _, _, height, width = (int(size) for size in shape_of(value))
    fields = {name: getattr(preprocessing, name) for name in Preprocessing.model_fields}
    given = Input(**fields, name=value.name, height=height, width=width)
    try:
        heads = decoder.heads(given, options, classes, outputs_of(model))
    except ValueError as error:
        raise ExportError(
            f"{origin}: {error}",
            needed=f"outputs that the decoder {decoder.name} reads",
            fix="robot-assets model inspect FILE   # lists the outputs, and the decoders that fit",
        ) from None
    return Interface(
        task=task.name,
        classes=classes,
        input=given,
        heads=_typed(heads, model.graph, origin),
        decoder=decoder.name,
        options=options.model_dump(mode="json"),
    )


def decoder_of(task: Task, source: OnnxSource) -> tuple[Decoder, Spec]:
    """The decoder that ``source`` names, and its options.

    Raises:
        ParamsError: The task has none of that name, or it has other options.
    """
    known = [one.name for one in task.decoders]
    if source.decoder not in known:
        raise ParamsError(
            f"source.decoder: {unknown('decoder', source.decoder, known)}",
            needed=f"a decoder of the task {task.name}: {listed(known, 12)}",
            fix="robot-assets model inspect FILE   # lists the decoders that fit the outputs",
        )
    decoder = task.decoder(source.decoder)
    try:
        return decoder, decoder.options.model_validate(source.options)
    except ValidationError as error:
        raise ParamsError(
            "; ".join(f"source.options.{mistake}" for mistake in mistakes(error)),
            needed=f"options of the decoder {decoder.name}: {listed(decoder.options.model_fields, 12)}",
            fix="correct source.options of the model in params.yaml",
        ) from None


def _typed(heads: tuple[Head, ...], graph: GraphProto, origin: str) -> tuple[Head, ...]:
    """The heads with the types that their outputs have."""
    types = {value.name: type_of(value) for value in graph.output}
    problems = [
        f"output {head.name!r} is {types[head.name]}, needed {', '.join(_TYPES)}"
        for head in heads
        if types[head.name] not in _TYPES
    ]
    if problems:
        fix = "add a cast to float32 at the end of the network, and export it again"
        raise refused(origin, problems, needed="outputs of float32, or of integers", fix=fix)
    return tuple(head.model_copy(update={"dtype": types[head.name]}) for head in heads)


def with_heads(model: ModelProto, heads: tuple[Head, ...]) -> tuple[ModelProto, tuple[str, ...]]:
    """Copy ``model`` with the outputs of ``heads`` in their order, and the names of the outputs that nothing reads."""
    import onnx

    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    graph = changed.graph
    by_name: Mapping[str, Any] = {value.name: value for value in model.graph.output}
    names = [head.name for head in heads]
    del graph.output[:]
    graph.output.extend(by_name[name] for name in names)
    remove_unread(graph)
    return changed, tuple(name for name in by_name if name not in names)
