"""Edits of the real code, each with everything that it may make stale or due; all else stays as it is."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from robot_assets.lineage.code import Code
from tests.lineage.code.package import ROOT
from tests.lineage.code.project import code_of_all

MEASURED = ("accuracy", "parity", "latency", "resources")
CPU = ("engine/cpu", "bought/engine/cpu", "segmenter/engine/cpu")
"""The engines for the target ``cpu``: of a detector that is trained here, of a foreign one, of a segmentation."""
CPU_GATES = {f"{engine}:{gate}" for engine in CPU for gate in MEASURED}
ORIN_GATES = {f"engine/orin:{gate}" for gate in MEASURED}
PROFILES = {"profile/cpu", "profile/orin"}

# What scores, and what decodes: the engines and the ONNX too
DETECTOR = {"checkpoint", "ptq", "qat", "onnx:parity", "sensitivity", "engine/cpu:accuracy", "engine/orin:accuracy"}
BOUGHT = {"bought/onnx", "bought/onnx:parity", "bought/sensitivity", "bought/engine/cpu:accuracy"}
SEGMENTER = {f"segmenter/{name}" for name in DETECTOR if "orin" not in name}
DECODED_DETECTOR = {"onnx", "engine/cpu", "engine/orin", *DETECTOR}
DECODED_BOUGHT = {"bought/engine/cpu", *BOUGHT}
DECODED_SEGMENTER = {"segmenter/onnx", "segmenter/engine/cpu", *SEGMENTER}
EVALUATED = {name for name in DETECTOR | BOUGHT | SEGMENTER if not name.endswith(":accuracy")}
"""What scores by ``robot_assets.training.evaluate``; engines are scored while they run."""
TRAINED = {f"{model}{name}" for model in ("", "segmenter/") for name in ("checkpoint", "qat")}
BUILT = {f"{model}{name}" for model in ("", "segmenter/") for name in ("checkpoint", "ptq", "qat", "onnx")}
SEGMENTER_TRAINED = {name for name in TRAINED if name.startswith("segmenter/")}
SEGMENTER_BUILT = {name for name in BUILT if name.startswith("segmenter/")}
STREET_LABELS = {"datasets/street:boxes_sane", "datasets/street:classes_in_every_split"}
GROUND_LABELS = {"datasets/ground", "datasets/ground:masks_sane", "datasets/ground:classes_in_every_split"}
SENSITIVITIES = {"sensitivity", "segmenter/sensitivity", "bought/sensitivity"}
EVERYTHING = code_of_all().keys()


def function(name: str) -> tuple[str, str]:
    """An edit: a function, or a method, does one more thing."""
    return rf"(?ms)^( *)def {name}\(.*?:\n(?=\s+(\"\"\"|\w))", r"\g<0>\1    print()\n"


def field(name: str) -> tuple[str, str]:
    """An edit: a class has one more field."""
    return rf"(?m)^class {name}\b.*:\n", r"\g<0>    one_more: int = 0\n"


DESCRIPTION = ('description="', r"\g<0>Reworded: ")
REWORDING = (r'raise (Data|Training)Error\(\s*f?"', r"\g<0>Reworded: ")
UNUSED = (r"\Z", "\n\ndef unused() -> int:\n    return 1\n")

EDITS = [
    # What is not code
    ("rewording an error", "core/label_issues.py", REWORDING, set()),
    ("rewording an error of the training", "training/steps.py", REWORDING, set()),
    ("the description of a field", "training/spec.py", DESCRIPTION, set()),
    ("the description of a field of a gate", "engines/budgets.py", DESCRIPTION, set()),
    # What no stage reaches
    ("an unused function", "tasks/detection/decode.py", UNUSED, set()),
    ("an unused function in what everything imports", "core/publishing.py", UNUSED, set()),
    ("an unrelated method of another class", "engines/benchmark.py", function("speedup"), set()),
    ("a page", "pipeline/kinds/checkpoint.py", function("page"), set()),
    ("a figure", "figures/curves.py", function("training_curves"), set()),
    ("the facts of a stage", "pipeline/kinds/checkpoint.py", function("facts"), set()),
    ("the stages of a kind", "pipeline/kinds/checkpoint.py", function("stages"), set()),
    ("the registry", "pipeline/registry.py", function("kind_of"), set()),
    ("the parameters of the whole project", "pipeline/models.py", field("ModelSpec"), set()),
    ("the step", "pipeline/kind.py", field("Step"), set()),
    ("the stage", "lineage/graph.py", field("Stage"), set()),
    ("the store", "store/store.py", function("add"), set()),
    # One stage, or what belongs together
    ("the simulation", "data/simulation/render.py", function("render"), {"raw/street", "raw/ground"}),
    ("the packing of a data set", "data/dataset.py", function("build_dataset"), {"datasets/street", "datasets/ground"}),
    ("a class in a file that others read", "data/split.py", function("greedy"), {"datasets/street", "datasets/ground"}),
    (
        "a check of data",
        "data/checks.py",
        function("check_labels"),
        {"datasets/street:boxes_sane", "datasets/ground:masks_sane"},
    ),
    ("the loss", "tasks/detection/loss.py", function("_angle"), {"checkpoint", "qat"}),
    ("a validator of training", "training/spec.py", function("_schedule_fits"), TRAINED),
    ("a calibrator", "quantization/histogram.py", function("mse_scale"), {"ptq", "segmenter/ptq", "bought/onnx"}),
    ("the choice between PTQ and QAT", "export/choice.py", function("choose"), {"onnx", "segmenter/onnx"}),
    ("layers in float", "export/qdq_layers.py", function("float_weights"), SENSITIVITIES | {"bought/onnx:original"}),
    ("the fit of a profile", "profiling/fit.py", function("check_fit"), {"profile/cpu:fits", "profile/orin:fits"}),
    ("a stream of a profile", "profiling/streams.py", field("Stream"), PROFILES),
    ("a key of an ONNX Runtime target", "engines/onnxruntime/spec.py", field("OnnxRuntimeTarget"), {*CPU}),
    ("a key of a TensorRT target", "engines/tensorrt/spec.py", field("TensorRTTarget"), {"engine/orin"}),
    ("a budget", "engines/budgets.py", field("GateSpec"), CPU_GATES | ORIN_GATES),
    # What goes with TensorRT leaves the CPU alone
    (
        "an explanation of TensorRT's errors",
        "engines/tensorrt/explain.py",
        function("failure"),
        {"engine/orin", *ORIN_GATES, "profile/orin"},
    ),
    ("the parser of TensorRT", "engines/tensorrt/explain.py", function("refused_by_parser"), {"engine/orin"}),
    # What many need
    ("the interface", "tasks/networks.py", function("interface_of"), {"checkpoint", "segmenter/checkpoint"}),
    ("building a network", "tasks/building.py", function("_in_order"), BUILT),
    ("the evaluation", "training/evaluate.py", function("evaluate"), EVALUATED),
    ("an effect on import", "training/__init__.py", ('"10000"', '"20000"'), EVALUATED),
    # A task leaves the others alone
    ("the scorer of detections", "tasks/detection/scorer.py", function("metrics"), DETECTOR | BOUGHT),
    ("the decoder of detections", "tasks/detection/decode.py", function("decode_grid"), DECODED_DETECTOR),
    ("the drawing of detections", "tasks/detection/drawing.py", function("prediction_sheet"), set()),
    ("the network of detections", "tasks/detection/network.py", function("build_compact"), {*BUILT} - SEGMENTER_BUILT),
    ("the boxes of a data set", "tasks/detection/labels.py", function("read"), {"datasets/street", *STREET_LABELS}),
    ("the loss of segmentations", "tasks/segmentation/losses.py", function("dice"), SEGMENTER_TRAINED),
    ("the targets of segmentations", "tasks/segmentation/training.py", function("loss"), SEGMENTER_TRAINED),
    ("a key of their loss", "tasks/segmentation/spec.py", field("SegmentationLossSpec"), SEGMENTER_TRAINED),
    ("a key of their network", "tasks/segmentation/spec.py", field("CompactSegmenter"), SEGMENTER_BUILT),
    ("the network of segmentations", "tasks/segmentation/network.py", function("build_compact"), SEGMENTER_BUILT),
    ("the scorer of segmentations", "tasks/segmentation/scorer.py", function("metrics"), SEGMENTER),
    ("the decoder of segmentations", "tasks/segmentation/decode.py", function("decode_map"), DECODED_SEGMENTER),
    ("a key of that decoder", "tasks/segmentation/heads.py", field("MapOptions"), DECODED_SEGMENTER),
    ("a decoder of segmentations that no model has", "tasks/segmentation/decode.py", function("decode_labels"), set()),
    ("the drawing of segmentations", "tasks/segmentation/drawing.py", function("prediction_sheet"), set()),
    ("the masks of a data set", "tasks/segmentation/labels.py", function("read"), GROUND_LABELS | SEGMENTER),
    # What was trained elsewhere
    (
        "the decoder of a foreign graph",
        "tasks/detection/decoders/decode/yolo.py",
        function("decode_yolov8"),
        DECODED_BOUGHT,
    ),
    ("a decoder that no model has", "tasks/detection/decoders/decode/yolo.py", function("decode_yolov5"), set()),
    ("the quantization of foreign graphs", "foreign/quantize.py", function("quantized"), {"bought/onnx"}),
    ("the conversion of foreign graphs", "foreign/conversion.py", function("convert"), {"bought/onnx"}),
    ("a gate of foreign graphs", "foreign/gate.py", function("check_original"), {"bought/onnx:original"}),
    ("the inspection of foreign graphs", "foreign/inspection.py", UNUSED, set()),
    ("the loading of weights", "weights/loading.py", function("load_into"), {"checkpoint", "segmenter/checkpoint"}),
    ("the smoke test", "smoke/batch.py", UNUSED, set()),
    ("a key of every model", "pipeline/models.py", field("TrainedModel"), set()),
    # The measurement in another process takes its error from a computed name: getattr(errors, kind)
    ("an unused function in what is passed on whole", "core/errors.py", UNUSED, PROFILES),
    ("the base of all errors", "core/errors.py", function("__init__"), EVERYTHING),
]


@pytest.fixture(scope="module")
def copied(tmp_path_factory) -> Path:
    """A copy of ``robot_assets`` that may be edited."""
    folder = tmp_path_factory.mktemp("copy") / "robot_assets"
    return shutil.copytree(ROOT / "robot_assets", folder, ignore=shutil.ignore_patterns("__pycache__"))


def versions(package: Path) -> dict[str, str]:
    code = Code({"robot_assets": package})
    return {name: code.version(one.code, {}) for name, one in code_of_all().items()}


@pytest.fixture(scope="module")
def before(copied) -> dict[str, str]:
    return versions(copied)


def test_a_copy_has_the_versions_of_the_original(before):
    assert before == versions(ROOT / "robot_assets")


@pytest.mark.parametrize(("file", "edit", "stale"), [row[1:] for row in EDITS], ids=[row[0] for row in EDITS])
def test_an_edit_makes_stale(copied, before, file, edit, stale):
    path = copied / file
    text = path.read_text()
    changed, count = re.subn(*edit, text, count=1)
    assert (count, changed != text) == (1, True), f"nothing to edit in {file}"
    path.write_text(changed)
    try:
        after = versions(copied)
    finally:
        path.write_text(text)
    assert {name for name in after if after[name] != before[name]} == set(stale)
