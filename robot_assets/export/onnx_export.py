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
from robot_assets.export.opset import EXPORTED, lower_opset, modules_of, not_convertible
from robot_assets.export.parity import (
    CARD,
    DIFFERING_SHARE_MAX,
    DROP_POINTS_MAX,
    MODEL,
    PARITY,
    REFERENCE,
    parity_of,
    plain_session,
    read_input,
    reference_indices,
    runner,
)
from robot_assets.export.preflight import IR_VERSION, OPSET, preflight
from robot_assets.tasks.registry import task_of

if TYPE_CHECKING:
    from onnx import ModelProto
    from torch import nn

    from robot_assets.export.parity import Parity
    from robot_assets.tasks.checkpoint import CheckpointConfig
    from robot_assets.tasks.interface import Interface


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
        out: Directory to publish: ``model.onnx`` (batch 1; input and outputs as in the interface), ``model.json``,
            ``parity.json``, ``reference.safetensors``.

    Raises:
        ExportError: The inputs are of different networks, or TensorRT would reject the graph.
        QuantizationError: A quantized model does not load.
    """
    from robot_assets.quantization.artifact import load_quantization, load_quantized
    from robot_assets.quantization.graph import convert
    from robot_assets.tasks.checkpoint import load_config

    own = load_config(checkpoint)
    _refuse_other_networks(own, {"ptq": load_config(ptq), "qat": load_config(qat)})
    choice = choose(load_quantization(ptq), load_quantization(qat), task_of(own.interface.task).metric)
    prepared, config, _ = load_quantized(ptq if choice.method == "ptq" else qat)
    quantized = convert(prepared)
    report("export", 1, 3, choice.method)
    model = to_onnx(quantized, config.interface)
    preflight(model, out / MODEL)
    report("export", 2, 3, "parity")
    with publishing_directory(out) as staging:
        save_onnx(model, staging / MODEL)
        parity = _write_reference(staging, quantized, dataset, config.interface)
        md5, size = md5_of(staging / MODEL), (staging / MODEL).stat().st_size
        write_json(staging / CARD, _card(model, md5, config, choice))
        write_json(staging / PARITY, _parity(parity))
    report("export", 3, 3)
    return ExportSummary(choice, md5, size, _operators(model), parity.differing_share)


def export_float(checkpoint: Path, path: Path) -> None:
    """Export the float checkpoint with the same input and outputs, for comparison with an engine."""
    from robot_assets.tasks.checkpoint import load_network

    network, config = load_network(checkpoint)
    save_onnx(to_onnx(network, config.interface), path)


def to_onnx(module: nn.Module, interface: Interface, modules: dict[str, str] | None = None) -> ModelProto:
    """Convert ``module`` (images float32 (1, 3, H, W) -> heads) to ONNX; the same module gives the same bytes.

    Args:
        module: The network.
        interface: Names of its input and heads.
        modules: Gets the path of the module of each node, by the name of the node, where given.

    Raises:
        ExportError: The exporter returned no model, or an operator has no equivalent in ONNX.
    """
    import torch

    images = torch.zeros(interface.input.shape)
    with warnings.catch_warnings(), torch.no_grad(), _quiet_exporter():
        warnings.simplefilter("ignore")
        try:
            program = torch.onnx.export(
                module,
                (images,),
                dynamo=True,
                external_data=False,
                opset_version=EXPORTED,
                input_names=[interface.input.name],
                output_names=list(interface.head_names),
                verbose=False,
            )
        except torch.onnx.errors.OnnxExporterError as error:
            raise not_convertible(error) from error
    if program is None:
        raise ExportError("torch.onnx.export returned no program", needed="an ONNX program", fix="make setup")
    model: ModelProto = program.model_proto
    if modules is not None:
        modules.update(modules_of(model))
    lower_opset(model)
    _normalize(model, interface.task)
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


def _normalize(model: ModelProto, name: str) -> None:
    """Remove what depends on the machine and the exporter: paths in metadata, versions, inferred types."""
    model.ir_version = IR_VERSION
    model.producer_name, model.producer_version, model.doc_string = "robot-assets", "", ""
    graph = model.graph
    graph.doc_string = ""
    graph.name = name
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


def _write_reference(staging: Path, quantized: nn.Module, dataset: Path, interface: Interface) -> Parity:
    """Record torch's heads on a few images of val; return how ONNX Runtime's differ from them."""
    import numpy as np
    import torch
    from safetensors.numpy import save_file

    from robot_assets.data.packed import open_split

    val = open_split(dataset, "val")
    indices = reference_indices(len(val))
    infer = runner(plain_session(staging / MODEL), interface)
    pairs = []
    for index in indices:
        images = read_input(val, index, interface.input)
        with torch.no_grad():
            heads = [head.numpy() for head in quantized(torch.from_numpy(images))]
        pairs.append((infer(images), heads))
    tensors = {
        name: np.concatenate([heads[position] for _, heads in pairs])
        for position, name in enumerate(interface.head_names)
    }
    tensors["indices"] = np.array(indices, np.int64)
    save_file(tensors, str(staging / REFERENCE))
    return parity_of(pairs, interface.heads)


def _card(model: ModelProto, md5: str, config: CheckpointConfig, choice: Choice) -> dict[str, Any]:
    return {
        "interface": config.interface.model_dump(mode="json"),
        "inputs": {value.name: _shape(value) for value in model.graph.input},
        "outputs": {value.name: _shape(value) for value in model.graph.output},
        "choice": choice.as_json(),
        "md5": md5,
        "nodes": _operators(model),
        "opset": OPSET,
        "ir_version": IR_VERSION,
    }


def _parity(found: Parity) -> dict[str, Any]:
    return {
        **found.as_json(),
        "differing_share_max": DIFFERING_SHARE_MAX,
        "moved_points_max": DROP_POINTS_MAX,
        "compared_with": "ONNX Runtime, graph optimizations off",
    }


def _shape(value: Any) -> list[int]:
    return [dimension.dim_value for dimension in value.type.tensor_type.shape.dim]


def _operators(model: ModelProto) -> dict[str, int]:
    names = [node.op_type for node in model.graph.node]
    return {name: names.count(name) for name in sorted(set(names))}
