"""Runs the smoke test. Needs torch; import it late."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from robot_assets.core.errors import ExportError, TrainingError
from robot_assets.core.text import escaped, listed, plural
from robot_assets.export.onnx_export import save_onnx, to_onnx
from robot_assets.export.parity import DIFFERING_SHARE_MAX, parity_of, plain_session
from robot_assets.export.preflight import graph_problems, quantization_problems
from robot_assets.quantization.graph import (
    activation_quantizers,
    apply_scales,
    convert,
    float_operators,
    prepare,
    quantized_layers,
    set_mode,
)
from robot_assets.quantization.histogram import MagnitudeHistogram, mse_scale
from robot_assets.quantization.naming import module_path
from robot_assets.smoke.batch import SmokeBatch, read_batch
from robot_assets.smoke.locating import first_not_finite, located
from robot_assets.smoke.result import InFloat, SmokeResult, SmokeStep
from robot_assets.tasks.building import build
from robot_assets.tasks.interface import Interface
from robot_assets.tasks.networks import NetworkDefinition

if TYPE_CHECKING:
    from onnx import ModelProto
    from torch.fx import GraphModule


def check(
    definition: NetworkDefinition,
    interface: Interface,
    *,
    dataset: Path | None = None,
    initialize: Callable[[nn.Module], object] | None = None,
    float_layers: Sequence[str] = (),
    seed: int = 0,
    on_step: Callable[[SmokeStep], None] = lambda step: None,
) -> SmokeResult:
    """Do once, with two images, what a build does with a network.

    Args:
        definition: The network, its preprocessing and its loss.
        interface: Its interface for the classes of the data set.
        dataset: A packed data set; None: random images, and the sum of the heads in place of the loss.
        initialize: Changes the initial weights in place, such as to those of ``weights``.
        float_layers: Patterns of module paths that stay in float.
        seed: Of the initial weights.
        on_step: Is called after each step.

    Raises:
        RobotAssetsError: A step has failed; with the layer.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        run = _Run(definition, interface, float_layers, on_step)
        run.build(initialize, seed)
        run.read(dataset)
        run.forward()
        run.backward()
        run.quantize()
        run.export()
        run.compare()
    return run.result()


