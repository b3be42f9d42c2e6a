"""Mistakes in models of params.yaml: each is named with its line and its key, and nothing else is complained about."""

from copy import deepcopy

import pytest
import yaml

from robot_assets.core.errors import ParamsError
from robot_assets.pipeline.params import load_params

TEXT = """\
store: {url: .robot_assets/store}
datasets:
  yard:
    source: {kind: dvc, pointer: data/raw/yard.dvc}
    classes: [ball, robot]
    split: {train: 0.7, val: 0.15, test: 0.15}
  ground:
    task: segmentation
    source: {kind: dvc, pointer: data/raw/ground.dvc}
    classes: [road, grass]
    split: {train: 0.7, val: 0.15, test: 0.15}
weights:
  backbone: {pointer: data/weights/backbone.dvc, licence: MIT, source: "https://nets.example"}
targets:
  cpu: {kind: onnxruntime, threads: 1, gate: {latency_ms_p95_max: 40}}
models:
  detector:
    task: detection
    dataset: yard
    targets: [cpu]
    network: {input_height: 64, input_width: 96, width: 8, weights: backbone}
    training: {epochs: 2, batch_size: 4, learning_rate: 0.004}
    quantization: {ptq: {}, qat: {epochs: 1, learning_rate: 1.0e-4}}
  segmenter:
    task: segmentation
    dataset: ground
    targets: [cpu]
    network: {input_height: 64, input_width: 96, width: 8}
    training: {epochs: 2, batch_size: 4, learning_rate: 0.004}
    quantization: {ptq: {}, qat: {epochs: 1, learning_rate: 1.0e-4}}
  own:
    task: detection
    dataset: yard
    targets: [cpu]
    network: {kind: "acme_nets.pico:Pico", input_height: 64, input_width: 96, heads: {strides: [8]}}
    training: {epochs: 2, batch_size: 4, learning_rate: 0.004}
    quantization: {ptq: {}, qat: {epochs: 1, learning_rate: 1.0e-4}}
  bought:
    task: detection
    dataset: yard
    targets: [cpu]
    source: {kind: onnx, pointer: data/onnx/bought.dvc, decoder: yolov8}
"""
REMOVED = object()
NEEDED_KIND = 'needed compact, or "package.module:Class" of a torch.nn.Module'
BOTH = "a model has a source, or a network and its training, and this one has both; needed"
DECODERS = "decoders: detr, grid, nms, ssd, yolov5, yolov8, yolox"
MULTIPLE = "an input of 64 x 96 pixels is no multiple of the stride"
ASCENDING = "needed positive numbers of pixels, each larger than the one before"
STD = "needed numbers above 0 and of at most 1; divide those of 0 to 255 by 255"
MISTAKES = [
    # Tasks
    ("detector.task", "detecton", "detector.task: unknown task 'detecton'; did you mean 'detection'?"),
    ("detector.task", 3, "detector.task: needed a string: YAML reads 3 as another type; write it in quotes"),
    ("detector.task", ["detection"], "detector.task: needed a string (found ['detection'])"),
    ("detector.task", REMOVED, "detector.task: missing"),
    ("detector.dataset", "ground", "detector.task: is detection, and its data set ground is of segmentation; needed"),
    ("segmenter.dataset", "yard", "segmenter.task: is segmentation, and its data set yard is of detection; needed"),
    ("bought.task", "segmentation", "bought.task: is segmentation, and its data set yard is of detection; needed"),
    # Networks
    ("detector.network.kind", "compct", f"kind: unknown kind 'compct'; did you mean 'compact'? {NEEDED_KIND}"),
    ("detector.network.kind", 3, f"kind: unknown kind 3; {NEEDED_KIND}"),
    ("own.network.kind", "acme_nets.pico", f"own.network.kind: unknown kind 'acme_nets.pico'; {NEEDED_KIND}"),
    ("own.network.kind", "../nets:Pico", f"own.network.kind: {NEEDED_KIND} (found ../nets:Pico)"),
    ("segmenter.network.finest_stride", 4, "segmenter.network.finest_stride: unknown key"),
    ("own.network.width", 8, "own.network.width: unknown key; parameters of the class are keys of arguments"),
    ("own.network.arguments", [1], "own.network.arguments: needed a mapping (found [1])"),
    ("own.network.input_height", REMOVED, "own.network.input_height: missing"),
    ("own.network.heads.stride", 8, "own.network.heads.stride: unknown key; did you mean 'strides'?"),
    ("own.network.heads.strides", ["a"], "own.network.heads.strides.0: needed a whole number (found 'a')"),
    ("own.network.heads.strides", "8", "own.network.heads.strides: needed a list, such as ['8'] (found '8')"),
    ("own.network.heads.strides", [16, 8], f"own.network.heads.strides: {ASCENDING} (found [16, 8])"),
    ("own.network.heads.strides", [], "own.network.heads.strides: needed at least one entry (found [])"),
    ("own.network.heads.strides", [True], "own.network.heads.strides.0: needed a number (found true)"),
    ("own.network.heads.strides", [10], f"own.network: {MULTIPLE} 10; needed multiples of 10"),
    ("own.network.heads.strides", [8, 64], f"own.network: {MULTIPLE} 64; needed multiples of 64"),
    ("own.network.weights", "bakbone", "own.network.weights: unknown entry 'bakbone'; did you mean 'backbone'?"),
    # Graphs that were trained elsewhere
    ("bought.training", {"epochs": 1}, f"bought.training: {BOTH} training removed, or source"),
    ("bought.network", {}, f"bought.network: {BOTH} network removed, or source"),
    ("detector.source", {"kind": "onnx"}, f"detector.network: {BOTH} network and training removed, or source"),
    ("bought.source.kind", "onx", "bought.source.kind: needed 'onnx' (found onx)"),
    ("bought.source.decoder", REMOVED, "bought.source.decoder: missing"),
    ("bought.source.decoder", "yolo8", f"source.decoder: unknown decoder 'yolo8'; did you mean 'yolov8'? {DECODERS}"),
    ("bought.source.decoder", "map", f"bought.source.decoder: unknown decoder 'map'; {DECODERS}"),
    ("bought.source.options", {"scoer_min": 1}, "source.options.scoer_min: unknown key; did you mean 'score_min'?"),
    ("bought.source.options", {"iou_max": 7}, "bought.source.options.iou_max: needed 1.0 or less (found 7)"),
    ("bought.source.options", {"iou_max": True}, "bought.source.options.iou_max: needed a number (found true)"),
    ("bought.source.options", [], "bought.source.options: needed a mapping (found [])"),
    ("bought.source.trained_on", 3, "source.trained_on: needed a string: YAML reads 3 as another type"),
    ("bought.source.license", "MIT", "bought.source.license: unknown key; did you mean 'licence'?"),
    ("bought.decoder", "yolov8", "bought.decoder: unknown key; it belongs below source"),
    ("bought.input_width", 64, "bought.input_width: unknown key; it belongs below source"),
    ("bought.quantization", {"qat": {"epochs": 1}}, "bought.quantization.qat: unknown key"),
    # Losses
    ("segmenter.loss", {"dise": 1}, "segmenter.loss.dise: unknown key; did you mean 'dice'?"),
    ("segmenter.loss", {"dice": -1}, "segmenter.loss.dice: needed 0.0 or more (found -1)"),
    (
        "segmenter.loss",
        {"class_weights": {"gras": 2}},
        "class_weights.gras: unknown class 'gras'; did you mean",
    ),
    ("segmenter.loss", {"class_weights": {"grass": 0}}, "class_weights.grass: needed a number greater than 0.0"),
    ("segmenter.loss", {"class_weights": [1, 2]}, "segmenter.loss.class_weights: needed a mapping (found [1, 2])"),
    ("detector.loss", {"lovasz": 1}, "detector.loss.lovasz: unknown key"),
    # Preprocessing
    ("detector.input", {"std": [0, 1, 1]}, f"detector.input.std: {STD} (found [0, 1, 1])"),
    ("detector.input", {"std": [58.4, 57.1, 57.4]}, f"detector.input.std: {STD} (found [58.4, 57.1, 57.4])"),
    ("detector.input", {"mean": [123.7, 116.3, 103.5]}, "input.mean: needed finite numbers of at most 1; divide those"),
    ("detector.input", {"mean": [0.5, 0.5]}, "detector.input.mean: needed 3 entries (found [0.5, 0.5])"),
    ("detector.input", {"mean": []}, "detector.input.mean: needed 3 entries (found [])"),
    ("detector.input", {"mean": 0.5}, "detector.input.mean: needed a list (found 0.5)"),
    (
        "detector.input",
        {"mean": [0.5, 0.5, float("nan")]},
        "detector.input.mean.2: needed a finite number (found .nan)",
    ),
    ("detector.input", {"channels": "rbg"}, "detector.input.channels: needed 'rgb' or 'bgr' (found rbg)"),
    ("detector.input", {"height": 64}, "detector.input.height: unknown key"),
    # Layers in float
    ("detector.quantization.float_layers", "stem", "float_layers: needed a list, such as [stem] (found stem)"),
    ("bought.quantization", {"float_layers": "stem"}, "float_layers: needed a list, such as [stem] (found stem)"),
]


