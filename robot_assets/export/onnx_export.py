"""From quantized torch models to one ONNX file with Q/DQ nodes that every TensorRT from 8.6 takes."""

from __future__ import annotations

import hashlib
import json
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robot_assets.core.errors import ExportError
from robot_assets.core.progress import report
from robot_assets.core.publishing import publishing_directory
from robot_assets.export.choice import Choice, choose
from robot_assets.export.parity import (
    BOX_TOLERANCE,
    CARD,
    DIFFERING_SHARE_MAX,
    DROP_POINTS_MAX,
    MODEL,
    PARITY,
    REFERENCE,
    SCORE_TOLERANCE,
    differing_share,
    reference_indices,
)
from robot_assets.export.preflight import IR_VERSION, OPSET, preflight

if TYPE_CHECKING:
    from onnx import ModelProto
    from torch import nn

    from robot_assets.models.checkpoint import CheckpointConfig
    from robot_assets.models.spec import NetworkSpec

INPUT = "images"


@dataclass(frozen=True)
class ExportSummary:
    """What was exported and why.

    Attributes:
        choice: PTQ or QAT, with the figures.
        model_md5: Of ``model.onnx``.
        model_size_bytes: Of ``model.onnx``.
        nodes: Nodes by operator.
        differing_share: Share of head values that differ from torch on the reference images.
    """

    choice: Choice
    model_md5: str
    model_size_bytes: int
    nodes: dict[str, int]
    differing_share: float


def export_onnx(checkpoint: Path, ptq: Path, qat: Path, dataset: Path, out: Path) -> ExportSummary:
    """Export the better of PTQ and QAT on val.

    Args:
        checkpoint: The float model that both came from; its config must be theirs.
        ptq: A directory that ``ptq`` wrote.
        qat: A directory that ``qat`` wrote.
        dataset: Its val split gives the images that torch's answers are recorded on.
        out: Directory to publish: ``model.onnx`` (batch 1, input ``images`` float32 (1, 3, H, W) RGB in [0, 1],
            outputs as in ``output_names``), ``model.json``, ``parity.json``, ``reference.safetensors``.

    Raises:
        ExportError: The inputs are of different networks, or TensorRT would refuse the graph.
        QuantizationError: A quantized model does not load.
    """
    from robot_assets.models.checkpoint import load_config
    from robot_assets.quantization.artifact import load_quantization, load_quantized
    from robot_assets.quantization.graph import convert

    _refuse_strangers(load_config(checkpoint), {"ptq": load_config(ptq), "qat": load_config(qat)})
    choice = choose(load_quantization(ptq), load_quantization(qat))
    prepared, config, _ = load_quantized(ptq if choice.method == "ptq" else qat)
    quantized = convert(prepared)
    report("export", 1, 3, choice.method)
    model = to_onnx(quantized, config.network)
    preflight(model, out / MODEL)
    report("export", 2, 3, "parity")
    with publishing_directory(out) as staging:
        save_onnx(model, staging / MODEL)
        share = _write_reference(staging, quantized, dataset, config.network)
        _write_json(staging / CARD, _card(model, staging / MODEL, config, choice))
        _write_json(staging / PARITY, _parity(share))
        payload = (staging / MODEL).read_bytes()
    report("export", 3, 3)
    return ExportSummary(choice, _md5(payload), len(payload), _operators(model), share)


def export_float(checkpoint: Path, path: Path) -> None:
    """Write the float checkpoint as ONNX with the same input and outputs, to compare an engine with."""
    from robot_assets.models.checkpoint import load_network

    network, config = load_network(checkpoint)
    save_onnx(to_onnx(network, config.network), path)


def to_onnx(module: nn.Module, spec: NetworkSpec) -> ModelProto:
    """Translate ``module`` (images float32 (1, 3, H, W) -> raw heads); the same module gives the same bytes.

    Raises:
        ExportError: The exporter did not reach the wanted operator set.
    """
    import torch

    from robot_assets.models.decode import output_names

    images = torch.zeros(1, 3, spec.input_height, spec.input_width)
    with warnings.catch_warnings(), torch.no_grad(), _quiet_exporter():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module,
            (images,),
            dynamo=True,
            external_data=False,
            opset_version=OPSET,
            input_names=[INPUT],
            output_names=list(output_names(spec)),
            verbose=False,
        )
    if program is None:
        raise ExportError("torch returned no program", needed="an ONNX program", fix="install torch as pinned")
    model: ModelProto = program.model_proto
    _normalize(model)
    return model


