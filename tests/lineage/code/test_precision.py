"""Edits of the real code, each with everything that it may make stale or due; all else stays as it is."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from robot_assets.lineage.code import Code
from tests.lineage.code.package import ROOT
from tests.lineage.code.project import code_of_all

CPU_GATES = {f"engine/cpu:{gate}" for gate in ("accuracy", "parity", "latency", "resources")}
ORIN_GATES = {f"engine/orin:{gate}" for gate in ("accuracy", "parity", "latency", "resources")}
PROFILES = {"profile/cpu", "profile/orin"}
SCORED = {"checkpoint", "ptq", "qat", "onnx:parity", "sensitivity", *CPU_GATES, *ORIN_GATES}
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
    ("the parameters of the whole project", "pipeline/params.py", field("ModelSpec"), set()),
    ("the step", "pipeline/kind.py", field("Step"), set()),
    ("the stage", "lineage/graph.py", field("Stage"), set()),
    ("the store", "store/store.py", function("add"), set()),
    # One stage, or what belongs together
    ("the simulation", "data/simulation/render.py", function("render"), {"raw/street"}),
    ("the packing of a data set", "data/dataset.py", function("build_dataset"), {"datasets/street"}),
    ("a class in a file that others read", "data/split.py", function("greedy"), {"datasets/street"}),
    ("a check of data", "data/checks.py", function("check_labels"), {"datasets/street:boxes_sane"}),
    ("the loss", "tasks/detection/loss.py", function("_angle"), {"checkpoint", "qat"}),
    ("a validator of training", "training/spec.py", function("_schedule_fits"), {"checkpoint", "qat"}),
    ("a calibrator", "quantization/histogram.py", function("mse_scale"), {"ptq"}),
    ("the choice between PTQ and QAT", "export/choice.py", function("choose"), {"onnx"}),
    ("layers in float", "export/qdq_layers.py", function("float_weights"), {"sensitivity"}),
    ("the fit of a profile", "profiling/fit.py", function("check_fit"), {"profile/cpu:fits", "profile/orin:fits"}),
    ("a stream of a profile", "profiling/streams.py", field("Stream"), PROFILES),
    ("a key of an ONNX Runtime target", "engines/onnxruntime/spec.py", field("OnnxRuntimeTarget"), {"engine/cpu"}),
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
    ("decoding", "tasks/detection/decode.py", function("decode"), SCORED | PROFILES),
    ("an effect on import", "training/__init__.py", ('"10000"', '"20000"'), SCORED),
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
