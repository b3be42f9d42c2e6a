"""Converts a network to a folded, a prepared and a quantized graph. Needs torch; import it late.

- *folded*: the exported ATen graph with batch norms folded into the convolutions;
- *prepared*: the folded graph with a quantizer on every quantized edge, for calibration or training;
- *quantized*: the folded graph with quantize/dequantize pairs and int8 weights, which exports to ONNX Q/DQ nodes.

The network's spec, the layers that stay in float, the folded weights and the activation scales determine a quantized
graph. Only they are saved: no pickle.
"""

from __future__ import annotations

import sysconfig
import traceback
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn
from torch.fx import GraphModule, Node

from robot_assets.core.errors import QuantizationError, RobotAssetsError
from robot_assets.core.text import escaped
from robot_assets.quantization.fake_quantize import ActivationQuantizer, Mode, Quantizers
from robot_assets.quantization.folding import fold_batch_norms
from robot_assets.quantization.quantizer import FloatOperator, SymmetricQuantizer
from robot_assets.tasks.interface import Input

_LAYERS, _IN_FLOAT = "robot_assets.layers", "robot_assets.in_float"
"""Keys of ``meta`` of a prepared graph."""

_DROPOUT = (
    torch.ops.aten.dropout.default,
    torch.ops.aten.feature_dropout.default,
    torch.ops.aten.alpha_dropout.default,
)
_LIBRARIES = (Path(torch.__file__).parent, Path(sysconfig.get_paths()["stdlib"]))
_NETWORK_CHANGED = "rebuild the quantized model (ptq or qat): the network has changed since it was quantized"


def prepare(network: nn.Module, input: Input, float_layers: Sequence[str] = ()) -> GraphModule:
    """Export ``network`` in eval mode, fold its batch norms and insert a quantizer on every quantized edge.

    The result maps float32 images (N, 3, H, W) of any N to the raw heads. It behaves alike in train and eval mode, and
    its quantizers start transparent.

    Args:
        network: Any network.
        input: Its input.
        float_layers: Patterns of module paths that stay in float, such as ``heads.*``.

    Raises:
        QuantizationError: The network cannot be exported, or a pattern matches no layer.
    """
    from torchao.quantization.pt2e.quantize_pt2e import prepare_pt2e

    captured = capture(network, input)
    fold_batch_norms(captured)
    _drop_dropout(captured)
    quantizer = SymmetricQuantizer(float_layers)
    with _quiet():
        prepared: GraphModule = prepare_pt2e(captured, quantizer)
    prepared.meta.update({_LAYERS: quantizer.layers, _IN_FLOAT: quantizer.in_float})
    prepared.delete_all_unused_submodules()
    _drop_unused_tensors(prepared)
    _allow_train_and_eval(prepared)
    set_mode(prepared, "transparent")
    return prepared


def capture(network: nn.Module, input: Input) -> GraphModule:
    """The ATen graph of ``network`` in eval mode, for batches of any size.

    Raises:
        QuantizationError: The network cannot be exported; with the line of its code.
    """
    # Two images: torch.export would specialize a batch of one.
    images = torch.zeros(2, 3, input.height, input.width)
    batch = torch.export.Dim("batch", min=1, max=4096)
    try:
        with _quiet():
            program = torch.export.export(network.eval(), (images,), dynamic_shapes=({0: batch},))
            captured: GraphModule = program.module()
    except RobotAssetsError:
        raise
    except Exception as error:  # torch.export raises whatever the network or its own tracer raises
        raise _not_exportable(error, network) from error
    return captured


def quantized_layers(prepared: GraphModule) -> tuple[str, ...]:
    """Names of the quantized layers of a prepared graph, in execution order."""
    return tuple(prepared.meta[_LAYERS])


def float_operators(prepared: GraphModule) -> tuple[FloatOperator, ...]:
    """Operators of a prepared graph that stay in float, each with the reason; without activations, which are fused."""
    return tuple(prepared.meta[_IN_FLOAT])


def convert(prepared: GraphModule) -> GraphModule:
    """Convert a calibrated prepared graph, which must not be used afterwards. Takes images (N, 3, H, W)."""
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e

    set_mode(prepared, "transparent")
    prepared.to("cpu")
    height, width = _input_size(prepared)
    with _quiet():
        prepared(torch.zeros(1, 3, height, width))  # Calls every weight quantizer with its weights.
        quantized: GraphModule = convert_pt2e(prepared)
    _allow_train_and_eval(quantized)
    return quantized


def set_mode(prepared: GraphModule, mode: Mode) -> None:
    """Set the mode of every quantizer of ``prepared``."""
    for module in prepared.modules():
        if isinstance(module, Quantizers):
            module.mode = mode


def activation_quantizers(prepared: GraphModule) -> dict[str, ActivationQuantizer]:
    """Quantizers by the name of the tensor they quantize; a shared one has the name of its first tensor."""
    named: dict[str, ActivationQuantizer] = {}
    seen: set[int] = set()
    for node in prepared.graph.nodes:
        if node.op != "call_module":
            continue
        module = prepared.get_submodule(str(node.target))
        if isinstance(module, ActivationQuantizer) and id(module) not in seen:
            seen.add(id(module))
            source = node.args[0]
            named[source.name if isinstance(source, Node) else str(node.name)] = module
    return named


