"""What ONNX Runtime runs of a graph on this machine, operator by operator. Needs onnx, not torch."""

from __future__ import annotations

import re
import tempfile
from collections import Counter
from pathlib import Path

from robot_assets.engines.onnxruntime.run import open_session
from robot_assets.runtime.manifest import Arithmetic, Kernels, Layer

_DATA_MOVEMENT = frozenset(
    {
        "Cast",
        "Concat",
        "DequantizeLinear",
        "QuantizeLinear",
        "ReorderInput",
        "ReorderOutput",
        "Resize",
        "Transpose",
    }
)


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

        nodes = onnx.load(optimized).graph.node
    return tuple(
        # fused nodes end in a running number, which differs from one session to the next
        Layer(
            name=re.sub(r"_token_\d+$", "", node.name or node.output[0]),
            kind=node.op_type,
            arithmetic=_arithmetic(node.op_type),
        )
        for node in nodes
    )


def _arithmetic(operator: str) -> Arithmetic:
    if operator in _DATA_MOVEMENT:
        return "data_movement"
    return "int8" if operator.startswith("QLinear") or operator.endswith("Integer") else "float32"
