"""Parameters of a small project with one stage of every kind, and its stages and gates with their code."""

from __future__ import annotations

from functools import cache

from robot_assets.lineage.graph import Gate, Stage
from robot_assets.pipeline.graph import build_graph
from robot_assets.pipeline.params import parse_params

_GATE = {"accuracy_drop_points_max": 100, "latency_ms_p95_max": 60_000}
_PROFILE = {"models": {"detector": {"rate_hz": 10, "sensors": 1}}, "duration_s": 2}
PARAMS = {
    "store": {"url": "store"},
    "datasets": {
        "street": {
            "source": {"kind": "simulation", "images": 36, "sessions": 12, "width": 128, "height": 96, "seed": 7},
            "classes": ["pedestrian", "cyclist", "car", "robot", "cone", "bin"],
            "split": {"train": 0.5, "val": 0.25, "test": 0.25},
            "calibration_images": 8,
        }
    },
    "models": {
        "detector": {
            "task": "detection",
            "dataset": "street",
            "targets": ["cpu", "orin"],
            "network": {"input_height": 64, "input_width": 96, "width": 8, "depth": 1},
            "training": {"epochs": 2, "batch_size": 4, "learning_rate": 0.004, "evaluate_every": 1, "threads": 1},
            "quantization": {
                "ptq": {},
                "qat": {"epochs": 1, "learning_rate": 1e-4},
                "sensitivity": {"images": 8, "drop_points_max": 100.0},
                "mixed_precision": True,
            },
        }
    },
    "targets": {
        "cpu": {"kind": "onnxruntime", "threads": 1, "gate": _GATE, "profile": _PROFILE},
        "orin": {"kind": "tensorrt", "batch": {"max": 2}, "gate": _GATE, "profile": _PROFILE},
    },
}


@cache
def graph() -> dict[str, Stage]:
    """Every stage of the project, inputs first."""
    return build_graph(parse_params(PARAMS))


@cache
def code_of_all() -> dict[str, Stage | Gate]:
    """Everything with a code version: stages by asset, without the model's name; gates as ``asset:gate``."""
    found: dict[str, Stage | Gate] = {}
    for stage in graph().values():
        name = stage.asset.removeprefix("detector/")
        if not stage.is_observed:
            found[name] = stage
        found |= {f"{name}:{gate.name}": gate for gate in stage.gates}
    return found
