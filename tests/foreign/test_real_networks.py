"""Real ONNX files of other people: converted, quantized, built by TensorRT-RTX; one imported with labelled images."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image, ImageDraw, ImageFont

from robot_assets.data.dataset import build_dataset
from robot_assets.data.spec import DatasetSpec
from robot_assets.engines.evaluation import evaluate_engine
from robot_assets.engines.onnxruntime.build import build_engine
from robot_assets.engines.onnxruntime.spec import OnnxRuntimeTarget
from robot_assets.export.parity import check_parity
from robot_assets.export.preflight import graph_problems, quantization_problems
from robot_assets.foreign.conversion import convert
from robot_assets.foreign.gate import check_original
from robot_assets.foreign.inspection import inspect_onnx
from robot_assets.foreign.onnx_stage import import_onnx
from robot_assets.foreign.placement import place
from robot_assets.foreign.quantize import quantized
from robot_assets.foreign.reading import read_model
from robot_assets.foreign.spec import ForeignSpec
from tests.data.image_sources import write_labels
from tests.data.mask_sources import png
from tests.export.test_tensorrt_rtx import needs_tensorrt_rtx, parse_and_build
from tests.foreign.graphs import run
from tests.foreign.real_networks import TEXT_DETECTOR, TEXT_RECOGNIZER, TURN_CLASSIFIER, networks

SIZES = {TEXT_DETECTOR: (96, 160), TURN_CLASSIFIER: (48, 192), TEXT_RECOGNIZER: (48, 160)}
HEIGHT, WIDTH = SIZES[TEXT_DETECTOR]
WORDS = ("ROBOT", "CURB 42", "STOP", "EXIT", "BAY 7", "SLOW", "DOCK", "LIFT 3")

each_network = pytest.mark.parametrize("name", SIZES)


def converted(name: str) -> onnx.ModelProto:
    return convert(read_model(networks() / name), name, *SIZES[name]).model


def with_pairs(name: str) -> onnx.ModelProto:
    graph = converted(name)
    placement = place(graph)
    return quantized(graph, placement, dict.fromkeys(placement.tensors, 0.05))


@each_network
def test_the_converted_graph_gives_the_answers_of_the_file(name):
    given = read_model(networks() / name)
    images = np.random.default_rng(0).normal(0, 0.5, (1, 3, *SIZES[name])).astype(np.float32)
    for ours, theirs in zip(run(converted(name), images), run(given, images), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


@each_network
def test_the_quantized_graph_passes_preflight(name):
    graph = with_pairs(name)
    onnx.checker.check_model(graph, full_check=True)
    assert [*graph_problems(graph), *quantization_problems(graph)] == []


@needs_tensorrt_rtx
@each_network
def test_tensorrt_builds_the_float_and_the_quantized_graph(name, tmp_path):
    for graph in (converted(name), with_pairs(name)):
        result = parse_and_build(graph, tmp_path)
        assert result.is_supported, result.errors
        assert result.plan_sha256, result.log


def test_batch_norms_of_an_exporter_that_leaves_them_are_folded():
    changes = convert(read_model(networks() / TURN_CLASSIFIER), "net.onnx", *SIZES[TURN_CLASSIFIER]).changes
    assert "35 batch norms folded into convolutions" in " ".join(changes)


def test_products_of_activations_stay_in_float():
    assert "a matrix product of activations" in place(converted(TEXT_RECOGNIZER)).in_float.values()


def test_the_decoder_of_the_text_detector_is_proposed():
    (found,) = inspect_onnx(networks() / TEXT_DETECTOR, HEIGHT, WIDTH)["decoders"]
    assert (found["task"], found["decoder"], found["classes"]) == ("segmentation", "binary", 2)


def draw_text(root: Path, sessions: int = 5, each: int = 4) -> Path:
    """Words on grey walls with a mask of the pixels within their boxes, as raw data of a segmentation."""
    rng = np.random.default_rng(1)
    images = []
    for number in range(sessions * each):
        stem = f"s{number % sessions}/{number:03}"
        shades = np.kron(rng.integers(150, 210, (6, 10, 1)), np.ones((16, 16, 3), int)).astype(np.uint8)
        picture, mask = Image.fromarray(shades), Image.new("L", (WIDTH, HEIGHT))
        for row in range(2):
            corner = (int(rng.integers(4, 50)), int(rng.integers(4, 14)) + 46 * row)
            font = ImageFont.load_default(size=int(rng.integers(16, 24)))
            word = str(rng.choice(WORDS))
            ImageDraw.Draw(picture).text(corner, word, fill=tuple(rng.integers(0, 60, 3).tolist()), font=font)
            ImageDraw.Draw(mask).rectangle(ImageDraw.Draw(mask).textbbox(corner, word, font=font), fill=1)
        for folder in ("images", "masks"):
            (root / folder / stem).parent.mkdir(parents=True, exist_ok=True)
        picture.save(root / "images" / f"{stem}.png")
        (root / "masks" / f"{stem}.png").write_bytes(png(np.asarray(mask)))
        images.append({"id": number + 1, "file_name": f"{stem}.png", "width": WIDTH, "height": HEIGHT})
    categories = [{"id": index + 1, "name": name} for index, name in enumerate(("wall", "text"))]
    write_labels(root, {"images": images, "categories": categories, "annotations": []})
    return root


@pytest.fixture(scope="module")
def words(tmp_path_factory) -> Path:
    """A packed data set of written words."""
    root = tmp_path_factory.mktemp("words")
    spec = DatasetSpec(
        source={"kind": "dvc", "pointer": "data/raw/words.dvc"},
        task="segmentation",
        classes=("wall", "text"),
        split={"train": 0.4, "val": 0.4, "test": 0.2},
        calibration_images=8,
        near_duplicate_bits=0,
    )
    build_dataset(draw_text(root / "raw"), spec, root / "dataset")
    return root / "dataset"


@pytest.fixture(scope="module")
def detector(words, tmp_path_factory) -> Path:
    """The ONNX artifact of the text detector."""
    out = tmp_path_factory.mktemp("detector") / "onnx"
    spec = ForeignSpec(
        task="segmentation",
        source={
            "kind": "onnx",
            "pointer": "data/onnx/text_detector.dvc",
            "decoder": "binary",
            "options": {"threshold": 0.3},
            "input_height": HEIGHT,
            "input_width": WIDTH,
        },
        input={"channels": "bgr", "mean": (0.406, 0.456, 0.485), "std": (0.225, 0.224, 0.229)},
    )
    import_onnx(networks() / TEXT_DETECTOR, words, spec, out)
    return out


def test_a_text_detector_from_elsewhere_becomes_an_int8_engine(detector, words, tmp_path):
    metrics = json.loads((detector / "metrics.json").read_bytes())
    as_given = metrics["test"]["float"]["miou"]
    assert as_given > 0.6  # it was trained on other images, and still finds the words
    assert check_parity(detector, words).passed
    assert check_original(detector, words).passed
    build_engine(detector, OnnxRuntimeTarget(threads=1), tmp_path / "engine")
    found = evaluate_engine(tmp_path / "engine", words, detector)
    assert found.metrics.score > as_given - 0.05
