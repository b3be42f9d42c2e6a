"""Post-training quantization of a float ONNX graph: symmetric int8 Q/DQ nodes with calibrated scales.

The rules of the scales are those of networks that are trained here (``robot_assets.quantization.histogram``), and so
is the arithmetic: weights ``max(abs(w)) / 127`` of each output channel, activations one scale a tensor, zero point 0,
biases in float.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from robot_assets.core.errors import QuantizationError
from robot_assets.core.progress import report
from robot_assets.foreign.placement import Placement
from robot_assets.foreign.sessions import open_session
from robot_assets.quantization.histogram import BINS, LEVELS, MagnitudeHistogram

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto

    from robot_assets.tasks.interface import Input

    Floats = NDArray[np.float32]

Histograms = dict[str, MagnitudeHistogram]

_OUTPUTS_AT_ONCE = 64
"""Activations that one pass over the calibration images records; all of a large network would not fit in memory."""


def collect_histograms(model: ModelProto, tensors: tuple[str, ...], dataset: Path, input: Input) -> Histograms:
    """The histogram of each of ``tensors`` over the calibration images of ``dataset``.

    Args:
        model: A float graph.
        tensors: Names of activations.
        dataset: A packed data set.
        input: Of the graph.

    Raises:
        QuantizationError: There are no calibration images, or an activation is not finite.
    """
    from robot_assets.data.packed import open_calibration
    from robot_assets.export.parity import read_input

    split = open_calibration(dataset)
    if not len(split):
        raise QuantizationError(
            f"no calibration images in {dataset}",
            needed="at least one image of the train split",
            fix="set calibration_images of the data set in params.yaml above 0 and rebuild it",
        )
    histograms = {name: MagnitudeHistogram() for name in tensors}
    parts = [tensors[start : start + _OUTPUTS_AT_ONCE] for start in range(0, len(tensors), _OUTPUTS_AT_ONCE)]
    for number, part in enumerate(parts):
        run = _recorder(model, part, input.name)
        for index in range(len(split)):
            for name, values in run(read_input(split, index, input)).items():
                _observe(histograms[name], name, values)
            report("calibrate", number * len(split) + index + 1, len(parts) * len(split))
    return histograms


def merged(histograms: Histograms, groups: Mapping[str, str]) -> Histograms:
    """One histogram for each group of tensors that share a scale, by the name of each tensor."""
    together: Histograms = {}
    for name, histogram in histograms.items():
        shared = together.setdefault(groups[name], MagnitudeHistogram())
        shared.grow(histogram.largest)
        other = MagnitudeHistogram()
        other.counts, other.limit, other.largest = histogram.counts, histogram.limit, histogram.largest
        other.grow(shared.largest)
        shared.add(other.counts)
    return {name: together[groups[name]] for name in histograms}


def quantized(model: ModelProto, placement: Placement, scales: Mapping[str, float]) -> ModelProto:
    """Copy ``model`` with Q/DQ nodes on the edges of ``placement``.

    Args:
        model: A float graph with inferred shapes.
        placement: Of the same graph.
        scales: Step of the int8 grid of each quantized tensor.
    """
    import onnx

    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    writer = _Writer(changed.graph, placement, scales)
    writer.write()
    del changed.graph.value_info[:]
    return changed


def _recorder(model: ModelProto, names: tuple[str, ...], given: str) -> Callable[[Floats], dict[str, Floats]]:
    """A function that gives the values of some activations for one input."""
    import onnx

    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    del changed.graph.output[:]
    made = [name for name in names if name != given]
    changed.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in made)
    session = open_session(changed) if made else None

    def run(images: Floats) -> dict[str, Floats]:
        values = session.run(made, {given: images}) if session else []
        found = dict(zip(made, values, strict=True))
        return found | ({given: images} if given in names else {})

    return run


def _observe(histogram: MagnitudeHistogram, name: str, values: Floats) -> None:
    magnitude = np.abs(values)
    largest = float(magnitude.max(initial=0))
    if not np.isfinite(largest):
        raise QuantizationError(
            f"tensor {name!r} is {largest} on a calibration image",
            needed="finite activations on every calibration image",
            fix="check models.M.input in params.yaml (mean, std, channels): it has to be that of the training",
        )
    histogram.grow(largest)
    # The limit is a power of two: this product is exact, so the bin of a value does not depend on the limit.
    bins = (magnitude * np.float32(BINS / histogram.limit)).astype(np.int64).ravel()
    histogram.add(np.bincount(bins, minlength=BINS))


class _Writer:
    """Writes Q/DQ nodes into a graph, each right after what makes its tensor."""

    def __init__(self, graph: GraphProto, placement: Placement, scales: Mapping[str, float]) -> None:
        from onnx import numpy_helper

        self.graph, self.placement, self.scales = graph, placement, scales
        self.constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
        self.taken = {*self.constants, *(name for node in graph.node for name in (*node.input, *node.output))}
        self.dequantized: dict[str, str] = {}
        self.zero_point = self._add_constant("int8_zero_point", np.zeros((), np.int8))
        self.nodes: list[NodeProto] = []

    def write(self) -> None:
        for value in self.graph.input:
            if value.name in self.placement.groups:
                self._quantize(value.name)
        for node in list(self.graph.node):
            for position in self.placement.edges.get(node.name, ()):
                node.input[position] = self.dequantized[node.input[position]]
            if node.name in self.placement.weighted:
                self._quantize_weights(node)
            self.nodes.append(node)
            for name in node.output:
                if name in self.placement.groups:
                    self._quantize(name)
        del self.graph.node[:]
        self.graph.node.extend(self.nodes)
        self._drop_unread_constants()

    def _quantize(self, name: str) -> None:
        """Write the pair of a tensor; all of its quantized readers share it."""
        from onnx import helper

        scale = self._add_constant(f"{name}_scale", np.array(self.scales[name], np.float32))
        rest = [scale, self.zero_point]
        integers, floats = self._new(f"{name}_int8"), self._new(f"{name}_dequantized")
        self.dequantized[name] = floats
        self.nodes += [
            helper.make_node("QuantizeLinear", [name, *rest], [integers], name=f"{name}_quantize"),
            helper.make_node("DequantizeLinear", [integers, *rest], [floats], name=f"{name}_dequantize"),
        ]

    def _quantize_weights(self, node: NodeProto) -> None:
        """Store the weights of a layer as int8, named like the layer, and its bias beside them."""
        from onnx import helper

        layer = self.placement.names[node.name]
        weight = self._rows(node)
        scale = channel_scales(weight, per_channel=node.op_type != "ConvTranspose")
        shape = [-1 if axis == 0 else 1 for axis in range(weight.ndim)] if scale.size > 1 else []
        values = np.clip(np.rint(weight / scale.reshape(shape)), -LEVELS, LEVELS).astype(np.int8)
        stored = self._add_constant(f"{layer}.weight_int8", values)
        inputs = [stored, self._add_constant(f"{layer}.weight_scale", scale)]
        inputs.append(self._add_constant(f"{layer}.weight_zero_point", np.zeros(scale.shape, np.int8)))
        axis = {"axis": 0} if scale.ndim else {}
        output = self._new(f"{layer}.weight_dequantized")
        made = helper.make_node("DequantizeLinear", inputs, [output], name=f"{layer}.weight_dequantize", **axis)
        self.nodes.append(made)
        node.input[1] = output
        node.name = layer
        if len(node.input) > 2 and node.input[2] in self.constants and f"{layer}.bias" not in self.constants:
            node.input[2] = self._add_constant(f"{layer}.bias", self.constants[node.input[2]])

    def _rows(self, node: NodeProto) -> Floats:
        """The weights of a layer; those of a fully connected one with the output channels first."""
        from onnx import helper

        weight: Floats = self.constants[node.input[1]]
        if node.op_type != "Gemm" or any(one.name == "transB" and one.i for one in node.attribute):
            return weight
        kept = [one for one in node.attribute if one.name != "transB"]
        del node.attribute[:]
        node.attribute.extend([*kept, helper.make_attribute("transB", 1)])
        rows: Floats = np.ascontiguousarray(weight.T)
        return rows

    def _add_constant(self, name: str, value: NDArray[Any]) -> str:
        from onnx import numpy_helper

        name = self._new(name)
        self.graph.initializer.append(numpy_helper.from_array(value, name))
        return name

    def _new(self, name: str) -> str:
        """The name of a tensor to add, with a stroke where the graph has one of this name already."""
        while name in self.taken:
            name += "_"
        self.taken.add(name)
        return name

    def _drop_unread_constants(self) -> None:
        read = {name for node in self.graph.node for name in node.input} | {one.name for one in self.graph.output}
        kept = [tensor for tensor in self.graph.initializer if tensor.name in read]
        del self.graph.initializer[:]
        self.graph.initializer.extend(kept)


def channel_scales(weight: Floats, *, per_channel: bool = True) -> Floats:
    """The largest magnitude of each output channel (axis 0), or of all weights, divided by 127; 1 for zeros."""
    axes = tuple(range(1, weight.ndim)) if per_channel else None
    largest = np.abs(weight).max(axis=axes)
    scale: Floats = np.asarray(largest, np.float32) / np.float32(LEVELS)
    found: Floats = np.where(scale < np.finfo(np.float32).tiny, np.float32(1), scale)
    return found


def float_weights(model: ModelProto, placement: Placement) -> dict[str, Floats]:
    """The float weights and biases of the quantized layers, by the names that :func:`quantized` gives them."""
    from onnx import numpy_helper

    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    found: dict[str, Floats] = {}
    for node in model.graph.node:
        if node.name not in placement.weighted:
            continue
        layer = placement.names[node.name]
        weight = numpy_helper.to_array(constants[node.input[1]])
        is_column = node.op_type == "Gemm" and not any(one.name == "transB" and one.i for one in node.attribute)
        found[f"{layer}.weight"] = np.ascontiguousarray(weight.T if is_column else weight)
        if len(node.input) > 2 and node.input[2] in constants:
            found[f"{layer}.bias"] = numpy_helper.to_array(constants[node.input[2]])
    return found
