"""Parameters of a small project with every kind of stage and of model, and its stages and gates with their code."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from robot_assets.data.spec import SIMULATED_MASK_CLASSES
from robot_assets.lineage.graph import Gate, Stage
from robot_assets.pipeline.graph import build_graph
from robot_assets.pipeline.params import parse_params

_GATE = {"accuracy_drop_points_max": 100, "latency_ms_p95_max": 60_000}
_PROFILE = {"models": {"detector": {"rate_hz": 10, "sensors": 1}}, "duration_s": 2}
_TRAINING = {"epochs": 1, "batch_size": 4, "learning_rate": 0.004, "evaluate_every": 1, "threads": 1}
_SPLIT = {"train": 0.5, "val": 0.25, "test": 0.25}
_SIMULATION = {"kind": "simulation", "images": 36, "sessions": 12, "width": 128, "height": 96, "seed": 7}
PARAMS: dict[str, Any] = {
    "store": {"url": "store"},
    "datasets": {
        "street": {
            "source": _SIMULATION,
            "classes": ["pedestrian", "cyclist", "car", "robot", "cone", "bin"],
            "split": _SPLIT,
            "calibration_images": 8,
        },
        "ground": {
            "task": "segmentation",
            "source": {**_SIMULATION, "labels": "masks"},
            "classes": list(SIMULATED_MASK_CLASSES),
            "split": _SPLIT,
            "calibration_images": 8,
        },
    },
    "weights": {"backbone": {"pointer": "backbone.dvc", "licence": "MIT", "source": "a test"}},
    "models": {
        "detector": {
            "task": "detection",
            "dataset": "street",
            "targets": ["cpu", "orin"],
            "network": {"input_height": 64, "input_width": 96, "width": 8, "depth": 1},
            "training": {**_TRAINING, "epochs": 2},
            "quantization": {
                "ptq": {},
                "qat": {"epochs": 1, "learning_rate": 1e-4},
                "sensitivity": {"images": 8, "drop_points_max": 100.0},
                "mixed_precision": True,
            },
        },
        "segmenter": {
            "task": "segmentation",
            "dataset": "ground",
            "targets": ["cpu"],
            "network": {"input_height": 64, "input_width": 96, "width": 8, "weights": "backbone"},
            "loss": {"lovasz": 0.5, "dice": 0.5},
            "training": _TRAINING,
            "quantization": {
                "ptq": {},
                "qat": {"epochs": 1, "learning_rate": 1e-4},
                "sensitivity": {"images": 8, "drop_points_max": 100.0},
            },
        },
        "bought": {
            "task": "detection",
            "dataset": "street",
            "targets": ["cpu"],
            "source": {"kind": "onnx", "pointer": "bought.dvc", "decoder": "yolov8"},
            "quantization": {"sensitivity": {"images": 8, "drop_points_max": 100.0}},
        },
    },
    "targets": {
        "cpu": {"kind": "onnxruntime", "threads": 1, "gate": _GATE, "profile": _PROFILE},
        "orin": {"kind": "tensorrt", "batch": {"max": 2}, "gate": _GATE, "profile": _PROFILE},
    },
}


OWN_NETWORK = {
    "task": "detection",
    "dataset": "street",
    "targets": ["cpu"],
    "network": {
        "kind": "acme_nets.pico:Pico",
        "arguments": {"classes": 6},
        "input_height": 64,
        "input_width": 96,
        "heads": {"strides": [8]},
    },
    "training": _TRAINING,
    "quantization": {"ptq": {}, "qat": {"epochs": 1, "learning_rate": 1e-4}},
}
"""A model with the network of ``tests/own_networks.py``."""


@cache
def graph() -> dict[str, Stage]:
    """Every stage of the project, inputs first."""
    return build_graph(parse_params(PARAMS))


def graph_with_own_network() -> dict[str, Stage]:
    """The same and those of the model ``pico``, whose package has to be installed."""
    return build_graph(parse_params({**PARAMS, "models": {**PARAMS["models"], "pico": OWN_NETWORK}}))


@cache
def code_of_all() -> dict[str, Stage | Gate]:
    """Everything with a code version: stages by asset, without the name of ``detector``; gates as ``asset:gate``."""
    return named(graph())


def named(stages: Mapping[str, Stage]) -> dict[str, Stage | Gate]:
    """The stages that are not observed, and their gates."""
    found: dict[str, Stage | Gate] = {}
    for stage in stages.values():
        name = stage.asset.removeprefix("detector/")
        if not stage.is_observed:
            found[name] = stage
        found |= {f"{name}:{gate.name}": gate for gate in stage.gates}
    return found
