"""Classes that have what the inventory of a version lists, and nothing else."""

import enum
import json
from pathlib import Path
from types import ModuleType
from typing import Any

INVENTORIES = Path(__file__).parents[2] / "inventories"


class Strict:
    """As an object of pybind11: a name that the class does not have can be neither read nor set."""

    _members: frozenset[str] = frozenset()
    _trt: Any = None

    def __setattr__(self, name: str, value: Any) -> None:
        if not name.startswith("_") and name not in self._members:
            raise AttributeError(f"{type(self).__module__}.{type(self).__name__!r} object has no attribute {name!r}")
        object.__setattr__(self, name, value)


class _Enum(enum.Enum):
    """int() works, arithmetic does not, as for the enums of pybind11."""

    def __int__(self) -> int:
        return int(self.value)


def read_inventory(version: str) -> dict[str, Any]:
    """What the real package of a version has."""
    return json.loads((INVENTORIES / f"{version}.json").read_text())


def make_enum(name: str, members: list[str]) -> type[enum.Enum]:
    """An enum with the members of the inventory, in its order."""
    made = _Enum(name, {member: index for index, member in enumerate(members)})
    made.__module__ = "tensorrt"
    return made


def make_class(name: str, members: list[str], written: type | None, trt: ModuleType) -> type:
    """The class of a version: what is written of it and is in the inventory; the rest of the inventory says that it is
    not written."""
    bases = (trt.ILogger,) if name == "Logger" else written.__bases__ if written else (Strict,)
    body: dict[str, Any] = {
        key: value
        for key, value in vars(written or object).items()
        if written and (key.startswith("_") or key in members) and key not in ("__dict__", "__weakref__")
    }
    for member in members:
        if member not in body:
            body[member] = property(_not_written(f"{name}.{member}"), _not_settable(f"{name}.{member}"))
    body |= {"_members": frozenset(members), "_trt": trt, "__module__": "tensorrt", "__doc__": f"Stand-in for {name}."}
    return type(name, bases, body)


def _not_written(what: str) -> Any:
    def read(self: Any) -> Any:
        raise NotImplementedError(f"the stand-in has no {what}, which the real TensorRT has: write it if it is needed")

    return read


def _not_settable(what: str) -> Any:
    def write(self: Any, value: Any) -> None:
        raise NotImplementedError(f"the stand-in has no {what}, which the real TensorRT has: write it if it is needed")

    return write
