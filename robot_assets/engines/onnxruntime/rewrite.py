"""Rewrites the Q/DQ graph of TensorRT for ONNX Runtime's CPU kernels. Needs onnx, not torch.

TensorRT needs symmetric int8. ONNX Runtime fuses nothing of that graph and runs it slower than float, since its int8
kernels need uint8 activations. The rewrite changes the representation and keeps the arithmetic:

- a tensor that can be negative keeps its scale and becomes uint8 with zero point 128: the same grid, shifted;
- a tensor that cannot (after ReLU) keeps its scale with zero point 0: the same grid again, and the ReLU becomes the
  clipping at 0. Values above 127 steps, which int8 clips, are kept up to 255;
- a clipping between a convolution and its quantization (ReLU6) follows the quantization: rounding and clipping can
  change places, and only then the convolution has an int8 kernel;
- convolutions that read the images run in float, on images that are not quantized: with three channels the int8
  kernel spends its time on gathering single pixels, and takes 2.5 times as long as the float one;
- weights of layers that run in float (those, the heads, what is followed by SiLU, transposed convolutions) are stored
  dequantized.

Keeping the scale, where uint8 would allow one of half the size, also keeps almost all values below 128. On CPUs without
VNNI the kernel adds two products in int16, which saturates above that.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from onnx import GraphProto, ModelProto, NodeProto, TensorProto

    from robot_assets.tasks.interface import Preprocessing

_SHIFT = 128
_NEVER_NEGATIVE = frozenset(
    {"Abs", "Exp", "HardSigmoid", "ReduceL1", "ReduceL2", "Relu", "Sigmoid", "Softmax", "Softplus", "Sqrt"}
)
"""Operators whose outputs are 0 or more for every input."""
_KEEP_SIGN = frozenset(
    {
        "Add", "AveragePool", "Concat", "DepthToSpace", "DequantizeLinear", "Expand", "Flatten", "Gather",
        "GlobalAveragePool", "GlobalMaxPool", "Identity", "Max", "MaxPool", "Min", "Mul", "QuantizeLinear",
        "ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum", "Reshape", "Slice", "SpaceToDepth", "Split", "Squeeze",
        "Sum", "Tile", "Transpose", "Unsqueeze",
    }
)  # fmt: skip
"""Operators whose outputs are 0 or more where their inputs are."""
_OF_SEVERAL = frozenset({"Add", "Concat", "Max", "Min", "Mul", "Sum"})
"""Those whose inputs are all data; of the others, only the first is."""
_WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")


@dataclass(frozen=True)
class Rewritten:
    """Counts of the rewrite.

    Attributes:
        from_zero: Activations that cannot be negative: uint8 with zero point 0.
        shifted: Activations that can: uint8 with zero point 128.
        float_convolutions: Convolutions that run in float.
    """

    from_zero: int
    shifted: int
    float_convolutions: int


def rewrite(model: ModelProto, input: Preprocessing) -> Rewritten:
    """Rewrite ``model`` in place: symmetric int8 activations become uint8 ones of the same scale.

    Args:
        model: A Q/DQ graph whose first input are the images.
        input: Their preprocessing: with a mean, they are negative in part.
    """
    graph = model.graph
    _fold_quantized_weights(graph)
    _read_images_in_float(graph)
    zero_points = _add_zero_points(graph)
    counts = {0: 0, _SHIFT: _clip_after_quantization(graph, zero_points[_SHIFT])}
    left = _dequantize_float_weights(graph)
    not_negative = _not_negative(graph, images=all(mean <= 0 for mean in input.mean))
    moved: dict[str, str] = {}
    for node in _movable(graph):
        zero_point = 0 if node.input[0] in not_negative else _SHIFT
        counts[zero_point] += 1
        moved[node.output[0]] = node.input[2] = zero_points[zero_point]
    for node in graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in moved:
            node.input[:] = [*node.input[:2], moved[node.input[0]]]
    del graph.value_info[:]
    _remove_unused_initializers(graph)
    return Rewritten(counts[0], counts[_SHIFT], left)


def float_layers(graph: GraphProto) -> list[NodeProto]:
    """The convolutions and matrix products of a graph that ONNX Runtime runs in float, in the order they run."""
    uses = _Uses(graph)
    return [node for node in graph.node if node.op_type in _WEIGHTED and not _runs_in_int8(node, uses)]


class _Uses:
    """Maker and readers of every tensor of a graph, and its constants."""

    def __init__(self, graph: GraphProto) -> None:
        self.constants: dict[str, TensorProto] = {tensor.name: tensor for tensor in graph.initializer}
        self.makers: dict[str, NodeProto] = {name: node for node in graph.node for name in node.output}
        self.outputs = {value.name for value in graph.output}
        self._readers: dict[str, list[NodeProto]] = {}
        for node in graph.node:
            for name in node.input:
                self._readers.setdefault(name, []).append(node)

    def readers(self, name: str) -> list[NodeProto]:
        """The nodes that read a tensor; none for an output of the graph, which is read outside as well."""
        return [] if name in self.outputs else self._readers.get(name, [])

    def is_only_read_by(self, name: str, node: NodeProto) -> bool:
        """Whether ``node`` alone reads a tensor."""
        readers = self.readers(name)
        return len(readers) == 1 and readers[0] is node

    def is_made_by(self, operator: str, name: str) -> bool:
        """Whether a tensor comes out of a node with that operator."""
        maker = self.makers.get(name)
        return maker is not None and maker.op_type == operator

    def is_dequantized(self, name: str) -> bool:
        """Whether a tensor comes out of a DequantizeLinear."""
        return self.is_made_by("DequantizeLinear", name)

    def value(self, name: str) -> NDArray[Any] | None:
        """The value of a constant; None for what is computed."""
        from onnx import numpy_helper

        constant = self.constants.get(name)
        return None if constant is None else numpy_helper.to_array(constant)

    def scale(self, quantize: NodeProto) -> float:
        """Scale of a QuantizeLinear; NaN where it is computed, or one for each channel."""
        value = self.value(quantize.input[1])
        return float("nan") if value is None or value.size != 1 else float(value.item())


def _fold_quantized_weights(graph: GraphProto) -> None:
    """Store weights that the graph quantizes itself, as pytorch-quantization exports them, in int8."""
    import numpy as np
    from onnx import numpy_helper

    uses = _Uses(graph)
    folded: set[str] = set()
    for node in graph.node:
        if node.op_type != "QuantizeLinear" or (weight := uses.value(node.input[0])) is None:
            continue
        scale, zero = uses.value(node.input[1]), uses.value(node.input[2]) if len(node.input) > 2 else None
        if scale is None or zero is None or zero.dtype != np.int8 or zero.any():
            continue
        steps = np.rint(weight / _along(scale, weight.ndim, _axis(node)))
        graph.initializer.append(numpy_helper.from_array(np.clip(steps, -128, 127).astype(np.int8), node.output[0]))
        folded.add(node.output[0])
    _remove_nodes(graph, folded)


def _read_images_in_float(graph: GraphProto) -> None:
    """Let convolutions read the images themselves, before their Q/DQ pair."""
    images = graph.input[0].name
    quantized = {node.output[0] for node in graph.node if node.op_type == "QuantizeLinear" and node.input[0] == images}
    restored = {
        node.output[0] for node in graph.node if node.op_type == "DequantizeLinear" and node.input[0] in quantized
    }
    for node in graph.node:
        if node.op_type == "Conv" and node.input[0] in restored:
            node.input[0] = images
    _remove_unread(graph, restored)
    _remove_unread(graph, quantized)


def _clip_after_quantization(graph: GraphProto, zero_point: str) -> int:
    """Let clippings between a convolution and its QuantizeLinear follow the latter, with their bounds in steps.

    Returns:
        How many activations became uint8 with zero point 128 by that.
    """
    import numpy as np
    from onnx import numpy_helper

    uses, count = _Uses(graph), 0
    for quantize in graph.node:
        clip = _clip_to_move(quantize, uses)
        bounds = _bounds(clip, uses) if clip is not None else None
        if clip is None or bounds is None:
            continue
        names = [f"{quantize.output[0]}_{side}" for side in ("min", "max")]
        for name, bound in zip(names, bounds, strict=True):
            step = np.clip(np.rint(np.float32(bound) / np.float32(uses.scale(quantize))), -_SHIFT, _SHIFT - 1) + _SHIFT
            graph.initializer.append(numpy_helper.from_array(np.array(step, np.uint8), name))
        # The two nodes change places, so that the order of the graph stays right.
        clip.op_type, quantize.op_type = "QuantizeLinear", "Clip"
        clip.input[:] = [clip.input[0], quantize.input[1], zero_point]
        quantize.input[:] = [clip.output[0], *names]
        for reader in uses.readers(quantize.output[0]):
            reader.input[:] = [*reader.input[:2], zero_point]
        count += 1
    return count


def _clip_to_move(quantize: NodeProto, uses: _Uses) -> NodeProto | None:
    """The clipping between a convolution and ``quantize`` that nothing else reads."""
    if not _is_movable(quantize, uses) or not uses.is_only_read_by(quantize.input[0], quantize):
        return None
    clip = uses.makers.get(quantize.input[0])
    if clip is None or clip.op_type != "Clip" or not uses.is_only_read_by(clip.input[0], clip):
        return None
    return clip if uses.is_made_by("Conv", clip.input[0]) else None


def _bounds(clip: NodeProto, uses: _Uses) -> tuple[float, float] | None:
    """Bounds of a Clip; None where they are computed."""
    bounds = []
    for position, default in ((1, float("-inf")), (2, float("inf"))):
        name = clip.input[position] if len(clip.input) > position else ""
        value = uses.value(name) if name else None
        if name and value is None:
            return None
        bounds.append(default if value is None else float(value.item()))
    return bounds[0], bounds[1]


def _dequantize_float_weights(graph: GraphProto) -> int:
    """Store the weights of layers that ONNX Runtime will run in float as float; return the number of convolutions."""
    left = float_layers(graph)
    store_in_float(graph, {node.input[1] for node in left})
    return sum(node.op_type == "Conv" for node in left)


def store_in_float(graph: GraphProto, names: Collection[str]) -> None:
    """Replace those of the tensors ``names`` that are dequantized constants by float constants, for every reader."""
    import numpy as np
    from onnx import numpy_helper

    uses = _Uses(graph)
    done: set[str] = set()
    for node in graph.node:
        if node.op_type != "DequantizeLinear" or node.output[0] not in names:
            continue
        values, scale = (uses.value(name) for name in node.input[:2])
        zero = uses.value(node.input[2]) if len(node.input) > 2 else np.zeros((), np.int8)
        if values is None or scale is None or zero is None:
            continue
        scale, zero = (_along(one, values.ndim, _axis(node)) for one in (scale, zero))
        value = (values.astype(np.float32) - zero.astype(np.float32)) * scale
        graph.initializer.append(numpy_helper.from_array(value.astype(np.float32), f"{node.output[0]}_float"))
        done.add(node.output[0])
    for node in graph.node:
        node.input[:] = [f"{name}_float" if name in done else name for name in node.input]
    _remove_nodes(graph, done)


def _runs_in_int8(node: NodeProto, uses: _Uses) -> bool:
    """Whether ONNX Runtime has an int8 kernel for a node with weights, where it stands."""
    if not all(map(uses.is_dequantized, node.input[:2])):
        return False
    if node.op_type == "MatMul":
        return True
    return node.op_type == "Conv" and _is_quantized_next(node, uses)


def _is_quantized_next(convolution: NodeProto, uses: _Uses) -> bool:
    """Whether all readers quantize the output with one scale, with or without a ReLU before."""
    readers = uses.readers(convolution.output[0])
    if len(readers) == 1 and readers[0].op_type == "Relu":
        readers = uses.readers(readers[0].output[0])
    if not readers or any(reader.op_type != "QuantizeLinear" for reader in readers):
        return False
    return len({uses.scale(reader) for reader in readers}) == 1


def _not_negative(graph: GraphProto, *, images: bool) -> set[str]:
    """Names of the tensors that cannot be negative: the images unless they have a mean, outputs of ReLU, and so on."""
    uses = _Uses(graph)
    known = {graph.input[0].name} if images else set()

    def is_known(name: str) -> bool:
        constant = uses.value(name) if name in uses.constants else None
        return name in known or (constant is not None and bool((constant >= 0).all()))

    for node in graph.node:
        data = node.input if node.op_type in _OF_SEVERAL else node.input[:1]
        keeps_sign = node.op_type in _KEEP_SIGN or (node.op_type == "Resize" and _mode(node) != "cubic")
        bounds = _bounds(node, uses) if node.op_type == "Clip" else None
        if (
            node.op_type in _NEVER_NEGATIVE
            or (keeps_sign and all(map(is_known, data)))
            or (bounds is not None and bounds[0] >= 0)
        ):
            known.update(node.output)
    return known


def _movable(graph: GraphProto) -> list[NodeProto]:
    uses = _Uses(graph)
    return [node for node in graph.node if _is_movable(node, uses)]


def _is_movable(node: NodeProto, uses: _Uses) -> bool:
    """Whether a node quantizes to symmetric int8 what only DequantizeLinear reads: no other node sees the integers."""
    import numpy as np

    if node.op_type != "QuantizeLinear" or len(node.input) < 3:
        return False
    zero, readers = uses.value(node.input[2]), uses.readers(node.output[0])
    is_symmetric = zero is not None and zero.dtype == np.int8 and zero.size == 1 and not zero.any()
    is_symmetric = is_symmetric and not math.isnan(uses.scale(node))
    return is_symmetric and bool(readers) and all(reader.op_type == "DequantizeLinear" for reader in readers)


def _add_zero_points(graph: GraphProto) -> dict[int, str]:
    import numpy as np
    from onnx import numpy_helper

    names = {0: "uint8_zero_point_0", _SHIFT: f"uint8_zero_point_{_SHIFT}"}
    for value, name in names.items():
        graph.initializer.append(numpy_helper.from_array(np.array(value, np.uint8), name))
    return names


def _axis(node: NodeProto) -> int:
    return next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 1)


def _mode(resize: NodeProto) -> str:
    return next((attribute.s.decode() for attribute in resize.attribute if attribute.name == "mode"), "nearest")


def _along(values: NDArray[Any], dimensions: int, axis: int) -> NDArray[Any]:
    """Values of one axis in a shape that broadcasts; a single one as a scalar."""
    if values.size == 1:
        return values.reshape(())
    shape = [1] * dimensions
    shape[axis] = -1
    return values.reshape(shape)


def _remove_unread(graph: GraphProto, outputs: set[str]) -> None:
    """Remove nodes with one of ``outputs`` that nothing reads."""
    read = {name for node in graph.node for name in node.input} | {value.name for value in graph.output}
    _remove_nodes(graph, outputs - read)


def _remove_nodes(graph: GraphProto, outputs: set[str]) -> None:
    kept = [node for node in graph.node if node.output[0] not in outputs]
    del graph.node[:]
    graph.node.extend(kept)


def _remove_unused_initializers(graph: GraphProto) -> None:
    used = {name for node in graph.node for name in node.input} | {value.name for value in graph.output}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)
