"""The task ``segmentation``: a class for every pixel."""

from __future__ import annotations

from robot_assets.tasks.metrics import Metric
from robot_assets.tasks.segmentation.heads import (
    BinaryOptions,
    LabelsOptions,
    MapOptions,
    binary_heads,
    labels_heads,
    map_heads,
)
from robot_assets.tasks.segmentation.spec import CompactSegmenter, SegmentationLossSpec
from robot_assets.tasks.task import Decoder, Task

METRIC = Metric(key="miou", name="mIoU", class_key="iou", class_name="IoU", others={"pixel_accuracy": "pixel accuracy"})

_DECODE = "robot_assets.tasks.segmentation.decode"

TASK = Task(
    name="segmentation",
    title="semantic segmentation",
    metric=METRIC,
    labels="robot_assets.tasks.segmentation.labels:MASKS",
    scorer="robot_assets.tasks.segmentation.scorer:SegmentationScorer",
    decoders=(
        Decoder(name="map", options=MapOptions, heads=map_heads, run=f"{_DECODE}:decode_map"),
        Decoder(name="labels", options=LabelsOptions, heads=labels_heads, run=f"{_DECODE}:decode_labels"),
        Decoder(name="binary", options=BinaryOptions, heads=binary_heads, run=f"{_DECODE}:decode_binary"),
    ),
    training="robot_assets.tasks.segmentation.training:SegmentationLearning",
    loss=SegmentationLossSpec,
    compact_spec=CompactSegmenter,
    compact="robot_assets.tasks.segmentation.network:build_compact",
    drawing="robot_assets.tasks.segmentation.drawing",
)
