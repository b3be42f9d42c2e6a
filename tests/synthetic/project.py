"""A project of any size: every model has its own data set and one engine for each target."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from robot_assets.pipeline.project import Project

CLASSES = ["pedestrian", "cyclist", "car", "robot", "cone", "bin"]


def new_project(root: Path, models: int, targets: int) -> Project:
    """Write ``params.yaml``: ``models`` x (2 data + 4 model assets + ``targets`` engines) + ``targets`` platforms.

    Raw data is recorded, that is observed; nothing is simulated.
    """
    names = [f"target_{number:02d}" for number in range(targets)]
    document = {
        "store": {"url": ".robot_assets/store"},
        "datasets": {f"yard_{number:04d}": _dataset(number) for number in range(models)},
        "models": {f"detector_{number:04d}": _model(number, names) for number in range(models)},
        "targets": {name: _target() for name in names},
    }
    root.mkdir(parents=True)
    (root / "params.yaml").write_text(yaml.dump(document, Dumper=_NoAliases, sort_keys=False))
    return Project(root)


def _dataset(number: int) -> dict[str, Any]:
    return {
        "source": {"kind": "dvc", "pointer": f"data/raw/yard_{number:04d}.dvc"},
        "classes": CLASSES,
        "split": {"train": 0.7, "val": 0.15, "test": 0.15, "seed": number},
        "calibration_images": 128,
    }


def _model(number: int, targets: list[str]) -> dict[str, Any]:
    return {
        "task": "detection",
        "dataset": f"yard_{number:04d}",
        "targets": targets,
        "network": {"input_height": 192, "input_width": 256, "width": 24, "depth": 1},
        "training": {"epochs": 16, "batch_size": 8, "learning_rate": 0.004, "evaluate_every": 4, "seed": number},
        "quantization": {
            "ptq": {"calibrators": ["mse", "percentile"]},
            "qat": {"epochs": 2, "learning_rate": 0.0001},
        },
    }


def _target() -> dict[str, Any]:
    return {
        "kind": "onnxruntime",
        "threads": 1,
        "gate": {"accuracy_drop_points_max": 1.0, "latency_ms_p95_max": 40},
    }


class _NoAliases(yaml.SafeDumper):
    """Writes repeated lists in full instead of as YAML aliases."""

    def ignore_aliases(self, data: object) -> bool:
        return True
