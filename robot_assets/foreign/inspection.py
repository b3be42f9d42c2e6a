"""Describes an ONNX file before it is imported: what it has, what an import changes, and which decoders fit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

from robot_assets.export.preflight import graph_problems, quantization_problems
from robot_assets.foreign.checking import inputs_of, shape_of, type_of
from robot_assets.foreign.conversion import convert
from robot_assets.foreign.interface import outputs_of
from robot_assets.foreign.placement import place
from robot_assets.foreign.reading import find_file, read_model
from robot_assets.tasks.detection.decoders.recognize import labels_in, proposals, remark

Outputs = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Fit:
    """A decoder that may read the outputs.

    Attributes:
        task: Its task.
        decoder: Its name.
        reason: What in the outputs suggests it.
        options: Options that have to differ from their defaults.
        classes: Number of classes that the outputs have; None: the shapes do not show it.
        input: Keys of ``input`` in params.yaml, as such exports usually need them.
    """

    task: str
    decoder: str
    reason: str
    options: Mapping[str, Any] = field(default_factory=dict)
    classes: int | None = None
    input: Mapping[str, Any] = field(default_factory=dict)


def inspect_onnx(source: Path, height: int | None = None, width: int | None = None) -> dict[str, Any]:
    """What is known of a file without data, as plain data.

    Args:
        source: The file, or a folder with one.
        height: Of the input in pixels, for a graph that leaves it open.
        width: The same.

    Raises:
        ExportError: The file cannot be imported; with every reason.
        QuantizationError: It has no layer that can be quantized.
    """
    given = read_model(source)
    converted = convert(given, str(find_file(source)), height, width)
    model = converted.model
    placement = None if converted.is_quantized else place(model)
    outputs = outputs_of(model)
    return {
        "file": str(find_file(source)),
        "size_bytes": find_file(source).stat().st_size,
        "producer": f"{given.producer_name} {given.producer_version}".strip(),
        "opset": {one.domain or "ai.onnx": one.version for one in given.opset_import},
        "ir_version": given.ir_version,
        "inputs": {value.name: _described(value) for value in inputs_of(given.graph)},
        "input": {"name": model.graph.input[0].name, "shape": list(converted.shape)},
        "outputs": {value.name: {"shape": shape_of(value), "type": type_of(value)} for value in model.graph.output},
        "nodes": dict(sorted(Counter(node.op_type for node in model.graph.node).items())),
        "parameters": sum(prod(tensor.dims) for tensor in model.graph.initializer if len(tensor.dims) > 0),
        "is_quantized": converted.is_quantized,
        "changes": list(converted.changes),
        "problems": [*graph_problems(model), *quantization_problems(model)],
        "quantized_layers": len(placement.weighted) if placement else None,
        "float_layers": dict(placement.in_float) if placement else {},
        "decoders": [_as_json(fit) for fit in fits_of(outputs, (converted.shape[2], converted.shape[3]))],
        "labels": labels_in({entry.key: entry.value for entry in given.metadata_props}),
        "remark": remark(outputs),
    }


def fits_of(outputs: Outputs, size: tuple[int, int]) -> tuple[Fit, ...]:
    """Decoders of detection that may read the outputs, best first; where there are none, those of segmentation.

    Args:
        outputs: Shape of each output, for one image.
        size: Height and width of the input in pixels.
    """
    detection = (
        Fit("detection", one.decoder, one.reason, one.options, one.classes, one.input)
        for one in proposals(outputs, size)
    )
    found = tuple(detection)
    return found or tuple(_maps(outputs, size))


def _maps(outputs: Outputs, size: tuple[int, int]) -> Iterator[Fit]:
    """Decoders of segmentation for outputs with a value for each cell of a grid over the image."""
    for name, shape in outputs.items():
        options = {"output": name} if len(outputs) > 1 else {}
        text = f"{name} {shape}"
        if len(shape) == 3 and _is_grid(shape[1:], size):
            yield Fit("segmentation", "labels", f"{text}: a class index for each cell", options)
        elif len(shape) == 4 and shape[1] == 1 and _is_grid(shape[2:], size):
            yield Fit("segmentation", "binary", f"{text}: one score for each cell", options, 2)
        elif len(shape) == 4 and _is_grid(shape[2:], size):
            yield Fit("segmentation", "map", f"{text}: logits of all classes for each cell", options, shape[1])
        elif len(shape) == 4 and _is_grid(shape[1:3], size):
            yield Fit("segmentation", "map", f"{text}: logits of all classes, channels last", options, shape[3])


def _is_grid(cells: tuple[int, ...], size: tuple[int, int]) -> bool:
    """Whether rows and columns are those of the image, at one stride of at most 32 pixels."""
    rows, columns = cells
    return rows > 1 and columns > 1 and size[0] * columns == size[1] * rows and rows * 32 >= size[0]


def _described(value: Any) -> dict[str, Any]:
    return {"shape": shape_of(value), "type": type_of(value)}


def _as_json(fit: Fit) -> dict[str, Any]:
    return {
        "task": fit.task,
        "decoder": fit.decoder,
        "reason": fit.reason,
        "options": _listed(fit.options),
        "classes": fit.classes,
        "input": _listed(fit.input),
    }


def _listed(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}
