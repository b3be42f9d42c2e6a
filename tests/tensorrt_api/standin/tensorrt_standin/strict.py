"""Classes with exactly the names in the inventory of a version."""

import enum
import json
from pathlib import Path
from types import ModuleType
from typing import Any

INVENTORIES = Path(__file__).parents[2] / "inventories"


class Strict:
    """Like an object of pybind11: unknown attributes can be neither read nor set."""

    _members: frozenset[str] = frozenset()
    _trt: Any = None

    def __setattr__(self, name: str, value: Any) -> None:
        if not name.startswith("_") and name not in self._members:
            raise AttributeError(f"{type(self).__module__}.{type(self).__name__!r} object has no attribute {name!r}")
        object.__setattr__(self, name, value)


class _Enum(enum.Enum):
    """Like an enum of pybind11: int() works, arithmetic does not."""

    def __int__(self) -> int:
        return int(self.value)


def read_inventory(version: str) -> dict[str, Any]:
    """Names of the real package of a version."""
    return json.loads((INVENTORIES / f"{version}.json").read_text())


def make_enum(name: str, members: list[str]) -> type[enum.Enum]:
    """An enum with the members of the inventory, in its order."""
    created = _Enum(name, {member: index for index, member in enumerate(members)})
    created.__module__ = "tensorrt"
    return created


def make_class(name: str, members: list[str], implementation: type | None, trt: ModuleType) -> type:
    """The class of a version: members of ``implementation`` that are in the inventory; all others raise."""
    bases = (trt.ILogger,) if name == "Logger" else implementation.__bases__ if implementation else (Strict,)
    body: dict[str, Any] = {
        key: value
        for key, value in vars(implementation or object).items()
        if implementation and (key.startswith("_") or key in members) and key not in ("__dict__", "__weakref__")
    }
    for member in members:
        if member not in body:
            body[member] = property(_not_implemented(f"{name}.{member}"), _not_settable(f"{name}.{member}"))
    body |= {"_members": frozenset(members), "_trt": trt, "__module__": "tensorrt", "__doc__": f"Stand-in for {name}."}
    return type(name, bases, body)


def _not_implemented(what: str) -> Any:
    def read(self: Any) -> Any:
        raise NotImplementedError(f"the stand-in does not implement {what}; add it if it is needed")

    return read


def _not_settable(what: str) -> Any:
    def write(self: Any, value: Any) -> None:
        raise NotImplementedError(f"the stand-in does not implement {what}; add it if it is needed")

    return write
