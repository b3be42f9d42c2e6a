"""The plug-in of docs/extending.md, installed as a package: a stage kind that touches no file of this repository."""

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.plugins import files_in, install, with_plugin

OPERATORS = "small_detector/operators"
ONNX = "small_detector/onnx"


@dataclass(frozen=True)
class Extended:
    """A built project with the plug-in installed."""

    root: Path
    environment: dict[str, str]

    def run(self, *command: str, code: int = 0) -> str:
        done = subprocess.run(command, cwd=self.root, env=self.environment, capture_output=True, text=True)
        assert done.returncode == code, f"{done.stdout}\n{done.stderr}"
        return done.stdout

    def python(self, source: str) -> object:
        """What ``source`` prints as JSON, in a process that has the plug-in."""
        return json.loads(self.run(sys.executable, "-c", source))


@pytest.fixture(scope="module")
def installed(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    page = (repository / "docs" / "extending.md").read_text()
    files = {
        name: text
        for name, text in files_in(page).items()
        if name in ("pyproject.toml", "robot_assets_operators/__init__.py")
    }
    return install(files, tmp_path_factory.mktemp("plugin"))


@pytest.fixture
def extended(copy_of_built, installed) -> Extended:
    return Extended(copy_of_built.root, with_plugin(copy_of_built.environment, installed))


def test_it_is_planned_built_gated_shown_and_audited(extended):
    planned = json.loads(extended.run("robot-assets", "plan", "small_detector", "--json", code=2))["plan"]
    assert set(planned) == {OPERATORS}
    assert planned[OPERATORS]["causes"] == ["was never built"]
    assert (planned[OPERATORS]["policy"], planned[OPERATORS]["pool"]) == ("manual", "general")

    done = json.loads(extended.run("robot-assets", "build", OPERATORS, "--json"))
    assert set(done["built"]) == {OPERATORS}
    assert "different operators" in done["assets"][OPERATORS]["headline"]

    chain = json.loads(extended.run("robot-assets", "audit", OPERATORS, "--format", "json", code=1))
    head = chain["links"][0]
    assert (head["asset"], head["role"]) == (OPERATORS, "Operators")
    assert head["gates"][0]["name"] == "few_operators"
    assert head["gates"][0]["passed"]
    assert "robot_assets_operators:run" in head["record"]["code"]
    assert ONNX in {link["asset"] for link in chain["links"]}

    assert json.loads(extended.run("robot-assets", "plan", "small_detector", "--json"))["plan"] == {}


def test_its_gate_blocks_with_a_fix(extended):
    extended.run("robot-assets", "build", OPERATORS)
    with (extended.root / "params.yaml").open("a") as params:
        params.write("stages: {operators: {distinct_max: 2}}\n")
    planned = json.loads(extended.run("robot-assets", "plan", "small_detector", "--json", code=2))["plan"]
    assert planned[OPERATORS]["state"] == "gate pending"
    done = subprocess.run(
        ["robot-assets", "build", OPERATORS],
        cwd=extended.root,
        env=extended.environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "different operators (at most 2)" in done.stderr
    assert "raise stages.operators.distinct_max in params.yaml" in done.stderr


def test_it_is_in_the_graph_of_the_ui_and_in_the_sensor(extended):
    seen = extended.python(
        "import json, dagster as dg\n"
        "from dagster_project.definitions import defs\n"
        "from dagster_project.keys import asset_key\n"
        "from dagster_project.rebuilding.sensor import tick\n"
        "from robot_assets.pipeline.graph import build_graph\n"
        "from robot_assets.pipeline.project import find_project\n"
        f"node = defs.resolve_asset_graph().get(asset_key('{OPERATORS}'))\n"
        "project = find_project()\n"
        "with dg.DagsterInstance.get() as instance:\n"
        "    said = tick(project, instance, build_graph(project.params))\n"
        "print(json.dumps({'group': node.group_name, 'checks': sorted(key.name for key in node.check_keys),\n"
        "    'parents': [key.to_user_string() for key in node.parent_keys], 'description': node.description,\n"
        "    'tick': said.skip_reason.skip_message}))\n"
    )
    assert seen == {
        "group": "small_detector",
        "checks": ["builds", "few_operators"],
        "parents": [ONNX],
        "description": "The operators of the exported graph of small_detector, counted.",
        "tick": f"manual by policy: {OPERATORS}",
    }


def test_its_policy_and_its_parameters_are_keys_of_params_yaml(extended):
    with (extended.root / "params.yaml").open("a") as params:
        params.write("rebuild: {policy: {operators: auto}}\n")
    planned = json.loads(extended.run("robot-assets", "plan", "small_detector", "--json", code=2))["plan"]
    assert planned[OPERATORS]["policy"] == "auto"


def test_a_key_of_a_missing_kind_is_refused_with_the_near_miss(extended):
    with (extended.root / "params.yaml").open("a") as params:
        params.write("rebuild: {policy: {operatrs: auto}}\n")
    done = subprocess.run(
        ["robot-assets", "plan"], cwd=extended.root, env=extended.environment, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "rebuild.policy.operatrs: unknown " in done.stderr
    assert "did you mean 'operators'?" in done.stderr


def test_it_is_placed_like_a_builtin_stage(extended):
    tags = extended.python(
        "import json\n"
        "from robot_assets.pipeline.graph import build_graph\n"
        "from robot_assets.pipeline.params import parse_params\n"
        "from robot_assets.pipeline.placement import placed\n"
        "import yaml, pathlib\n"
        "document = yaml.safe_load(pathlib.Path('params.yaml').read_text())\n"
        "labels = {'robot-assets/target': 'cpu'}\n"
        "document |= {'execution': {'kind': 'kubernetes', 'images': {'amd64': 'registry/robot-assets:1'}},\n"
        "    'store': {'url': 's3://bucket/prefix'},\n"
        "    'pools': {'training': {}, 'cpu': {'node_labels': labels}}}\n"
        "document['targets']['cpu']['platform'] = 'node'\n"
        "params = parse_params(document)\n"
        f"stage = build_graph(params)['{OPERATORS}']\n"
        "print(json.dumps(placed(params, stage.pool)['op_tags']))\n"
    )
    assert tags["robot_assets/pool"] == "general"
    assert tags["dagster-k8s/config"]["container_config"]["image"] == "registry/robot-assets:1"


def test_an_edit_of_the_plug_in_makes_only_its_assets_stale(extended, tmp_path, installed):
    extended.run("robot-assets", "build", OPERATORS)
    copied = shutil.copytree(installed, tmp_path / "edited")
    module = copied / "robot_assets_operators" / "__init__.py"
    module.write_text(module.read_text().replace("node.op_type for node", "node.op_type.lower() for node"))
    edited = replace(extended, environment={**extended.environment, "PYTHONPATH": str(copied)})
    planned = json.loads(edited.run("robot-assets", "plan", "small_detector", "--json", code=2))["plan"]
    assert set(planned) == {OPERATORS}
    assert planned[OPERATORS]["causes"][0].startswith("code of robot_assets_operators:run changed")
