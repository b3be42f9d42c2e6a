"""The task ``detection``: boxes of objects."""

from __future__ import annotations

from robot_assets.core.spec import Spec
from robot_assets.tasks.detection.decoders.registry import DECODERS
from robot_assets.tasks.detection.heads import GridOptions, grid_heads
from robot_assets.tasks.detection.spec import NetworkSpec
from robot_assets.tasks.metrics import Metric
from robot_assets.tasks.task import Decoder, Task

METRIC = Metric(key="map50", name="mAP@50", class_key="ap50", class_name="AP50", others={"map50_95": "mAP@50-95"})


class DetectionLossSpec(Spec):
    """``models.M.loss`` of a detector: it has no parameters."""


TASK = Task(
    name="detection",
    title="object detection",
    metric=METRIC,
    labels="robot_assets.tasks.detection.labels:BOXES",
    scorer="robot_assets.tasks.detection.scorer:DetectionScorer",
    decoders=(
        Decoder(
            name="grid", options=GridOptions, heads=grid_heads, run="robot_assets.tasks.detection.decode:decode_grid"
        ),
        *DECODERS,
    ),
    training="robot_assets.tasks.detection.training:DetectionLearning",
    loss=DetectionLossSpec,
    compact_spec=NetworkSpec,
    compact="robot_assets.tasks.detection.network:build_compact",
    drawing="robot_assets.tasks.detection.drawing",
)
