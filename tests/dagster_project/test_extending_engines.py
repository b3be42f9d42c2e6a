"""The engine kind of the plug-in of docs/extending.md in a whole project: built, gated and audited."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.plugins import install_documented, with_plugin

ENGINE = "small_detector/engine/reference"


@pytest.fixture(scope="module")
def installed(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    page = (repository / "docs" / "extending.md").read_text()
    return install_documented(page, "robot-assets-reference/", tmp_path_factory.mktemp("plugin"))


def add_target(document: dict) -> None:
    """Give the model a target of the plug-in's kind."""
    gate = document["targets"]["cpu"]["gate"]
    document["targets"]["reference"] = {"kind": "reference", "threads": 1, "gate": gate}
    document["models"]["small_detector"]["targets"].append("reference")


def test_an_engine_of_its_kind_is_built_gated_and_audited_beside_ours(copy_of_built, installed):
    copy_of_built.change(add_target)
    environment = with_plugin(copy_of_built.environment, installed)

    def robot_assets(*command: str, code: int = 0) -> dict:
        line = ["robot-assets", *command]
        done = subprocess.run(
            line, cwd=copy_of_built.root, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == code, f"{done.stdout}\n{done.stderr}"
        return json.loads(done.stdout)

    planned = robot_assets("plan", "small_detector", "--json", code=2)["plan"]
    assert {name for name in planned if "/engine/" in name} == {ENGINE}
    done = robot_assets("build", ENGINE, "--json")
    assert done["assets"][ENGINE]["headline"].endswith(" ms, not optimized")
    chain = robot_assets("audit", ENGINE, "--format", "json", code=1)  # its code is not committed
    head = chain["links"][0]
    assert {gate["name"]: gate["passed"] for gate in head["gates"]} == dict.fromkeys(
        ["accuracy", "parity", "latency", "resources"], True
    )
    assert "robot_assets_reference:build" in head["record"]["code"]
