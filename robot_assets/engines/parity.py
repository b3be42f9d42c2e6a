"""Reads the recorded heads that an engine is compared with. Needs neither torch nor ONNX Runtime.

The ONNX artifact has recorded heads on a few images of val: those of the quantized model that was exported. The gate of
the ONNX compares the Q/DQ graph with them, in ONNX Runtime with graph optimizations off, before any engine is built
from it. So a device compares its engine with the graph without running the graph, which a Jetson may not be able to do.
The tolerances are those of the export (docs/decisions/004).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from robot_assets.core.errors import ExportError
from robot_assets.export.parity import REFERENCE, Heads
from robot_assets.tasks.interface import Interface


@dataclass(frozen=True)
class Recorded:
    """The recorded heads of an ONNX artifact.

    Attributes:
        indices: Images of val.
        heads: Heads of each image in the order of the interface, each with a leading 1.
    """

    indices: tuple[int, ...]
    heads: tuple[Heads, ...]


def read_recorded(onnx: Path, interface: Interface) -> Recorded:
    """Read the recorded heads of the ONNX artifact ``onnx``.

    Raises:
        ExportError: It has none, or they are of another network.
    """
    names = interface.head_names
    reference = _read(onnx / REFERENCE, names)
    indices = tuple(int(index) for index in reference["indices"])
    heads = tuple([reference[name][row : row + 1] for name in names] for row in range(len(indices)))
    return Recorded(indices, heads)


def _read(path: Path, names: Sequence[str]) -> dict[str, NDArray[Any]]:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        reference: dict[str, NDArray[Any]] = load(path.read_bytes())
    except (OSError, ValueError, SafetensorError) as error:
        raise _incomplete(path, f"{type(error).__name__}: {error}") from None
    if missing := sorted({"indices", *names} - reference.keys()):
        raise _incomplete(path, f"it has no {', '.join(missing)}")
    return reference


def _incomplete(path: Path, why: str) -> ExportError:
    return ExportError(
        f"{path} does not have the heads of the exported model ({why})",
        needed="the ONNX artifact that the engine was built from",
        fix="export again, or restore the whole directory from the store",
    )