class _Run:
    """One smoke test. Each step leaves what the next one needs."""

    network: nn.Module
    batch: SmokeBatch
    prepared: GraphModule
    quantized: GraphModule
    model: ModelProto

    def __init__(
        self,
        definition: NetworkDefinition,
        interface: Interface,
        float_layers: Sequence[str],
        on_step: Callable[[SmokeStep], None],
    ) -> None:
        self._definition, self._interface, self._float_layers = definition, interface, tuple(float_layers)
        self._on_step = on_step
        self._steps: list[SmokeStep] = []
        self._found = ""
        self.macs = 0
        self.without_gradient: tuple[str, ...] = ()
        self.layers: tuple[str, ...] = ()
        self.in_float: tuple[InFloat, ...] = ()
        self.share = 0.0

    def build(self, initialize: Callable[[nn.Module], object] | None, seed: int) -> None:
        """Build the network, and load what it starts from."""
        with self._step("build"):
            self.network = build(self._definition.network, self._interface, seed)
            if not self.parameters:
                raise TrainingError(
                    f"{type(self.network).__name__} has no parameters to train",
                    needed="at least one parameter with requires_grad",
                    fix="assign the layers to attributes of the module, in nn.ModuleList where they are in a list",
                )
            loaded = str(initialize(self.network)) if initialize else "random weights"
            self._found = f"{self.parameters:,} parameters, {loaded}"

    @property
    def parameters(self) -> int:
        """Number of trained parameters."""
        return sum(one.numel() for one in self.network.parameters() if one.requires_grad)

    def read(self, dataset: Path | None) -> None:
        """Read two images with their labels, or make random ones."""
        with self._step("images"):
            self.batch = read_batch(self._definition, self._interface, dataset)
            self._found = self.batch.description

    def forward(self) -> None:
        """Call the network in training mode."""
        with self._step("forward"), located(self.network, "forward"):
            network = self.network.train()
            with FlopCounterMode(display=False) as counter, torch.no_grad():
                heads = network(self.batch.images)
            self.macs = counter.get_total_flops() // 2 // len(self.batch.images)
            _refuse_not_finite(network, heads, self.batch.images)
            shapes = [f"{head.name} {tuple(head.shape)}" for head in self._interface.heads]
            self._found = f"{', '.join(shapes)}; {_amount(self.macs)} multiply-accumulates"

    def backward(self) -> None:
        """Compute the loss and its gradients, in training mode."""
        with self._step("backward"), located(self.network, "backward"):
            loss, parts = self.batch.loss(self.network(self.batch.images))
            if not loss.isfinite():
                raise TrainingError(
                    f"backward: the loss is {float(loss):g}",
                    needed="a finite loss for the initial weights",
                    fix="initialize the last layers with smaller weights, or normalize the input: models.M.input",
                )
            loss.backward()  # type: ignore[no-untyped-call]
            named = [(name, leaf) for name, leaf in self.network.named_parameters() if leaf.requires_grad]
            self.without_gradient = tuple(name for name, leaf in named if leaf.grad is None)
            _refuse_gradients([(name, leaf.grad) for name, leaf in named if leaf.grad is not None])
            self._found = parts + self._without_gradient_in_words()
            self.network.zero_grad(set_to_none=True)

    def _without_gradient_in_words(self) -> str:
        count = len(self.without_gradient)
        if not count:
            return ""
        return f"; {plural(count, 'parameter')} without gradient: {escaped(listed(self.without_gradient, 3))}"

    def quantize(self) -> None:
        """Fake-quantize the network with scales of one image, and compute gradients through it."""
        with self._step("quantize"), located(self.network, "quantize"):
            self.prepared = prepare(self.network, self._interface.input, self._float_layers)
            self.layers = quantized_layers(self.prepared)
            self.in_float = tuple(InFloat(one.name, one.operator, one.reason) for one in float_operators(self.prepared))
            _calibrate(self.prepared, self.batch.images[:1])
            loss, _ = self.batch.loss(self.prepared(self.batch.images))
            loss.backward()  # type: ignore[no-untyped-call]
            self._found = f"{plural(len(self.layers), 'int8 layer')}, {plural(len(self.in_float), 'operator')} in float"

    def export(self) -> None:
        """Export the quantized network to ONNX, and check its operators."""
        with self._step("export"), located(self.network, "export"):
            self.quantized = convert(self.prepared)
            modules: dict[str, str] = {}
            try:
                self.model = to_onnx(self.quantized, self._interface, modules)
            except ExportError as error:
                raise _with_layers(error, self.quantized) from error.__cause__
            self._found = f"{plural(len(self.model.graph.node), 'node')}, opset {self.model.opset_import[0].version}"
        with self._step("operators"):
            _refuse_operators(self.model, modules)
            operators = {node.op_type for node in self.model.graph.node}
            self._found = (
                f"{plural(len(self.model.graph.node), 'node')}, {plural(len(operators), 'operator')}, all supported"
            )

    def compare(self) -> None:
        """Compare the heads of ONNX Runtime, without graph optimizations, with those of torch."""
        with self._step("compare"), tempfile.TemporaryDirectory() as folder, torch.no_grad():
            path = Path(folder, "model.onnx")
            save_onnx(self.model, path)
            image = self.batch.images[:1].contiguous()
            ours = [head.numpy() for head in self.quantized(image)]
            theirs = plain_session(path).run(None, {self._interface.input.name: image.numpy()})
            pair = (ours, [np.asarray(one) for one in theirs])
            self.share = parity_of([pair], self._interface.heads).differing_share
            if self.share > DIFFERING_SHARE_MAX:
                raise ExportError(
                    f"compare: {100 * self.share:.2g} % of the head values differ between torch and ONNX Runtime",
                    needed=f"at most {100 * DIFFERING_SHARE_MAX:g} %",
                    fix="leave one module after the other in float by quantization.float_layers, until they agree",
                )
            self._found = f"{100 * self.share:.2g} % of the head values differ from torch"

    def result(self) -> SmokeResult:
        """What all steps found."""
        return SmokeResult(
            steps=tuple(self._steps),
            heads={head.name: head.shape for head in self._interface.heads},
            parameters=self.parameters,
            macs=self.macs,
            quantized=self.layers,
            in_float=self.in_float,
            without_gradient=self.without_gradient,
            differing_share=self.share,
        )

    @contextmanager
    def _step(self, name: str) -> Iterator[None]:
        began = time.perf_counter()
        self._found = ""
        yield
        step = SmokeStep(name, time.perf_counter() - began, self._found)
        self._steps.append(step)
        self._on_step(step)