def save_onnx(model: ModelProto, path: Path) -> None:
    """Check ``model`` fully and write it as one file.

    Raises:
        ExportError: The ONNX checker refuses it.
    """
    import onnx

    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ExportError(
            f"the ONNX checker refuses {path.name}: {error}",
            needed="a model that passes the full check",
            fix="change the network so that the named node goes away",
        ) from None
    path.write_bytes(model.SerializeToString(deterministic=True))


def _normalize(model: ModelProto) -> None:
    """Remove what depends on where and how the export ran: paths in metadata, versions, recorded types."""
    model.ir_version = IR_VERSION
    model.producer_name, model.producer_version, model.doc_string = "robot-assets", "", ""
    graph = model.graph
    graph.doc_string = ""
    graph.name = "detector"
    del model.metadata_props[:], graph.metadata_props[:], graph.value_info[:]
    for item in (*graph.node, *graph.input, *graph.output, *graph.initializer):
        item.doc_string = ""
        del item.metadata_props[:]


def _quiet_exporter() -> Any:
    """Silence for the block: the exporter prints its steps and logs what it lacks."""
    import contextlib
    import io
    import logging

    @contextlib.contextmanager
    def quiet() -> Any:
        logger = logging.getLogger("torch.onnx")
        before = logger.level
        logger.setLevel(logging.ERROR)
        try:
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                yield
        finally:
            logger.setLevel(before)

    return quiet()


def _refuse_strangers(own: CheckpointConfig, others: dict[str, CheckpointConfig]) -> None:
    for name, config in others.items():
        if config != own:
            raise ExportError(
                f"the {name} model is of {config}",
                needed=f"the checkpoint's {own}",
                fix=f"build {name} again from this checkpoint",
            )


def _write_reference(staging: Path, quantized: nn.Module, dataset: Path, network: NetworkSpec) -> float:
    """Record torch's heads on a few images of val; return the share that ONNX Runtime answers differently."""
    import numpy as np
    import torch
    from safetensors.numpy import save_file

    from robot_assets.data.packed import open_split
    from robot_assets.export.parity import plain_session, read_input
    from robot_assets.models.decode import output_names

    val = open_split(dataset, "val")
    indices = reference_indices(len(val))
    session = plain_session(staging / MODEL)
    rows, shares = [], []
    for index in indices:
        images = read_input(val, index, network)
        with torch.no_grad():
            heads = [head.numpy() for head in quantized(torch.from_numpy(images))]
        rows.append(heads)
        shares.append(differing_share(output_names(network), heads, session.run(None, {INPUT: images})))
    tensors = {
        name: np.concatenate([heads[position] for heads in rows]) for position, name in enumerate(output_names(network))
    }
    tensors["indices"] = np.array(indices, np.int64)
    save_file(tensors, str(staging / REFERENCE))
    return float(np.mean(shares))


def _card(model: ModelProto, path: Path, config: CheckpointConfig, choice: Choice) -> dict[str, Any]:
    return {
        "classes": list(config.classes),
        "network": config.network.model_dump(mode="json"),
        "inputs": {value.name: _shape(value) for value in model.graph.input},
        "outputs": {value.name: _shape(value) for value in model.graph.output},
        "preprocessing": "letterbox on grey 114, RGB, float32 (1, 3, height, width) in [0, 1]",
        "choice": choice.as_json(),
        "md5": _md5(path.read_bytes()),
        "nodes": _operators(model),
        "opset": OPSET,
        "ir_version": IR_VERSION,
    }


def _parity(share: float) -> dict[str, Any]:
    return {
        "differing_share": round(share, 6),
        "differing_share_max": DIFFERING_SHARE_MAX,
        "score_tolerance": SCORE_TOLERANCE,
        "box_tolerance_cells": BOX_TOLERANCE,
        "moved_points_max": DROP_POINTS_MAX,
        "compared_with": "ONNX Runtime, graph optimizations off",
    }


def _shape(value: Any) -> list[int]:
    return [dimension.dim_value for dimension in value.type.tensor_type.shape.dim]


def _operators(model: ModelProto) -> dict[str, int]:
    names = [node.op_type for node in model.graph.node]
    return {name: names.count(name) for name in sorted(set(names))}


def _write_json(path: Path, document: dict[str, Any]) -> None:
    path.write_text(json.dumps(document, indent=2, sort_keys=True, allow_nan=False) + "\n")


def _md5(payload: bytes) -> str:
    return hashlib.md5(payload, usedforsecurity=False).hexdigest()
