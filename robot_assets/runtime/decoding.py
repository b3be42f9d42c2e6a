"""Finds the decoder of an engine, and makes sure that it is the one that the engine was built with. Without torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from robot_assets.core.dispatch import chosen_by_params
from robot_assets.core.errors import EngineError
from robot_assets.lineage.code import running_code
from robot_assets.tasks.registry import ENTRY_POINTS, tasks

if TYPE_CHECKING:
    from collections.abc import Callable

    from robot_assets.tasks.interface import Interface
    from robot_assets.tasks.task import Decoder, Outputs

    Decode = Callable[[Outputs, Interface], list[Any]]


@chosen_by_params
def decoder_code(interface: Interface) -> str:
    """Code version of the decoder of ``interface``: of all that decoding its heads runs.

    Raises:
        EngineError: Its task is not installed here, or has no such decoder.
    """
    return running_code().version([decoder_of(interface).run], {})


@chosen_by_params
def load_decoder(interface: Interface, code: str) -> Decode:
    """Load the decoder of an engine.

    Args:
        interface: Of the engine.
        code: Code version of the decoder that the engine was built with.

    Raises:
        EngineError: Its task is not installed here or has no such decoder, or the decoder here is another one.
    """
    if (here := decoder_code(interface)) != code:
        raise EngineError(
            f"the decoder {interface.decoder!r} of the task {interface.task!r} has the code version {here} here",
            needed=f"{code}, with which the engine was built",
            fix="build the engine again, or install here the version of robot-assets, or of the plug-in, that built it",
        )
    decode: Decode = tasks()[interface.task].load_decoder(interface.decoder)
    return decode


@chosen_by_params
def decoder_of(interface: Interface) -> Decoder:
    """The decoder of ``interface``, from the registry of tasks.

    Raises:
        EngineError: Its task is not installed here, or has no such decoder.
    """
    found = tasks().get(interface.task)
    if found is None:
        raise EngineError(
            f"the engine is of the task {interface.task!r}; installed are {', '.join(tasks())}",
            needed=f"the plug-in with the task {interface.task!r} (entry point group {ENTRY_POINTS})",
            fix=f"pip install the package that offers {interface.task!r}, with the Python that runs robot-assets",
        )
    if interface.decoder not in {one.name for one in found.decoders}:
        raise EngineError(
            f"the engine has the decoder {interface.decoder!r}; the task {interface.task!r} has "
            f"{', '.join(one.name for one in found.decoders)}",
            needed=f"a version of the task {interface.task!r} with the decoder {interface.decoder!r}",
            fix="build the engine again, or install here the version of the task that the engine was built with",
        )
    return found.decoder(interface.decoder)
