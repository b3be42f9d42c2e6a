"""The registry of engine kinds: ours, then those of installed plug-ins.

A kind of ours is a folder beside this file and a line here. A kind of a plug-in is an entry point of its distribution::

    [project.entry-points."robot_assets.engine_kinds"]
    openvino = "my_package.openvino:KIND"
"""

from __future__ import annotations

from functools import cache
from typing import Any, TypeAlias

from robot_assets.core.dispatch import chosen_by_params
from robot_assets.core.errors import EngineError
from robot_assets.core.plugins import registry_of
from robot_assets.engines.kind import EngineKind
from robot_assets.engines.onnxruntime.kind import KIND as ONNXRUNTIME
from robot_assets.engines.tensorrt.kind import KIND as TENSORRT

ENTRY_POINTS = "robot_assets.engine_kinds"

AnyEngineKind: TypeAlias = EngineKind[Any, Any]

ENGINE_KINDS: tuple[AnyEngineKind, ...] = (ONNXRUNTIME, TENSORRT)
"""The kinds of this package."""


@chosen_by_params
@cache
def engine_kinds() -> dict[str, AnyEngineKind]:
    """All kinds by name: ours first, then those of installed plug-ins in the order of their names.

    Raises:
        ParamsError: A plug-in cannot be loaded, or has a kind whose name is taken.
    """
    return registry_of(ENGINE_KINDS, ENTRY_POINTS, EngineKind, "engine kind")


@chosen_by_params
def engine_kind(name: str, origin: str = "") -> AnyEngineKind:
    """The kind of that name; ``origin`` precedes it in errors, such as ``engine/manifest.json: ``.

    Raises:
        EngineError: Neither this package nor an installed plug-in has it.
        ParamsError: A plug-in cannot be loaded.
    """
    kinds = engine_kinds()
    if name not in kinds:
        raise EngineError(
            f"{origin}no engine kind {name!r}; installed are {', '.join(kinds)}",
            needed=f"the plug-in with the engine kind {name!r} (entry point group {ENTRY_POINTS})",
            fix=f"pip install the package that offers {name!r}, with the Python that runs robot-assets",
        )
    return kinds[name]
