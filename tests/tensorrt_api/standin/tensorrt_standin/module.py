"""The module ``tensorrt`` of a version."""

from types import ModuleType
from typing import Any

import numpy as np

from tensorrt_standin import building, running
from tensorrt_standin.strict import Strict, make_class, make_enum, read_inventory

_SEVERITIES = ["INTERNAL_ERROR", "ERROR", "WARNING", "INFO", "VERBOSE"]


def make(version: str) -> ModuleType:
    """A module with exactly the names in the inventory of ``version``."""
    inventory = read_inventory(version)
    trt = ModuleType("tensorrt", f"Not NVIDIA's TensorRT: the stand-in for {version}.")
    trt.__version__ = inventory["version"]  # type: ignore[attr-defined]
    for name, members in inventory["enums"].items():
        setattr(trt, name, make_enum(name, members))
    for name, members in inventory["classes"].items():
        implementation = getattr(building, name, None) or getattr(running, name, None)
        setattr(trt, name, make_class(name, members, implementation if isinstance(implementation, type) else None, trt))
    severity = make_enum("Severity", _SEVERITIES)
    for logger in (trt.ILogger, trt.Logger):  # type: ignore[attr-defined]
        logger.Severity = severity
        for member in severity:
            setattr(logger, member.name, member)
    for name in inventory["funcs"]:
        setattr(trt, name, _FUNCTIONS.get(name) or _not_implemented(name))
    return trt


def _nptype(trt_type: Any) -> Any:
    return {"FLOAT": np.float32, "HALF": np.float16, "INT8": np.int8, "INT32": np.int32}[trt_type.name]


def _not_implemented(name: str) -> Any:
    def function(*_: Any, **__: Any) -> Any:
        raise NotImplementedError(f"the stand-in does not implement {name}; add it if it is needed")

    return function


_FUNCTIONS = {"nptype": _nptype, "init_libnvinfer_plugins": lambda logger, namespace: True}

__all__ = ["Strict", "make"]
