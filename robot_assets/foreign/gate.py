"""Judges an imported graph by the answers that were recorded of the file as it was given."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from robot_assets.core.errors import ExportError
from robot_assets.core.verdict import Verdict
from robot_assets.export.parity import CARD, DIFFERING_SHARE_MAX, MODEL, parity_of, read_input
from robot_assets.export.qdq_layers import float_weights, keep_quantized
from robot_assets.foreign.artifact import GIVEN, ORIGINAL, WEIGHTS
from robot_assets.foreign.running import runner
from robot_assets.tasks.interface import Interface


def check_original(onnx_dir: Path, dataset: Path) -> Verdict:
    """Compare the graph of ``onnx_dir``, without its quantization, with the answers of the file as it was given.

    A graph that was given with Q/DQ nodes is compared as it is.

    Args:
        onnx_dir: A directory that ``import_onnx`` wrote.
        dataset: The packed data set of the import.

    Raises:
        ExportError: The artifact is incomplete.
    """
    import onnx

    from robot_assets.data.packed import open_split

    interface, method, rows = _read(onnx_dir)
    model = onnx.load(onnx_dir / MODEL)
    if method != GIVEN:
        model = keep_quantized(model, (), float_weights(model, _tensors(onnx_dir / WEIGHTS)))
    infer, val = runner(model, interface), open_split(dataset, "val")
    found = parity_of(
        ((infer(read_input(val, index, interface.input)), answer) for index, answer in rows), interface.heads
    )
    what = "the graph" if method == GIVEN else "the graph in float"
    return Verdict(
        found.differing_share <= DIFFERING_SHARE_MAX,
        f"{100 * found.differing_share:.3f} % of the values of {what} differ from those of the given file "
        f"(at most {100 * DIFFERING_SHARE_MAX:g} %), at most by {found.largest_in_words}",
        "export the network again with opset_version=17, so that nothing is converted, and add the new file",
        {**found.as_json(), "differing_share_max": DIFFERING_SHARE_MAX},
    )


def _read(onnx_dir: Path) -> tuple[Interface, str, list[tuple[int, list[NDArray[Any]]]]]:
    """The interface, how the graph was made, and the recorded heads with the index of their image in val."""
    try:
        card = json.loads((onnx_dir / CARD).read_bytes())
        interface, method = Interface.model_validate(card["interface"]), str(card["choice"]["method"])
        recorded = _tensors(onnx_dir / ORIGINAL)
        rows = [
            (int(index), [recorded[name][row : row + 1] for name in interface.head_names])
            for row, index in enumerate(recorded["indices"])
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _incomplete(onnx_dir, error) from None
    return interface, method, rows


def _tensors(path: Path) -> dict[str, NDArray[Any]]:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        return dict(load(path.read_bytes()))
    except (OSError, SafetensorError) as error:
        raise _incomplete(path.parent, error) from None


def _incomplete(onnx_dir: Path, error: Exception) -> ExportError:
    return ExportError(
        f"{onnx_dir} is not a complete ONNX artifact ({type(error).__name__}: {error})",
        needed=f"{MODEL}, {CARD}, {ORIGINAL} and {WEIGHTS}",
        fix="rebuild the onnx asset, or restore its directory from the store",
    )
