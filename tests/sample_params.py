"""params.yaml of a small project for tests of rules: they hold for any project, and not for the one that is shipped."""

from copy import deepcopy
from typing import Any

_MODEL = {
    "task": "detection",
    "targets": ["cpu"],
    "training": {"epochs": 16, "batch_size": 8, "learning_rate": 0.004, "evaluate_every": 4},
    "quantization": {
        "ptq": {"calibrators": ["mse", "percentile"]},
        "qat": {"epochs": 2, "learning_rate": 0.0001},
    },
}
_SPLIT = {"train": 0.7, "val": 0.15, "test": 0.15, "seed": 0}
_DOCUMENT = {
    "store": {"url": ".robot_assets/store"},
    "datasets": {
        "sidewalk": {
            "source": {"kind": "simulation", "images": 1200, "sessions": 24, "width": 320, "height": 240, "seed": 7},
            "classes": ["pedestrian", "cyclist", "car", "robot", "cone", "bin"],
            "split": _SPLIT,
            "calibration_images": 64,
        },
        "robocup": {
            "source": {"kind": "dvc", "pointer": "data/raw/robocup.dvc"},
            "classes": ["ball", "obstacle", "human", "parking", "goal post"],
            "split": _SPLIT,
            "calibration_images": 128,
        },
    },
    "models": {
        "sidewalk_detector": {
            **_MODEL,
            "dataset": "sidewalk",
            "network": {"input_height": 192, "input_width": 256, "width": 24, "depth": 1},
        },
        "robocup_detector": {
            **_MODEL,
            "dataset": "robocup",
            "network": {"input_height": 400, "input_width": 304, "width": 32, "depth": 1},
        },
    },
    "targets": {
        "cpu": {
            "kind": "onnxruntime",
            "threads": 1,
            "gate": {
                "accuracy_drop_points_max": 1.0,
                "parity_differing_share_max": 0.02,
                "latency_ms_p95_max": 40,
            },
            "profile": {"models": {"sidewalk_detector": {"rate_hz": 15, "sensors": 2}}},
        }
    },
    "rebuild": {"policy": {"checkpoint": "manual", "qat": "manual"}},
    "execution": {"kind": "local"},
}


def sample_document() -> dict[str, Any]:
    """A copy for one test: two data sets, two models, one target with a profile."""
    return deepcopy(_DOCUMENT)
