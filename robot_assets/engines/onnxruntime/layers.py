"""What ONNX Runtime runs of a graph on this machine, operator by operator. Needs onnx, not torch."""

from __future__ import annotations

import re
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from robot_assets.engines.onnxruntime.run import open_session
from robot_assets.runtime.manifest import Arithmetic, Kernels, Layer

if TYPE_CHECKING:
    from onnx import NodeProto

_DATA_MOVEMENT = frozenset(
    {
        "Cast",
        "Concat",
        "DepthToSpace",
        "DequantizeLinear",
        "Expand",
        "Flatten",
        "Gather",
        "Identity",
        "QuantizeLinear",
        "ReorderInput",
        "ReorderOutput",
        "Reshape",
        "Resize",
        "Slice",
        "SpaceToDepth",
        "Split",
        "Squeeze",
        "Transpose",
        "Unsqueeze",
    }
)
_CONVERSIONS = frozenset({"Cast", "DequantizeLinear"})


def count_kernels(path: Path, threads: int = 1) -> Kernels:
    """Count the operators by arithmetic after ONNX Runtime's optimizations on this machine.

    Raises:
        EngineError: ONNX Runtime refuses the file.
    """
    groups: dict[str, Counter[str]] = {"int8": Counter(), "float32": Counter(), "data_movement": Counter()}
    for layer in optimized_layers(path, threads):
        groups[layer.arithmetic][layer.kind] += 1
    return Kernels(**{name: dict(sorted(counts.items())) for name, counts in groups.items()})


def optimized_layers(path: Path, threads: int = 1) -> tuple[Layer, ...]:
    """The nodes of a graph after ONNX Runtime's optimizations on this machine, in the order they run.

    Raises:
        EngineError: ONNX Runtime refuses the file.
    """
    with tempfile.TemporaryDirectory() as scratch:
        optimized = Path(scratch, "optimized.onnx")
        open_session(path, threads, optimized)
        import onnx  # after ONNX Runtime: where both are missing, its extra is the one to install

        graph = onnx.load(optimized).graph
    quantized: set[str] = set()
    return tuple(_layer(node, quantized) for node in graph.node)


def unfused_weights(path: Path, threads: int = 1) -> set[str]:
    """Names of the int8 constants that are still dequantized at every inference, after all optimizations.

    Raises:
        EngineError: ONNX Runtime refuses the file.
    """
    with tempfile.TemporaryDirectory() as scratch:
        optimized = Path(scratch, "optimized.onnx")
        open_session(path, threads, optimized)
        import onnx

        graph = onnx.load(optimized).graph
    constants = {tensor.name for tensor in graph.initializer}
    return {node.input[0] for node in graph.node if node.op_type == "DequantizeLinear"} & constants


def _layer(node: NodeProto, quantized: set[str]) -> Layer:
    """One node; ``quantized`` are the tensors of integers so far, and gets its own."""
    arithmetic = _arithmetic(node, quantized)
    moves_integers = arithmetic == "data_movement" and node.op_type not in _CONVERSIONS and _reads(node, quantized)
    computes_integers = arithmetic == "int8" and not node.op_type.endswith("ToFloat")
    if moves_integers or computes_integers or node.op_type == "QuantizeLinear":
        quantized.update(node.output)
    # fused nodes end in a running number, which differs from one session to the next
    name = re.sub(r"_token_\d+$", "", node.name or node.output[0])
    return Layer(name=name, kind=node.op_type, arithmetic=arithmetic)


def _arithmetic(node: NodeProto, quantized: set[str]) -> Arithmetic:
    operator = node.op_type
    if operator in _DATA_MOVEMENT:
        return "data_movement"
    is_int8 = operator.startswith(("QLinear", "QGemm")) or "Integer" in operator or _reads(node, quantized)
    return "int8" if is_int8 else "float32"


def _reads(node: NodeProto, quantized: set[str]) -> bool:
    return bool(node.input) and node.input[0] in quantized
