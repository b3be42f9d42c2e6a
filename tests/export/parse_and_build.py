"""Parses and builds one ONNX file with TensorRT-RTX and prints the result as JSON.

``python tests/export/parse_and_build.py MODEL.onnx``; a separate process, since a bad graph may end it. Imports nothing
of this project.
"""

import hashlib
import json
import sys
from pathlib import Path

import tensorrt_rtx as trt


class Log(trt.ILogger):
    """Collects errors."""

    def __init__(self) -> None:
        super().__init__()
        self.errors: list[str] = []

    def log(self, severity, message) -> None:
        if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
            self.errors.append(message)


def supported_nodes(payload: bytes, builder, log: Log) -> tuple[bool, int]:
    """Whether the whole graph is supported, and the number of supported nodes."""
    network = builder.create_network(0)  # must outlive its parser
    parser = trt.OnnxParser(network, log)
    is_supported = parser.supports_model_v2(payload)
    parts = [index for index in range(parser.num_subgraphs) if parser.is_subgraph_supported(index)]
    return is_supported, sum(len(parser.get_subgraph_nodes(index)) for index in parts)


def build(payload: bytes, builder, log: Log) -> tuple[list[dict], bytes | None]:
    """Errors of the parser, and the plan. A parser object parses once."""
    network = builder.create_network(0)
    parser = trt.OnnxParser(network, log)
    plan = None
    if parser.parse(payload):
        plan = builder.build_serialized_network(network, builder.create_builder_config())
    found = [parser.get_error(index) for index in range(parser.num_errors)]
    errors = [{"node": error.node_name(), "message": error.desc()} for error in found]
    return errors, None if plan is None else bytes(plan)


def main(path: Path) -> dict:
    log = Log()
    builder = trt.Builder(log)
    payload = path.read_bytes()
    is_supported, nodes = supported_nodes(payload, builder, log)
    errors, plan = build(payload, builder, log)
    return {
        "version": trt.__version__,
        "is_supported": is_supported,
        "supported_nodes": nodes,
        "errors": errors,
        "plan_sha256": None if plan is None else hashlib.sha256(plan).hexdigest(),
        "log": "\n".join(log.errors),
    }


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]))))
