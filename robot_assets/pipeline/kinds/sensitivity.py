"""``<model>/sensitivity``: what each layer loses when it is quantized, and the ONNX that leaves the worst in float."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

from robot_assets.core.page import Facts, Page, Picture
from robot_assets.lineage.graph import AssetTraits, Stage
from robot_assets.pipeline import names
from robot_assets.pipeline.kind import Production, StageKind, entry
from robot_assets.sensitivity.summary import headline
from robot_assets.tasks.registry import task_of

if TYPE_CHECKING:
    from robot_assets.pipeline.kind import Step
    from robot_assets.pipeline.params import Params
    from robot_assets.sensitivity.analysis import Sensitivity


def stages(params: Params) -> Iterator[Stage]:
    """One for each model that asks for it. The float weights of an imported graph are in its ONNX artifact."""
    for name, model in params.models.items():
        spec = params.sensitivity_of(name)
        if spec is None:
            continue
        quantized = () if model.is_imported else (names.ptq(name), names.qat(name))
        yield Stage(
            names.sensitivity(name),
            KIND.name,
            (entry(run), *task_of(model.task).scoring_code(model.decoder)),
            {"sensitivity": spec.model_dump(mode="json")},
            (names.onnx(name), *quantized, names.dataset(model.dataset)),
            spec=spec,
        )


def run(step: Step) -> Sensitivity:
    """Quantize each layer alone, then look for the fewest layers in float that hold the bound."""
    from robot_assets.sensitivity.analysis import find_sensitive_layers

    exported, *quantized, dataset = step.inputs.values()
    weights = dict(zip(("ptq", "qat"), quantized, strict=False))
    return find_sensitive_layers(exported, weights, dataset, step.spec, step.output)


def facts(found: Sensitivity) -> Facts:
    """The layers that stay in float."""
    best = found.chosen.best
    return Facts(
        headline(found),
        {
            "float_layers": ", ".join(best.layers) or "none",
            "holds_the_gate": found.chosen.holds,
            "drop_points": best.drop_points,
            "int8_drop_points": found.int8_drop_points,
            "drop_points_max": found.bound,
            "tried": len(found.chosen.trials),
        },
    )


def page(step: Step, found: Sensitivity) -> Page:
    """What the layers lose, beside what leaving them in float costs on this machine."""
    from robot_assets.figures.sensitivity import layer_losses
    from robot_assets.sensitivity.latency import measure_variants

    exported, *_ = step.inputs.values()
    best = found.chosen.best
    timed = measure_variants(exported, best.layers)
    losses = {one.layer.name: one.drop_points for one in found.layers}
    drawn = layer_losses(
        losses,
        errors={one.layer.name: one.output_error for one in found.layers},
        in_float=best.layers,
        latency_added={name: timed.added(name) for name in losses},
        images=found.images,
        measure=found.metric.name,
    )
    return Page(
        (Picture(drawn, "What each layer loses"),),
        {
            "latency_added": round(timed.added_by_chosen, 4),
            "latencies_ms_min": timed.as_json(),
            "layers": json.loads((step.output / "sensitivity.json").read_text())["layers"],
        },
        headline(found, timed.added_by_chosen),
    )


KIND = StageKind(
    name="sensitivity",
    pattern=names.SENSITIVITY,
    group="{model}",
    traits=AssetTraits(role="Sensitivity"),
    stages=stages,
    production=Production(
        description="What each layer loses when it alone is quantized, and the ONNX with the few in float that hold "
        "the gate.",
        policy="auto",
        tools=("onnx",),
        run=run,
        facts=facts,
        page=page,
    ),
)
