"""The metric of a task, and what was measured with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Metric:
    """What a task is judged by. All values are in [0, 1]; differences are given in points, hundredths of it.

    Attributes:
        key: Of the value in artifacts, such as ``map50``.
        name: For people, such as ``mAP@50``.
        class_key: Of the value of one class, such as ``ap50``.
        class_name: For people, such as ``AP50``.
        class_noun: For a row of the table of classes.
        others: Names of the other values of the task by their key, such as ``map50_95``.
    """

    key: str
    name: str
    class_key: str
    class_name: str
    class_noun: str = "class"
    others: Mapping[str, str] = field(default_factory=dict)

    def name_of(self, key: str) -> str:
        """The name of one of the values of the task."""
        return self.name if key == self.key else self.others.get(key, key)


@dataclass(frozen=True)
class Metrics:
    """What was measured on a split, each value in [0, 1].

    Attributes:
        metric: What the task is judged by.
        values: By key: the metric of the task first, then others of the task.
        per_class: The metric of each class by its name; None for a class that is not in the split.
        images: Number of images.
    """

    metric: Metric
    values: Mapping[str, float]
    per_class: Mapping[str, float | None]
    images: int

    @property
    def score(self) -> float:
        """The value that the task is judged by."""
        return self.values[self.metric.key]

    def as_json(self) -> dict[str, Any]:
        """Plain data for an artifact, rounded."""
        return {
            **{key: round(value, 6) for key, value in self.values.items()},
            f"per_class_{self.metric.class_key}": {
                name: None if value is None else round(value, 6) for name, value in self.per_class.items()
            },
            "images": self.images,
        }


def metrics_of(document: Mapping[str, Any], metric: Metric) -> Metrics:
    """The metrics that ``as_json`` wrote.

    Raises:
        KeyError: A value is missing.
        TypeError: A value is not a number.
    """
    per_class = f"per_class_{metric.class_key}"
    values = {key: float(value) for key, value in document.items() if key not in (per_class, "images")}
    _ = values[metric.key]
    return Metrics(metric, values, dict(document[per_class]), int(document["images"]))
