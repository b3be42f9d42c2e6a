"""The plug-in of docs/extending.md, installed as a package: an engine kind that touches no file of this repository."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.detector_chain import whole
from tests.plugins import install_documented, with_plugin

PARAMS = """
import json, sys
from pathlib import Path

from robot_assets.core.errors import RobotAssetsError
from robot_assets.pipeline.params import parse_params


def params(**target):
    dataset = {
        "source": {"kind": "dvc", "pointer": "data/raw/yard.dvc"},
        "classes": ["red", "green", "blue"],
        "split": {"train": 0.6, "val": 0.2, "test": 0.2},
        "calibration_images": 16,
    }
    model = {
        "task": "detection",
        "dataset": "yard",
        "targets": ["robot"],
        "network": {"input_height": 64, "input_width": 96, "width": 8, "depth": 1},
        "training": {"epochs": 4, "batch_size": 8, "learning_rate": 0.004},
        "quantization": {"ptq": {}, "qat": {"epochs": 1, "learning_rate": 0.0001}},
    }
    gate = {"gate": {"latency_ms_p95_max": 10_000, "accuracy_drop_points_max": 8, "parity_differing_share_max": 0.2}}
    return parse_params(
        {
            "store": {"url": "store"},
            "datasets": {"yard": dataset},
            "models": {"small_detector": model},
            "targets": {"robot": {"kind": "reference", **gate, **target}},
        }
    )


"""

GRAPH = """
from robot_assets.lineage.code import Code
from robot_assets.pipeline.graph import build_graph

stage, code = build_graph(params(threads=2))["small_detector/engine/robot"], Code()
build, gate = code.modules(stage.code), code.modules(stage.gates[0].code)
print(json.dumps({"params": stage.params, "build": build, "gate": gate}))
"""

MISTAKE = """
try:
    params(**json.loads(sys.argv[1]))
except RobotAssetsError as error:
    print(json.dumps(error.found))
"""

BUILD = """
from robot_assets.engines.kind import BuildContext
from robot_assets.engines.registry import engine_kind

onnx, engine = map(Path, sys.argv[1:])
entry, notes = params(threads=2).targets["robot"], []
kind = engine_kind(entry.kind)
summary = kind.build(onnx, entry.target, engine, BuildContext(None, notes.append))
shown = {"facts": kind.facts(summary).headline, "page": kind.page(summary, engine, onnx, Path("scratch")).headline}
print(json.dumps({"notes": notes, **shown}))
"""

GATES = """
from robot_assets.engines.gate import GATES, check_engine

engine, dataset, checkpoint, onnx = map(Path, sys.argv[1:])
gate = params().targets["robot"].gate
found = check_engine(engine, gate, GATES, dataset=dataset, baseline=checkpoint, onnx=onnx)
print(json.dumps({name: [verdict.passed, verdict.facts] for name, verdict in found.items()}))
"""


@pytest.fixture(scope="module")
def installed(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    page = (repository / "docs" / "extending.md").read_text()
    return install_documented(page, "robot-assets-reference/", tmp_path_factory.mktemp("plugin"))


def run(folder: Path, environment: dict[str, str], *command: str, code: int = 0) -> str:
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == code, f"{done.stdout}\n{done.stderr}"
    return done.stdout if code == 0 else done.stderr


def python(folder: Path, installed: Path, program: str, *arguments: object) -> object:
    """The JSON that ``program`` prints in a process that has the plug-in."""
    command = (sys.executable, "-c", PARAMS + program, *map(str, arguments))
    return json.loads(run(folder, with_plugin(os.environ, installed), *command))


@pytest.fixture(scope="module")
def engine(installed, tmp_path_factory) -> tuple[Path, dict]:
    """An engine of the plug-in's kind, and the output of its build."""
    folder = tmp_path_factory.mktemp("built") / "engine"
    return folder, python(folder.parent, installed, BUILD, whole().onnx, folder)


def test_a_target_of_its_kind_is_part_of_params_yaml_and_of_the_graph(installed, tmp_path):
    found = python(tmp_path, installed, GRAPH)
    assert found["params"] == {"target": {"kind": "reference", "threads": 2}}
    ours = ("robot_assets.engines.onnxruntime", "robot_assets.engines.tensorrt")
    for reached in (found["build"], found["gate"]):
        assert "robot_assets_reference" in reached
        assert not [name for name in reached if name.startswith(ours)]


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ({"threads": 0}, "targets.robot.threads"),
        ({"thread": 2}, "targets.robot.thread: unknown key; did you mean 'threads'?"),
        ({"kind": "refrence"}, "targets.robot.kind: unknown kind 'refrence'; did you mean 'reference'?"),
    ],
)
def test_a_mistake_in_such_a_target_is_named_with_its_key(installed, tmp_path, target, message):
    assert message in python(tmp_path, installed, MISTAKE, json.dumps(target))


def test_it_is_built_and_described(engine):
    folder, built = engine
    assert sorted(path.name for path in folder.iterdir()) == ["engine.onnx", "manifest.json"]
    assert built["notes"][0].endswith("nodes, none optimized")
    assert built["facts"].startswith("int8 0 of 23 convolutions, ")
    assert built["page"].endswith(" ms, not optimized")


def test_the_gates_judge_it(engine, installed, tmp_path):
    chain = whole()
    found = python(tmp_path, installed, GATES, engine[0], chain.dataset, chain.checkpoint, chain.onnx)
    assert {name: passed for name, (passed, _) in found.items()} == dict.fromkeys(found, True)
    assert found["accuracy"][1]["map50"] > 0.2
    assert found["resources"][1]["memory_of"] == "process"


def test_the_command_line_inspects_and_compares_it(engine, installed, tmp_path):
    def command(*arguments: object) -> dict:
        line = ("robot-assets", "engine", *map(str, arguments), "--json")
        return json.loads(run(tmp_path, with_plugin(os.environ, installed), *line))

    described = command("inspect", engine[0])
    assert (described["manifest"]["kind"], described["runs_on"]) == ("reference", "2 threads, not optimized")
    compared = command("compare", engine[0], whole().onnx)
    assert compared["parity"]["differing_share"] == 0
    assert "latency" not in compared["second"], "a kind without load_float is not timed beside an ONNX"


def test_without_the_plug_in_its_engine_is_refused_with_the_name_of_its_kind(engine, tmp_path):
    refused = run(tmp_path, dict(os.environ), "robot-assets", "engine", "inspect", str(engine[0]), code=1)
    assert f"{engine[0]}/manifest.json: no engine kind 'reference'; installed are onnxruntime, tensorrt" in refused
    assert "entry point group robot_assets.engine_kinds" in refused
