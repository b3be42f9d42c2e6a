"""Creates a quantized detector in the format of ``export_onnx`` with random weights: a Jetson has no torch."""

import hashlib
import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

HEIGHT, WIDTH, CHANNELS, CLASSES = 64, 96, 16, ("red", "green", "blue")
_ZERO, _ZEROS = "zero", "zeros"


class _Graph:
    """Nodes and constants of a graph."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(11)
        self.nodes: list = []
        self.constants = [numpy_helper.from_array(np.zeros((), np.int8), _ZERO)]

    def constant(self, name: str, values: np.ndarray) -> str:
        self.constants.append(numpy_helper.from_array(values, name))
        return name

    def quantized(self, source: str, maximum: float) -> str:
        """``source`` through a Q/DQ pair with the range ``maximum``."""
        step = self.constant(f"{source}_step", np.array(maximum / 127, np.float32))
        pairs = (("QuantizeLinear", source, f"{source}_q"), ("DequantizeLinear", f"{source}_q", f"{source}_dq"))
        for operator, before, after in pairs:
            self.nodes.append(helper.make_node(operator, [before, step, _ZERO], [after], f"{operator}_{source}"))
        return f"{source}_dq"

    def convolution(self, source: str, name: str, inputs: int, outputs: int, stride: int = 1) -> str:
        """A convolution with int8 weights and one scale per output channel."""
        weights = self.rng.integers(-127, 128, (outputs, inputs, 3, 3)).astype(np.int8)
        steps = (1.2 / (127 * np.sqrt(9 * inputs)) * np.ones(outputs)).astype(np.float32)
        operands = [
            self.constant(f"{name}_weights", weights),
            self.constant(f"{name}_steps", steps),
            self.constant(f"{name}_zeros", np.zeros(outputs, np.int8)),
        ]
        self.nodes.append(helper.make_node("DequantizeLinear", operands, [f"{name}_w"], f"{name}_dequantize", axis=0))
        bias = self.constant(f"{name}_bias", self.rng.normal(0, 0.1, outputs).astype(np.float32))
        self.nodes.append(
            helper.make_node(
                "Conv", [source, f"{name}_w", bias], [name], f"{name}_conv", pads=[1] * 4, strides=[stride] * 2
            )
        )
        return name

    def activated(self, source: str) -> str:
        """ReLU and a Q/DQ pair."""
        self.nodes.append(helper.make_node("Relu", [source], [f"{source}_relu"], f"{source}_relu"))
        return self.quantized(f"{source}_relu", 4.0)


def write_export(folder: Path, odd_operator: str | None = None) -> None:
    """Write ``model.onnx`` and ``model.json``.

    Args:
        folder: Target folder.
        odd_operator: An operator that TensorRT lacks, which replaces the first ReLU in the node ``the_odd_one``.
    """
    graph = _Graph()
    trunk, inputs = graph.quantized("images", 1.0), 3
    heads = []
    for stride in (2, 4, 8, 16):
        trunk = graph.activated(graph.convolution(trunk, f"trunk_s{stride}", inputs, CHANNELS, 2))
        inputs = CHANNELS
        if stride >= 8:
            rows, columns = HEIGHT // stride, WIDTH // stride
            for kind, channels in (("cls", len(CLASSES)), ("box", 4)):
                graph.convolution(trunk, f"{kind}_s{stride}", CHANNELS, channels)
                heads.append((f"{kind}_s{stride}", [1, channels, rows, columns]))
    if odd_operator:
        node = next(node for node in graph.nodes if node.op_type == "Relu")
        node.op_type, node.name = odd_operator, "the_odd_one"
    _write(folder, graph, heads)


def _write(folder: Path, graph: _Graph, heads: list[tuple[str, list[int]]]) -> None:
    shapes = {"images": [1, 3, HEIGHT, WIDTH], **dict(heads)}
    values = {name: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()}
    images = values.pop("images")
    detector = helper.make_graph(graph.nodes, "detector", [images], list(values.values()), graph.constants)
    model = helper.make_model(detector, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, folder / "model.onnx")
    interface = {
        "task": "detection",
        "classes": list(CLASSES),
        "input": {"height": HEIGHT, "width": WIDTH},
        "heads": [{"name": name, "shape": shape, "parts": [_part(name)]} for name, shape in heads],
        "decoder": "grid",
        "options": {"strides": [8, 16]},
    }
    card = {
        "interface": interface,
        "md5": hashlib.md5((folder / "model.onnx").read_bytes(), usedforsecurity=False).hexdigest(),
    }
    (folder / "model.json").write_text(json.dumps(card))


def _part(head: str) -> dict[str, str]:
    return {"meaning": "logits" if head.startswith("cls") else "cells"}
