"""Q/DQ placements of a float ONNX side by side: ours, and those of ONNX Runtime's static quantizer (decision 016).

    python -m benchmarks.onnx_placement

The float export of the detector of params.yaml with random weights: weights and scales change no kernel. Each graph is
rewritten for ONNX Runtime as an engine is, and timed on one thread, the variants in turn. Exit code 1 when preflight
refuses our graph, or when it is slower than a placement of ONNX Runtime by more than 5 %.
"""

import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter

import numpy as np
import onnx
import onnxruntime
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from robot_assets.engines.onnxruntime.layers import count_kernels
from robot_assets.engines.onnxruntime.rewrite import rewrite
from robot_assets.export.onnx_export import to_onnx
from robot_assets.export.preflight import quantization_problems
from robot_assets.foreign.conversion import convert
from robot_assets.foreign.placement import place
from robot_assets.foreign.quantize import quantized
from robot_assets.pipeline.params import load_params
from robot_assets.tasks.building import build
from robot_assets.tasks.interface import Preprocessing

INFERENCES = 100
SYMMETRIC = {"ActivationSymmetric": True, "WeightSymmetric": True, "QuantizeBias": False}


def main() -> int:
    model = load_params(Path("params.yaml")).models["sidewalk_detector"]
    interface = model.interface(("a", "b", "c"))
    network = build(model.network, interface, seed=0).eval()
    graph = convert(to_onnx(network, interface), "sidewalk_detector").model
    placement = place(graph)
    graphs = {"ours": quantized(graph, placement, dict.fromkeys(placement.tensors, 0.02)), **dict(_others(graph))}
    refused = {name: len(list(quantization_problems(one))) for name, one in graphs.items()}
    fastest = _timed({"float": graph, **{name: _rewritten(one) for name, one in graphs.items()}})
    print(f"float: {fastest['float']:.2f} ms")
    for name, one in graphs.items():
        nodes = Counter(node.op_type for node in one.graph.node)
        print(f"{name}: {nodes['QuantizeLinear']} Q, {nodes['DequantizeLinear']} DQ, {refused[name]} refused,")
        print(f"    {_kernels(_rewritten(one))}, {fastest[name]:.2f} ms")
    others = min(ms for name, ms in fastest.items() if name.startswith("symmetric"))
    return int(refused["ours"] > 0 or fastest["ours"] > 1.05 * others)


class _Images(CalibrationDataReader):
    def __init__(self, name: str, shape: tuple[int, ...]) -> None:
        rng = np.random.default_rng(0)
        self._images = iter([{name: rng.random(shape, np.float32)} for _ in range(8)])

    def get_next(self) -> dict | None:
        return next(self._images, None)


def _others(graph: onnx.ModelProto) -> Iterator[tuple[str, onnx.ModelProto]]:
    outputs = {value.name for value in graph.graph.output}
    heads = [node.name for node in graph.graph.node if not outputs.isdisjoint(node.output)]
    given = graph.graph.input[0]
    shape = tuple(one.dim_value for one in given.type.tensor_type.shape.dim)
    for name, options, excluded in (
        ("defaults", {}, []),
        ("symmetric", SYMMETRIC, []),
        ("symmetric, heads excluded", SYMMETRIC, heads),
    ):
        with tempfile.TemporaryDirectory() as folder:
            files = [str(Path(folder, one)) for one in ("float.onnx", "quantized.onnx")]
            onnx.save(graph, files[0])
            quantize_static(
                *files,
                _Images(given.name, shape),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                activation_type=QuantType.QInt8,
                weight_type=QuantType.QInt8,
                nodes_to_exclude=excluded,
                extra_options=options,
            )
            yield name, onnx.load(files[1])


def _rewritten(graph: onnx.ModelProto) -> onnx.ModelProto:
    changed = onnx.ModelProto()
    changed.CopyFrom(graph)
    rewrite(changed, Preprocessing())
    return changed


def _kernels(graph: onnx.ModelProto) -> str:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "rewritten.onnx")
        onnx.save(graph, path)
        return str(count_kernels(path))


def _timed(graphs: dict[str, onnx.ModelProto]) -> dict[str, float]:
    """The fastest inference of each in milliseconds."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    sessions = {
        name: onnxruntime.InferenceSession(one.SerializeToString(), options, providers=["CPUExecutionProvider"])
        for name, one in graphs.items()
    }
    given = next(iter(sessions.values())).get_inputs()[0]
    images = np.random.default_rng(1).random(given.shape, np.float32)
    fastest = dict.fromkeys(sessions, float("inf"))
    for _ in range(INFERENCES):
        for name, session in sessions.items():
            began = perf_counter()
            session.run(None, {given.name: images})
            fastest[name] = min(fastest[name], 1e3 * (perf_counter() - began))
    return fastest


if __name__ == "__main__":
    sys.exit(main())
