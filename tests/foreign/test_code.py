"""Nothing of ours runs in the import of a graph, or in its gates, that the code version does not cover: traced."""

from __future__ import annotations

from pathlib import Path

import pytest

from robot_assets.export.onnx_export import export_float
from robot_assets.lineage.code import Code, load
from robot_assets.pipeline.graph import build_graph
from robot_assets.pipeline.kind import GateStep, Step
from robot_assets.pipeline.names import ONNX
from robot_assets.pipeline.params import parse_params
from robot_assets.pipeline.project import Project
from robot_assets.pipeline.registry import kind_of
from tests.detector_chain import checkpoint_only
from tests.lineage.code.test_soundness import OUTSIDE
from tests.lineage.code.tracing import called_during
from tests.sample_params import sample_document

NAME = ONNX.name(model="bought")
DISPATCH = "robot_assets.tasks.task"
"""Finds the parts of a task by the entry points that the stage has among its code."""


def stages() -> dict:
    document = sample_document()
    source = {"kind": "onnx", "pointer": "data/onnx/bought.dvc", "decoder": "grid"}
    document["models"]["bought"] = {"task": "detection", "dataset": "sidewalk", "targets": ["cpu"], "source": source}
    return build_graph(parse_params(document))


@pytest.fixture(scope="module")
def called(tmp_path_factory) -> dict[str, tuple[tuple[str, ...], set[tuple[str, str]]]]:
    """The code of the stage and of its gates, with the functions that ran."""
    folder = tmp_path_factory.mktemp("import")
    dataset, checkpoint = checkpoint_only()
    export_float(checkpoint, folder / "net.onnx")
    stage = stages()[NAME.asset]
    inputs = {"bought/source": folder / "net.onnx", "datasets/sidewalk": dataset}
    step = Step(stage, NAME, inputs, {}, folder / "onnx", folder / "scratch", None, lambda line: None, Project(folder))
    production = kind_of(NAME.asset)[0].production
    load(stage.code)
    found = {"run": (stage.code, called_during(lambda: production.run(step), tuple(OUTSIDE)))}
    for gate in stage.gates:
        judged = GateStep(stage, NAME, (gate,), folder / "onnx", {"datasets/sidewalk": dataset}, Project(folder))
        load(gate.code)
        found[gate.name] = (gate.code, called_during(lambda judged=judged: production.judge(judged), tuple(OUTSIDE)))
    return found


@pytest.mark.parametrize("name", ["run", "parity", "original"])
def test_every_function_that_runs_is_covered_by_the_code_version(called, name):
    entries, functions = called[name]
    code = Code()
    assert functions
    missed = sorted(
        f"{module}:{one}" for module, one in functions if module != DISPATCH and not code.covers(entries, module, one)
    )
    assert missed == [], "\n".join(missed)


def test_the_code_of_our_own_exports_does_not_reach_the_import():
    code, stage = Code(), stages()["robocup_detector/onnx"]
    module = "robot_assets.foreign.onnx_stage"
    assert not code.covers(stage.code, module, "import_onnx")
    assert Path(__file__).parents[2].joinpath(*module.split(".")).with_suffix(".py").is_file()
