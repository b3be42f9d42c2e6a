"""A whole small segmentation, built once: drawn shapes -> data set -> checkpoint -> PTQ, QAT -> ONNX -> engine.

Its images are normalized, in BGR and stretched, so that every step has to read the preprocessing of the interface.
"""

import functools
import json
import tempfile
from pathlib import Path

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
from robot_assets.tasks.interface import Preprocessing
from robot_assets.tasks.networks import NetworkDefinition, interface_of
from robot_assets.tasks.segmentation.spec import CompactSegmenter, SegmentationLossSpec
from robot_assets.tasks.segmentation.task import TASK
from robot_assets.training.loop import train
from robot_assets.training.spec import TrainingSpec
from tests.detector_chain import Chain
from tests.tasks.segmentation.drawn_shapes import CLASSES, shapes

INPUT = Preprocessing(channels="bgr", mean=(0.4, 0.45, 0.5), std=(0.25, 0.2, 0.3), fit="stretch")
NETWORK = CompactSegmenter(input_height=64, input_width=64, width=8)
LOSS = SegmentationLossSpec()
TRAINING = TrainingSpec(epochs=25, batch_size=8, learning_rate=8e-3, ema_decay=0.9, evaluate_every=25, threads=1)
INTERFACE = interface_of(TASK, NETWORK, INPUT, CLASSES)


def draw_raw(folder: Path, images: int = 60, sessions: int = 10) -> None:
    """Shapes with their masks, in the raw layout."""
    drawn = shapes(images, seed=0)
    records = []
    for index in range(images):
        name = f"s{index % sessions:02d}/{index:04d}.png"
        for side, pixels in (("images", drawn.images[index]), ("masks", drawn.masks[index])):
            (folder / side / name).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(folder / side / name)
        session = name.partition("/")[0]
        records.append({"id": index + 1, "file_name": name, "width": 96, "height": 64, "session": session})
    document = {
        "info": {"task": "segmentation"},
        "licenses": [],
        "images": sorted(records, key=lambda record: record["file_name"]),
        "annotations": [],
        "categories": [{"id": number + 1, "name": name} for number, name in enumerate(CLASSES)],
    }
    (folder / "annotations.json").write_text(json.dumps(document, sort_keys=True))


@functools.cache
def _root() -> tempfile.TemporaryDirectory:
    return tempfile.TemporaryDirectory(prefix="segmenter_chain_")


@functools.cache
def whole() -> Chain:
    """All of it, built once a process."""
    torch.set_num_threads(1)
    root = Path(_root().name)
    draw_raw(root / "raw")
    spec = DatasetSpec(
        task="segmentation",
        source={"kind": "dvc", "pointer": "data/raw/shapes.dvc"},
        classes=CLASSES,
        split={"train": 0.6, "val": 0.2, "test": 0.2},
        calibration_images=16,
        near_duplicate_bits=0,
    )
    build_dataset(root / "raw", spec, root / "dataset")
    definition = NetworkDefinition("segmentation", NETWORK, INPUT, LOSS)
    train(root / "dataset", definition, TRAINING, root / "checkpoint", root / "scratch")
    ptq(root / "checkpoint", root / "dataset", PtqSpec(), root / "ptq")
    aware = QatSpec(epochs=1, learning_rate=1e-4)
    qat(root / "checkpoint", root / "ptq", root / "dataset", aware, TRAINING, LOSS, root / "qat", root / "qat_scratch")
    export_onnx(root / "checkpoint", root / "ptq", root / "qat", root / "dataset", root / "onnx")
    build_engine(root / "onnx", OnnxRuntimeTarget(threads=1), root / "engine")
    return Chain(*(root / name for name in ("dataset", "checkpoint", "ptq", "qat", "onnx", "engine")))
