"""A whole small model, built once: drawn boxes -> data set -> checkpoint -> PTQ, QAT -> ONNX -> engine.

The checkpoint is really trained, for seconds, so that its activations are those of a detector and not of noise.
"""

import functools
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from robot_assets.data.dataset import build_dataset
from robot_assets.data.spec import DatasetSpec
from robot_assets.engines.onnxruntime.build import build_engine
from robot_assets.engines.onnxruntime.spec import OnnxRuntimeTarget
from robot_assets.export.onnx_export import export_onnx
from robot_assets.quantization.ptq import ptq
from robot_assets.quantization.qat import qat
from robot_assets.quantization.spec import PtqSpec, QatSpec
from robot_assets.tasks.detection.spec import NetworkSpec
from robot_assets.training.loop import train
from robot_assets.training.spec import TrainingSpec
from tests.detectors import CLASSES, LOSS, definition, interface

COLOURS = ((220, 40, 40), (40, 200, 60), (50, 60, 220))
NETWORK = NetworkSpec(input_height=64, input_width=96, width=8, depth=1)
DEFINITION = definition(NETWORK)
INTERFACE = interface(NETWORK)
TRAINING = TrainingSpec(epochs=40, batch_size=8, learning_rate=8e-3, ema_decay=0.9, evaluate_every=40, threads=1)
PTQ = PtqSpec()
QAT = QatSpec(epochs=1, learning_rate=1e-4)
TARGET = OnnxRuntimeTarget(threads=1)
SPLIT = {"train": 0.6, "val": 0.2, "test": 0.2}


@dataclass(frozen=True)
class Chain:
    """Directories of the artifacts of one small model."""

    dataset: Path
    checkpoint: Path
    ptq: Path
    qat: Path
    onnx: Path
    engine: Path


def draw_raw(folder: Path, images: int = 60, sessions: int = 10, seed: int = 0) -> None:
    """Noise with coloured rectangles, in the raw layout."""
    rng = np.random.default_rng(seed)
    records, annotations = [], []
    for index in range(images):
        session = f"s{index % sessions:02d}"
        name = f"{session}/{index:04d}.png"
        pixels = rng.integers(0, 90, (64, 96, 3), dtype=np.uint8)
        for category in rng.permutation(3)[: rng.integers(1, 4)]:
            width, height = rng.integers(14, 30, 2)
            x, y = rng.integers(0, 96 - width), rng.integers(0, 64 - height)
            pixels[y : y + height, x : x + width] = COLOURS[category]
            annotations.append((index, int(category), [int(x), int(y), int(width), int(height)]))
        (folder / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / "images" / name)
        records.append({"id": index + 1, "file_name": name, "width": 96, "height": 64, "session": session})
    document = {
        "info": {},
        "licenses": [],
        "images": sorted(records, key=lambda record: record["file_name"]),
        "annotations": [
            {
                "id": number + 1,
                "image_id": image + 1,
                "category_id": category + 1,
                "bbox": box,
                "area": box[2] * box[3],
                "iscrowd": 0,
            }
            for number, (image, category, box) in enumerate(annotations)
        ],
        "categories": [{"id": number + 1, "name": name} for number, name in enumerate(CLASSES)],
    }
    (folder / "annotations.json").write_text(json.dumps(document, sort_keys=True))


def dataset_spec() -> DatasetSpec:
    return DatasetSpec(
        source={"kind": "dvc", "pointer": "data/raw/drawn.dvc"},
        classes=CLASSES,
        split=SPLIT,
        calibration_images=16,
        near_duplicate_bits=0,
    )


@functools.cache
def _root() -> tempfile.TemporaryDirectory:
    return tempfile.TemporaryDirectory(prefix="detector_chain_")


@functools.cache
def checkpoint_only() -> tuple[Path, Path]:
    """(dataset, checkpoint), built once a process.

    On one thread from here on, as the training and QAT of the chain: other thread counts sum in another order, and
    PTQ and QAT could not be compared to the last bit.
    """
    torch.set_num_threads(1)
    root = Path(_root().name)
    draw_raw(root / "raw")
    build_dataset(root / "raw", dataset_spec(), root / "dataset")
    train(root / "dataset", DEFINITION, TRAINING, root / "checkpoint", root / "scratch")
    return root / "dataset", root / "checkpoint"


@functools.cache
def ptq_only() -> Path:
    """The PTQ artifact, built once a process."""
    dataset, checkpoint = checkpoint_only()
    ptq(checkpoint, dataset, PTQ, out := checkpoint.parent / "ptq")
    return out


@functools.cache
def whole() -> Chain:
    """All of it, built once a process."""
    dataset, checkpoint = checkpoint_only()
    root = checkpoint.parent
    ptq_only()
    qat(checkpoint, root / "ptq", dataset, QAT, TRAINING, LOSS, root / "qat", root / "qat_scratch")
    export_onnx(checkpoint, root / "ptq", root / "qat", dataset, root / "onnx")
    build_engine(root / "onnx", TARGET, root / "engine")
    return Chain(dataset, checkpoint, root / "ptq", root / "qat", root / "onnx", root / "engine")