def with_mistake(place: str, value: object) -> dict:
    document = deepcopy(yaml.safe_load(TEXT))
    *steps, last = place.split(".")
    holder = document["models"]
    for step in steps:
        holder = holder[step]
    if value is REMOVED:
        del holder[last]
    else:
        holder[last] = value
    return document


def test_without_a_mistake_it_loads(tmp_path):
    (tmp_path / "params.yaml").write_text(TEXT)
    assert len(load_params(tmp_path / "params.yaml").models) == 4


@pytest.mark.parametrize(("place", "value", "sentence"), MISTAKES)
def test_a_mistake_is_named_once_with_its_line(tmp_path, place, value, sentence):
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(with_mistake(place, value), sort_keys=False))
    with pytest.raises(ParamsError) as caught:
        load_params(path)
    (found,) = caught.value.details["mistakes"]
    line, _, told = found.partition(": ")
    assert sentence in told
    assert told.startswith(f"models.{place.partition('.')[0]}.")
    number = int(line.removeprefix("line "))
    model = path.read_text().splitlines().index(f"  {place.partition('.')[0]}:")
    assert number > model


def test_a_data_set_without_its_task_is_named_with_what_to_write(tmp_path):
    (tmp_path / "params.yaml").write_text(TEXT.replace("    task: segmentation\n    source", "    source", 1))
    with pytest.raises(ParamsError, match=r"needed task: segmentation in datasets\.ground, another data set, or"):
        load_params(tmp_path / "params.yaml")


@pytest.mark.parametrize(
    ("before", "after", "sentence"),
    [
        ("licence: MIT", "license: MIT", "weights.backbone.license: unknown key; did you mean 'licence'?"),
        ("backbone.dvc", "backbone.safetensors", "weights.backbone.pointer: needed a relative path inside the project"),
        ("task: segmentation\n    source", "task: segmentaton\n    source", "did you mean 'segmentation'?"),
        ("{latency_ms_p95_max: 40}", "{no_holes: 3}", "targets.cpu.gate.no_holes: needed true or false (found 3)"),
    ],
)
def test_mistakes_in_what_models_name(tmp_path, before, after, sentence):
    assert before in TEXT
    (tmp_path / "params.yaml").write_text(TEXT.replace(before, after, 1))
    with pytest.raises(ParamsError) as caught:
        load_params(tmp_path / "params.yaml")
    assert sentence in caught.value.found
