"""COCO mean average precision of anything that maps a batch of images to raw heads. Needs no torch."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from robot_assets.core.progress import report
from robot_assets.runtime.preprocess import letterbox, to_input
from robot_assets.tasks.detection.decode import Detections, decode
from robot_assets.tasks.detection.spec import NetworkSpec

Infer = Callable[[NDArray[np.float32]], Sequence[NDArray[np.floating]]]
"""Images float32 (N, 3, H, W) RGB in [0, 1] -> raw heads in the order of ``output_names``."""


class Split(Protocol):
    """The part of a packed split that evaluation reads."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in order."""
        ...

    @property
    def image_ids(self) -> Sequence[int]:
        """Image ids of the COCO ground truth, in pack order."""
        ...

    def __len__(self) -> int: ...

    def image(self, index: int) -> NDArray[np.uint8]:
        """RGB uint8 (H, W, 3)."""
        ...

    def coco(self) -> dict[str, Any]:
        """COCO ground truth; category id = class index + 1."""
        ...


@dataclass(frozen=True)
class DetectionMetrics:
    """COCO detection metrics, each in [0, 1].

    Attributes:
        map50: Mean over classes of the average precision at IoU 0.5.
        map50_95: Mean over classes and IoU 0.50:0.05:0.95, the COCO metric.
        per_class_ap50: Average precision at IoU 0.5 by class name; None for a class without objects in the split.
        images: Number of images.
    """

    map50: float
    map50_95: float
    per_class_ap50: dict[str, float | None]
    images: int

    def as_json(self) -> dict[str, Any]:
        """Plain data for an artifact, rounded."""
        return {
            "map50": round(self.map50, 6),
            "map50_95": round(self.map50_95, 6),
            "per_class_ap50": {
                name: None if value is None else round(value, 6) for name, value in self.per_class_ap50.items()
            },
            "images": self.images,
        }


def evaluate(infer: Infer, split: Split, network: NetworkSpec, batch_size: int = 1) -> DetectionMetrics:
    """Run ``infer`` on all images of ``split`` and score its detections.

    Args:
        infer: Images float32 (N, 3, H, W) RGB in [0, 1] -> raw heads.
        split: A packed split.
        network: Defines the input size and the heads.
        batch_size: Images per call of ``infer``; the last call gets the remainder. 1 for engines of a fixed batch.
    """
    found: list[Detections] = []
    for start in range(0, len(split), batch_size):
        boxed = [
            letterbox(split.image(index), network.input_height, network.input_width)
            for index in range(start, min(start + batch_size, len(split)))
        ]
        heads = infer(to_input([item.image for item in boxed]))
        found += [detections.in_image(item) for detections, item in zip(decode(heads, network), boxed, strict=True)]
        report("evaluate", len(found), len(split))
    return score(found, split.coco(), split.image_ids, split.classes)


def score(
    found: Sequence[Detections], truth: dict[str, Any], image_ids: Sequence[int], classes: Sequence[str]
) -> DetectionMetrics:
    """COCO metrics of detections in pixels of the original images.

    Args:
        found: One per image, in the order of ``image_ids``.
        truth: COCO ground truth; category id = class index + 1.
        image_ids: Image ids of ``truth``.
        classes: Class names.
    """
    present = {annotation["category_id"] for annotation in truth["annotations"]}
    rows = _result_rows(found, image_ids)
    if len(rows) == 0 or not present:
        per_class = {name: 0.0 if index + 1 in present else None for index, name in enumerate(classes)}
        return DetectionMetrics(0.0, 0.0, per_class, len(image_ids))
    precision = _precision(truth, rows)  # (IoU, recall, class)
    per_class = {
        name: float(precision[0, :, index].mean()) if index + 1 in present else None
        for index, name in enumerate(classes)
    }
    scored = [index for index in range(len(classes)) if index + 1 in present]
    return DetectionMetrics(
        map50=float(precision[0][:, scored].mean()),
        map50_95=float(precision[:, :, scored].mean()),
        per_class_ap50=per_class,
        images=len(image_ids),
    )


def _result_rows(found: Sequence[Detections], image_ids: Iterable[int]) -> NDArray[np.float64]:
    """Rows of (image id, x, y, w, h, score, category id), the array form of COCO results."""
    rows = []
    for image_id, one in zip(image_ids, found, strict=True):
        boxes = one.boxes.astype(np.float64)
        rows.append(
            np.column_stack(
                [
                    np.full(len(boxes), image_id),
                    boxes[:, :2],
                    boxes[:, 2:] - boxes[:, :2],
                    one.scores.astype(np.float64),
                    one.labels + 1,
                ]
            )
        )
    return np.concatenate(rows) if rows else np.zeros((0, 7))


def _precision(truth: dict[str, Any], rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Precision (IoU 0.50:0.05:0.95, 101 recalls, classes) over all areas, 100 detections per image."""
    from faster_coco_eval import COCO, COCOeval_faster

    with contextlib.redirect_stdout(io.StringIO()):
        ground = COCO(truth)
        results = ground.loadRes(rows)
        evaluation = COCOeval_faster(ground, results, "bbox")
        evaluation.params.catIds = sorted(category["id"] for category in truth["categories"])
        evaluation.evaluate()
        evaluation.accumulate()
    precision: NDArray[np.float64] = np.asarray(evaluation.eval["precision"])[:, :, :, 0, -1]
    return np.clip(precision, 0, None)