def _calibrate(prepared: GraphModule, images: Tensor) -> None:
    set_mode(prepared, "observe")
    with torch.no_grad():
        prepared(images)
    quantizers = activation_quantizers(prepared)
    apply_scales(prepared, {name: mse_scale(one.histogram or MagnitudeHistogram()) for name, one in quantizers.items()})
    set_mode(prepared, "quantize")


def _refuse_not_finite(network: nn.Module, heads: Sequence[Tensor], images: Tensor) -> None:
    if all(head.isfinite().all() for head in heads):
        return
    path = first_not_finite(network, images)
    raise TrainingError(
        f"forward{f', layer {path}' if path else ''}: values that are not finite",
        needed="finite heads for the initial weights",
        fix="initialize the layer with smaller weights, or add a small number to what it divides by",
    )


def _refuse_gradients(gradients: Sequence[tuple[str, Tensor]]) -> None:
    bad = [name for name, gradient in gradients if not gradient.isfinite().all()]
    if bad:
        raise TrainingError(
            f"backward: {plural(len(bad), 'parameter has', 'parameters have')} a gradient that is not finite: "
            f"{escaped(listed(bad, 4))}",
            needed="finite gradients for the initial weights",
            fix="look for a division by 0, or a square root or logarithm of 0, in the last of these layers",
        )


def _refuse_operators(model: ModelProto, modules: dict[str, str]) -> None:
    problems = [_with_module(one, modules) for one in (*graph_problems(model), *quantization_problems(model))]
    if problems:
        lines = "\n    ".join(problems[:8] + ([f"and {len(problems) - 8} more"] if len(problems) > 8 else []))
        raise ExportError(
            f"operators: {plural(len(problems), 'problem')} for TensorRT:\n    {escaped(lines)}",
            needed="operators that every TensorRT from 8.6 supports",
            fix="replace the operation in that layer; robot_assets/export/preflight.py has those that are allowed",
        )


def _with_layers(error: ExportError, graph: GraphModule) -> ExportError:
    """The same error with the layers whose operators cannot be exported."""
    given: Any = (error.details or {}).get("operators", ())
    operators = {str(one).partition(".")[2].replace("_", "") for one in given}
    calls = [node for node in graph.graph.nodes if node.op == "call_function"]
    found = [module_path(node) for node in calls if str(node.target).split(".")[-2:][0].replace("_", "") in operators]
    if not (layers := [path for path in dict.fromkeys(found) if path]):
        return error
    what = f"layer {layers[0]}" if len(layers) == 1 else f"layers {listed(layers, 4)}"
    return ExportError(f"{what}: {error.found}", needed=error.needed, fix=error.fix, details=error.details)


def _with_module(problem: str, modules: dict[str, str]) -> str:
    """A problem of the preflight with the module of its node."""
    name = problem.removeprefix("node '").partition("'")[0]
    path = modules.get(name)
    return f"layer {path}, {problem}" if path else problem


def _amount(count: int) -> str:
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return str(count)
