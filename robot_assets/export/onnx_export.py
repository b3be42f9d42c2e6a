"""Exports quantized torch models to one ONNX file with Q/DQ nodes that every TensorRT from 8.6 supports."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robot_assets.core.digests import md5_of
from robot_assets.core.documents import write_json
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
    plain_session,
    read_input,
    reference_indices,
)
from robot_assets.export.preflight import IR_VERSION, OPSET, preflight

if TYPE_CHECKING:
    from onnx import ModelProto
    from torch import nn

    from robot_assets.tasks.detection.checkpoint import CheckpointConfig
    from robot_assets.tasks.detection.spec import NetworkSpec

INPUT = "images"


@dataclass(frozen=True)
class ExportSummary:
    """The exported model and the reason for the choice.

    Attributes:
        choice: PTQ or QAT, with their metrics.
        model_md5: Md5 of ``model.onnx``.
        model_size_bytes: Size of ``model.onnx``.
        nodes: Number of nodes by operator.
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
        checkpoint: The float model that both were quantized from; its config must be theirs.
        ptq: A directory that ``ptq`` wrote.
        qat: A directory that ``qat`` wrote.
        dataset: A packed data set; torch's outputs are recorded on images of its val split.
        out: Directory to publish: ``model.onnx`` (batch 1, input ``images`` float32 (1, 3, H, W) RGB in [0, 1],
            outputs as in ``output_names``), ``model.json``, ``parity.json``, ``reference.safetensors``.

    Raises:
        ExportError: The inputs are of different networks, or TensorRT would reject the graph.
        QuantizationError: A quantized model does not load.
    """
    from robot_assets.quantization.artifact import load_quantization, load_quantized
    from robot_assets.quantization.graph import convert
    from robot_assets.tasks.detection.checkpoint import load_config

    _refuse_other_networks(load_config(checkpoint), {"ptq": load_config(ptq), "qat": load_config(qat)})
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
        md5, size = md5_of(staging / MODEL), (staging / MODEL).stat().st_size
        write_json(staging / CARD, _card(model, md5, config, choice))
        write_json(staging / PARITY, _parity(share))
    report("export", 3, 3)
    return ExportSummary(choice, md5, size, _operators(model), share)


def export_float(checkpoint: Path, path: Path) -> None:
    """Export the float checkpoint with the same input and outputs, for comparison with an engine."""
    from robot_assets.tasks.detection.checkpoint import load_network

    network, config = load_network(checkpoint)
    save_onnx(to_onnx(network, config.network), path)


def to_onnx(module: nn.Module, spec: NetworkSpec) -> ModelProto:
    """Convert ``module`` (images float32 (1, 3, H, W) -> raw heads) to ONNX; the same module gives the same bytes.

    Raises:
        ExportError: The exporter returned no model.
    """
    import torch

    from robot_assets.tasks.detection.decode import output_names

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
        raise ExportError("torch.onnx.export returned no program", needed="an ONNX program", fix="make setup")
    model: ModelProto = program.model_proto
    _normalize(model)
    return model


def save_onnx(model: ModelProto, path: Path) -> None:
    """Check ``model`` with the full ONNX checker and write it as one file.

    Raises:
        ExportError: The ONNX checker rejects it.
    """
    import onnx

    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ExportError(
            f"the ONNX checker rejects {path.name}: {error}",
            needed="a model that passes the full check",
            fix="change the network so that it has no such node",
        ) from None
    path.write_bytes(model.SerializeToString(deterministic=True))


def _normalize(model: ModelProto) -> None:
    """Remove what depends on the machine and the exporter: paths in metadata, versions, inferred types."""
    model.ir_version = IR_VERSION
    model.producer_name, model.producer_version, model.doc_string = "robot-assets", "", ""
    graph = model.graph
    graph.doc_string = ""
    graph.name = "detector"
    del model.metadata_props[:], graph.metadata_props[:], graph.value_info[:]
    for item in (*graph.node, *graph.input, *graph.output, *graph.initializer):
        item.doc_string = ""
        del item.metadata_props[:]


@contextlib.contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Silence the exporter inside the block: it prints its steps and logs missing optional packages."""
    logger = logging.getLogger("torch.onnx")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        logger.setLevel(before)


def _refuse_other_networks(own: CheckpointConfig, others: dict[str, CheckpointConfig]) -> None:
    for name, config in others.items():
        if config != own:
            raise ExportError(
                f"the {name} model is of {config}",
                needed=f"{own}, as in the checkpoint",
                fix=f"rebuild {name} from this checkpoint",
            )


def _write_reference(staging: Path, quantized: nn.Module, dataset: Path, network: NetworkSpec) -> float:
    """Record torch's heads on a few images of val; return the share of values that differ in ONNX Runtime."""
    import numpy as np
    import torch
    from safetensors.numpy import save_file

    from robot_assets.data.packed import open_split
    from robot_assets.tasks.detection.decode import output_names

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


def _card(model: ModelProto, md5: str, config: CheckpointConfig, choice: Choice) -> dict[str, Any]:
    return {
        "classes": list(config.classes),
        "network": config.network.model_dump(mode="json"),
        "inputs": {value.name: _shape(value) for value in model.graph.input},
        "outputs": {value.name: _shape(value) for value in model.graph.output},
        "preprocessing": "letterbox on grey 114, RGB, float32 (1, 3, height, width) in [0, 1]",
        "choice": choice.as_json(),
        "md5": md5,
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
