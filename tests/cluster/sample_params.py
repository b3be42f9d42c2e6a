"""params.yaml of a project on a cluster: a GPU box, a Jetson, a machine for the ``cpu`` target, and the defaults."""

from copy import deepcopy

_DOCUMENT = {
    "store": {"url": "s3://robots/artifacts"},
    "datasets": {
        "yard": {
            "source": {"kind": "dvc", "pointer": "data/raw/yard.dvc"},
            "classes": ["person"],
            "split": {"train": 0.7, "val": 0.15, "test": 0.15},
        }
    },
    "models": {
        "yard_detector": {
            "task": "detection",
            "dataset": "yard",
            "targets": ["orin_agx", "cpu"],
            "network": {"input_height": 96, "input_width": 128, "width": 16, "depth": 1},
            "training": {"epochs": 2, "batch_size": 8, "learning_rate": 0.002},
            "quantization": {"qat": {"epochs": 1, "learning_rate": 0.0001}},
        }
    },
    "targets": {
        "orin_agx": {"kind": "onnxruntime", "platform": "reported", "gate": {"latency_ms_p95_max": 20}},
        "cpu": {"kind": "onnxruntime", "platform": "reported", "gate": {"latency_ms_p95_max": 40}},
    },
    "execution": {
        "kind": "kubernetes",
        "images": {"amd64": "registry.example/train:1", "arm64": {"env": "ROBOT_ASSETS_EDGE_IMAGE"}},
    },
    "pools": {
        "training": {
            "node_labels": {"robot-assets/role": "train", "nvidia.com/gpu.product": ["A100", "H100"]},
            "gpus": 1,
            "cpu": 7.5,
            "memory": "24Gi",
            "memory_max": "48Gi",
            "ephemeral_storage": "40Gi",
            "runtime_class": "nvidia",
            "grace_s": 120,
            "max_concurrent": 2,
        },
        "orin_agx": {
            "node_labels": {"robot-assets/target": "orin_agx"},
            "architecture": "arm64",
            "gpus": 1,
            "cpu": 4,
            "memory": "12Gi",
            "runtime_class": "nvidia",
            "tolerations": [{"key": "robot-assets/edge", "effect": "NoSchedule"}],
            "active_deadline_s": 7200,
        },
        "cpu": {"node_labels": {"robot-assets/target": "cpu"}},
    },
}


def cluster_document() -> dict:
    """A copy for one test."""
    return deepcopy(_DOCUMENT)
