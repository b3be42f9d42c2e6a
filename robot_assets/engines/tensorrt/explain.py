"""Turns messages of TensorRT's log and errors of its parser into errors with a cause and a fix."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from robot_assets.core.errors import EngineError
from robot_assets.engines.tensorrt.api import Log

if TYPE_CHECKING:
    from onnx import ModelProto

_REBUILD = "build the engine again on this device: robot-assets build MODEL"
_SYMPTOMS = (
    (
        r"insufficient workspace|increas\w* (?:the )?(?:max )?workspace|workspace size",
        "a tactic needs more scratch memory than workspace_mib allows",
        "more workspace",
        "raise workspace_mib of the target in params.yaml (it is {workspace_mib})",
    ),
    (
        r"out of memory|OutOfMemory|cudaErrorMemoryAllocation|could not be allocated|Failed to allocate",
        "the device ran out of memory",
        "memory for the tactics that are measured; on a Jetson the CPU and the GPU share it",
        "end other programs on the device (a desktop alone takes 1 GiB), then lower workspace_mib ({workspace_mib}) or "
        "optimization_level ({optimization_level}) of the target in params.yaml",
    ),
    (
        r"not compatible with this version of TensorRT|Version tag does not match|stdVersionRead",
        "the plan is of another version of TensorRT",
        "the version of TensorRT that built it",
        _REBUILD,
    ),
    (
        r"generated on an incompatible device|incompatible device",
        "the plan is of another GPU",
        "the GPU that it was built on",
        _REBUILD,
    ),
    (
        r"no CUDA-capable device|CUDA initialization failure|insufficient for CUDA runtime",
        "TensorRT finds no CUDA device",
        "the GPU of a Jetson, visible here",
        "run it on the device; in a container with runtime class nvidia",
    ),
    (
        r"Could not find any implementation for node",
        "TensorRT has no kernel for a part of the graph",
        "a kernel for the named node",
        "raise workspace_mib ({workspace_mib}) or optimization_level ({optimization_level}), or remove dla",
    ),
    (
        r"not supported on (?:the )?DLA|can run on DLA|DLA validation failed|[Ff]ailed DLA",
        "the DLA cannot run the graph",
        "a graph of fixed shapes and of layers that a DLA supports",
        "set dla.gpu_fallback of the target to true, or remove dla",
    ),
)
"""(pattern of a message, meaning, needed, fix), the most specific first."""


def failure(doing: str, log: Log, **settings: object) -> EngineError:
    """The error for an operation of TensorRT that failed.

    Args:
        doing: The operation, such as ``building X``.
        log: TensorRT's messages during it.
        **settings: Values of the target, for the fix.
    """
    errors = log.errors() or [message for _, message in log.lines][-3:] or ["it gave no message"]
    known = {"workspace_mib": "?", "optimization_level": "?", **settings}
    for pattern, meaning, needed, fix in _SYMPTOMS:
        for message in errors:
            if re.search(pattern, message):
                return EngineError(f"{doing}: {meaning}. {_tidy(message)}", needed=needed, fix=fix.format(**known))
    shown = "\n    ".join(_tidy(message) for message in errors[:5])
    return EngineError(
        f"{doing} failed. TensorRT's messages:\n    {shown}",
        needed="a graph and settings that this TensorRT can build",
        fix="look the message up in NVIDIA's TensorRT documentation; the log of the run has all of TensorRT's messages",
    )


def refused_by_parser(trt: Any, parser: Any, model: ModelProto, origin: str) -> EngineError:
    """The error for a graph that the ONNX parser refuses; names nodes as the ONNX does."""
    errors = [parser.get_error(index) for index in range(parser.num_errors)]
    shown = "\n    ".join(_parser_sentence(error, model) for error in errors[:8]) or "it gave no reason"
    unsupported = [error for error in errors if str(getattr(error.code(), "name", "")).startswith("UNSUPPORTED")]
    return EngineError(
        f"TensorRT {trt.__version__} refuses {origin}:\n    {shown}",
        needed="operators that this TensorRT has" if unsupported else "a graph that its ONNX parser can read",
        fix="change the network so that it has none of the named nodes, then train and export again; "
        "robot_assets/export/preflight.py lists the operators of 8.6 to 11",
    )


def _parser_sentence(error: Any, model: ModelProto) -> str:
    index = int(error.node())
    node = model.graph.node[index] if 0 <= index < len(model.graph.node) else None
    name = error.node_name() if hasattr(error, "node_name") else ""
    name = name or (node.name or node.output[0] if node is not None else "")
    operator = node.op_type if node is not None else ""
    where = f"node {name!r}" + (f" ({operator})" if operator else "") if name else "the graph"
    code = str(getattr(error.code(), "name", error.code())).lower().replace("_", " ")
    return f"{where}: {code} ({_tidy(error.func())}: {_tidy(error.desc())})"


def _tidy(message: str) -> str:
    return " ".join(message.split())[:400]