def apply_scales(prepared: GraphModule, scales: Mapping[str, float]) -> None:
    """Set the scale of every activation quantizer.

    Raises:
        QuantizationError: A scale is missing, unknown, or not a finite number above 0.
    """
    quantizers = activation_quantizers(prepared)
    if set(scales) != set(quantizers):
        missing, unknown = sorted(set(quantizers) - set(scales)), sorted(set(scales) - set(quantizers))
        raise QuantizationError(
            f"activation scales that do not match the network: missing {missing[:4]}, unknown {unknown[:4]}",
            needed=f"one scale for each of its {len(quantizers)} quantized tensors",
            fix=_NETWORK_CHANGED,
        )
    for name, scale in scales.items():
        if not 0 < scale < float("inf"):
            raise QuantizationError(
                f"scale {scale!r} of tensor {name!r}",
                needed="a finite scale above 0",
                fix="rebuild the quantized model (ptq or qat)",
            )
        quantizers[name].scale = float(scale)


def folded_weights(prepared: GraphModule) -> dict[str, torch.Tensor]:
    """Copies of the weights and biases of the folded convolutions, contiguous on the CPU, by name in the graph."""
    return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in _tensors(prepared)}


def load_folded_weights(prepared: GraphModule, weights: Mapping[str, torch.Tensor]) -> None:
    """Overwrite the folded weights in place.

    Raises:
        QuantizationError: Names the tensor that is missing, unknown or of another shape.
    """
    own = dict(_tensors(prepared))
    if set(own) != set(weights):
        missing, unknown = sorted(set(own) - set(weights)), sorted(set(weights) - set(own))
        raise QuantizationError(
            f"weights that do not match the network: missing {missing[:4]}, unknown {unknown[:4]}",
            needed=f"its {len(own)} folded tensors",
            fix=_NETWORK_CHANGED,
        )
    with torch.no_grad():
        for name, tensor in own.items():
            if tensor.shape != weights[name].shape:
                raise QuantizationError(
                    f"{name}: shape {tuple(weights[name].shape)} in the file",
                    needed=f"shape {tuple(tensor.shape)}",
                    fix=_NETWORK_CHANGED,
                )
            tensor.copy_(weights[name])


def _tensors(prepared: GraphModule) -> Iterator[tuple[str, torch.Tensor]]:
    switches = ("fake_quant_enabled", "observer_enabled")
    for name, tensor in sorted(prepared.state_dict(keep_vars=True).items()):
        if not name.endswith(switches):
            yield name, tensor


def _drop_dropout(model: GraphModule) -> None:
    """Remove dropout, which does nothing in eval mode; QAT trains without it as well."""
    for node in list(model.graph.nodes):
        if node.op == "call_function" and node.target in _DROPOUT:
            node.replace_all_uses_with(node.args[0])
            model.graph.erase_node(node)
    model.recompile()


@contextmanager
def _quiet() -> Iterator[None]:
    """Without gradients, and without the warnings of torch about its own classes."""
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        yield


def _not_exportable(error: Exception, network: nn.Module) -> QuantizationError:
    text = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return QuantizationError(
        f"{type(network).__name__} cannot be captured as a graph: {type(error).__name__}: {escaped(text[:300])}"
        + (f" ({line})" if (line := line_of_network(error)) else ""),
        needed="a forward whose operators are the same for every image, and for a batch of any size",
        fix="write it without if, while and .item() on values of tensors, and take the batch size from x.shape[0]",
    )


def line_of_network(error: BaseException) -> str:
    """The innermost line of code outside of torch, the standard library and this package that an error passed."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if _is_of_network(Path(frame.filename)):
            return f"{frame.filename}, line {frame.lineno}"
    return ""


def _is_of_network(path: Path) -> bool:
    libraries = (Path(__file__).parents[1], Path(torch.__file__).parent)
    if not path.is_file() or any(path.is_relative_to(folder) for folder in libraries):
        return False
    return "site-packages" in path.parts or not path.is_relative_to(sysconfig.get_paths()["stdlib"])


def _drop_unused_tensors(module: GraphModule) -> None:
    """Remove tensors that no node reads, such as those of folded batch norms."""
    used = {str(node.target) for node in module.graph.nodes if node.op == "get_attr"}
    for name, _ in list(_tensors(module)):
        if name in used:
            continue
        owner, _, leaf = name.rpartition(".")
        delattr(module.get_submodule(owner), leaf)


def _allow_train_and_eval(module: GraphModule) -> None:
    """Allow ``train()`` and ``eval()``: torchao forbids both because of layers that these graphs do not have."""
    for name in ("train", "eval"):
        vars(module).pop(name, None)


def _input_size(module: GraphModule) -> tuple[int, int]:
    for node in module.graph.nodes:
        if node.op == "placeholder":
            shape = node.meta["val"].shape
            return int(shape[2]), int(shape[3])
    raise QuantizationError("a graph without an input", needed="one input of images", fix=_NETWORK_CHANGED)
