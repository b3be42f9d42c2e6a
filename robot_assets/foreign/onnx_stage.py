"""Makes the artifact ``MODEL/onnx`` of a graph that was trained elsewhere (``robot_assets.foreign.artifact``)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from robot_assets.core.digests import md5_of
from robot_assets.core.errors import ExportError
from robot_assets.core.progress import report
from robot_assets.core.publishing import publishing_directory
from robot_assets.export.parity import DIFFERING_SHARE_MAX, Parity, parity_of, reference_indices
from robot_assets.export.preflight import OPSET, graph_problems, quantization_problems
from robot_assets.foreign.artifact import FLOAT, GIVEN, ForeignSummary, Given, Made, write_artifact
from robot_assets.foreign.conversion import Converted, convert
from robot_assets.foreign.errors import refused, without_these
from robot_assets.foreign.interface import interface_of, with_heads
from robot_assets.foreign.placement import place
from robot_assets.foreign.quantize import collect_histograms, float_weights, merged, quantized
from robot_assets.foreign.reading import find_file, read_model
from robot_assets.foreign.running import answers, evaluated, runner
from robot_assets.foreign.spec import ForeignSpec
from robot_assets.quantization.calibration import best_of, scales_of
from robot_assets.tasks.interface import Interface
from robot_assets.tasks.registry import task_of

if TYPE_CHECKING:
    from onnx import ModelProto

    from robot_assets.data.packed import PackedSplit
    from robot_assets.tasks.metrics import Metrics

    Heads = list[NDArray[Any]]


def import_onnx(source: Path, dataset: Path, spec: ForeignSpec, out: Path) -> ForeignSummary:
    """Convert, evaluate and quantize a graph that was trained elsewhere.

    Args:
        source: The file, or a folder with one and its external data.
        dataset: A packed data set: its calibration images, val and test are read.
        spec: Decoder, preprocessing, calibrators.
        out: Directory to publish.

    Raises:
        ExportError: The graph cannot be read, converted or built; or its answers change when it is converted.
        QuantizationError: It cannot be calibrated.
        ParamsError: The decoder or its options are unknown.
    """
    run = _Run(source, dataset, spec)
    given = run.given()
    made = run.as_given() if run.converted.is_quantized else run.quantized()
    report("import", 3, 3)
    with publishing_directory(out) as staging:
        return write_artifact(staging, made, given)


class _Run:
    """One import: the given graph, the converted one, and the data."""

    def __init__(self, source: Path, dataset: Path, spec: ForeignSpec) -> None:
        from robot_assets.data.packed import open_split

        self.source, self.dataset, self.spec = find_file(source, spec.source.artifact), dataset, spec
        self.origin = spec.source.artifact
        self.original = read_model(source, self.origin)
        self.converted: Converted = convert(
            self.original, self.origin, spec.source.input_height, spec.source.input_width
        )
        self.val: PackedSplit = open_split(dataset, "val")
        task = task_of(spec.task)
        self.interface: Interface = interface_of(
            self.converted.model, task, spec.source, spec.input, self.val.classes, self.origin
        )
        self.model, self.unread = with_heads(self.converted.model, self.interface.heads)
        refuse_unbuildable(self.model, self.origin)

    def given(self) -> Given:
        """What was imported, with its answers.

        Raises:
            ExportError: The answers change when the graph is converted.
        """
        report("import", 0, 3, "reference answers")
        infer = runner(self.original, self.interface, is_nhwc=self.converted.is_nhwc)
        original = answers(infer, self.val, self.interface)
        self._refuse_not_finite(original)
        moved = self._moved(original)
        unread = (f"output {name!r} removed: the decoder does not read it" for name in self.unread)
        return Given(
            md5=md5_of(self.source),
            opset={one.domain or "ai.onnx": one.version for one in self.original.opset_import},
            ir_version=self.original.ir_version,
            producer=f"{self.original.producer_name} {self.original.producer_version}".strip(),
            changes=(*self.converted.changes, *unread),
            moved=moved,
            answers=original,
            indices=reference_indices(len(self.val)),
        )

    def as_given(self) -> Made:
        """The Q/DQ graph as it is; its own accuracy is the baseline of engines."""
        return self._made(self.model, "", {GIVEN: self._evaluated("val")})

    def quantized(self) -> Made:
        """The graph after PTQ with the calibrator that is best on val."""
        shaped = _with_shapes(self.model)
        placement = place(shaped, self.spec.float_layers)
        metrics = {FLOAT: self._evaluated("val")}
        histograms = collect_histograms(shaped, placement.tensors, self.dataset, self.interface.input)
        shared = merged(histograms, placement.groups)
        graphs: dict[str, ModelProto] = {}
        for calibrator in self.spec.ptq.calibrators:
            graphs[calibrator] = quantized(shaped, placement, scales_of(calibrator, shared, self.spec.ptq))
            metrics[calibrator] = evaluated(graphs[calibrator], self.val, self.interface)
        best = best_of({name: metrics[name].score for name in graphs})
        refuse_unbuildable(graphs[best], self.origin)
        return self._made(
            graphs[best],
            best,
            metrics,
            weights=float_weights(shaped, placement),
            in_float=placement.in_float,
            quantized_layers=len(placement.weighted),
        )

    def _made(self, model: ModelProto, calibrator: str, val: Mapping[str, Metrics], **more: Any) -> Made:
        found = answers(runner(model, self.interface), self.val, self.interface)
        return Made(model, self.interface, found, calibrator, val, self._evaluated("test"), **more)

    def _evaluated(self, split: str) -> Metrics:
        from robot_assets.data.packed import open_split

        report("import", 1 if split == "val" else 2, 3, split)
        return evaluated(self.model, open_split(self.dataset, split), self.interface)

    def _refuse_not_finite(self, original: list[Heads]) -> None:
        for name, values in zip(self.interface.head_names, zip(*original, strict=True), strict=True):
            if not all(np.isfinite(one).all() for one in values):
                raise ExportError(
                    f"{self.origin}: output {name!r} has values that are not finite on images of val",
                    needed="finite answers of the given file",
                    fix="correct models.M.input in params.yaml: mean, std and channels are those of its training",
                )

    def _moved(self, original: list[Heads]) -> Parity:
        """Compare the converted graph with the given one on the reference images."""
        converted = answers(runner(self.model, self.interface), self.val, self.interface)
        found = parity_of(zip(converted, original, strict=True), self.interface.heads)
        if found.differing_share > DIFFERING_SHARE_MAX:
            raise ExportError(
                f"{self.origin}: {100 * found.differing_share:.2f} % of the values differ after its conversion, the "
                f"largest by {found.largest_in_words}",
                needed=f"the answers of the given file, but for {100 * DIFFERING_SHARE_MAX:g} % of the values",
                fix=f"export the network again with opset_version={OPSET}, so that nothing is converted",
            )
        return found


def refuse_unbuildable(model: ModelProto, origin: str) -> None:
    """Refuse a graph that a TensorRT from 8.6 to 11 would reject.

    Raises:
        ExportError: Names each node.
    """
    if problems := [*graph_problems(model), *quantization_problems(model)]:
        raise refused(
            origin,
            problems,
            needed=f"opset {OPSET}, operators of TensorRT 8.6 to 11, and Q/DQ nodes of symmetric int8, if any",
            fix=without_these(origin),
        )


def _with_shapes(model: ModelProto) -> ModelProto:
    import onnx

    return onnx.shape_inference.infer_shapes(model, data_prop=True)
