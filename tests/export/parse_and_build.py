"""What TensorRT-RTX says of one ONNX file, as JSON: a process of its own, since what it does not like may end it.

``python tests/export/parse_and_build.py MODEL.onnx``; imports nothing of this project.
"""

import hashlib
import json
import sys
from pathlib import Path

import tensorrt_rtx as trt


class Log(trt.ILogger):
    """Keeps what is an error."""

    def __init__(self) -> None:
        super().__init__()
        self.errors: list[str] = []

    def log(self, severity, message) -> None:
        if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
            self.errors.append(message)


def supported_nodes(payload: bytes, builder, log: Log) -> tuple[bool, int]:
    """Whether the graph is supported as a whole, and how many of its nodes are."""
    network = builder.create_network(0)  # has to outlive its parser
    parser = trt.OnnxParser(network, log)
    whole = parser.supports_model_v2(payload)
    parts = [index for index in range(parser.num_subgraphs) if parser.is_subgraph_supported(index)]
    return whole, sum(len(parser.get_subgraph_nodes(index)) for index in parts)


def build(payload: bytes, builder, log: Log) -> tuple[list[dict], bytes | None]:
    """What the parser refuses, and the plan; a parser object parses once."""
    network = builder.create_network(0)
    parser = trt.OnnxParser(network, log)
    plan = None
    if parser.parse(payload):
        plan = builder.build_serialized_network(network, builder.create_builder_config())
    errors = [parser.get_error(index) for index in range(parser.num_errors)]
    refused = [{"node": error.node_name(), "words": error.desc()} for error in errors]
    return refused, None if plan is None else bytes(plan)


def main(path: Path) -> dict:
    log = Log()
    builder = trt.Builder(log)
    payload = path.read_bytes()
    whole, nodes = supported_nodes(payload, builder, log)
    refused, plan = build(payload, builder, log)
    return {
        "version": trt.__version__,
        "is_supported": whole,
        "supported_nodes": nodes,
        "refused": refused,
        "plan_sha256": None if plan is None else hashlib.sha256(plan).hexdigest(),
        "log": "\n".join(log.errors),
    }


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]))))
