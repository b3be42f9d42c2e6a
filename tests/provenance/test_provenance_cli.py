"""``verify``, ``key`` and ``engine get`` as a person and as a machine call them."""

import json
import os
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from robot_assets.cli import engine as engine_cli
from robot_assets.cli.main import app
from robot_assets.core.errors import EngineError
from robot_assets.provenance.errors import ProvenanceError
from robot_assets.provenance.keys import KEY_VARIABLE
from tests.provenance.conftest import ENGINE


@pytest.fixture
def signed(built, monkeypatch):
    """A built project with a signed engine; commands run in it and resolve the engine by name."""
    built.sign()
    built.sign_gates()
    monkeypatch.chdir(built.project.root)
    monkeypatch.setattr(engine_cli, "open_asset", {ENGINE: built.engine}.__getitem__)
    return built


def invoke(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)


def get(tmp_path, *more):
    return invoke("engine", "get", ENGINE, "--out", tmp_path / "robot", *more)


def test_a_delivered_engine_verifies(signed, tmp_path):
    done = get(tmp_path)
    assert done.exit_code == 0
    assert "engine.onnx, manifest.json of " + signed.chain.head.version in done.stdout
    assert "3 signed statements" in done.stdout
    assert sorted(os.listdir(tmp_path / "robot")) == ["engine.onnx", "manifest.json", "provenance.intoto.jsonl"]
    assert len((tmp_path / "robot" / "provenance.intoto.jsonl").read_bytes().splitlines()) == 3
    checked = invoke("verify", tmp_path / "robot")
    assert checked.exit_code == 0
    assert checked.stdout.splitlines()[0] == f"{ENGINE}  {signed.chain.head.version}"
    assert checked.stdout.splitlines()[-1].startswith("yes: ")


def test_a_machine_gets_the_same_results(signed, tmp_path):
    got = json.loads(get(tmp_path, "--json").stdout)
    assert got["version"] == signed.chain.head.version
    assert got["statements"] == 3
    found = json.loads(invoke("verify", tmp_path / "robot", "--json").stdout)
    assert found["passed"] is True
    assert [check["name"] for check in found["checks"]] == ["manifest", "signature", "files", "gates", "platform"]


def test_an_altered_engine_is_refused_with_exit_code_1_and_a_fix(signed, tmp_path):
    get(tmp_path)
    with (tmp_path / "robot" / "engine.onnx").open("r+b") as stream:
        stream.write(b"\0")
    done = invoke("verify", tmp_path / "robot" / "engine.onnx")
    assert done.exit_code == 1
    assert "engine.onnx was altered" in done.stdout
    assert "no: do not run this engine\n  fix: " in done.stdout
    assert json.loads(invoke("verify", tmp_path / "robot", "--json").stdout)["passed"] is False


def test_an_engine_is_verified_by_the_name_of_its_asset(signed):
    assert invoke("verify", ENGINE).exit_code == 0


def test_an_older_engine_is_replaced_and_anything_else_is_not(signed, tmp_path):
    get(tmp_path)
    (tmp_path / "robot" / "NOTICE").write_text("of an older version")
    assert get(tmp_path).exit_code == 0
    assert not (tmp_path / "robot" / "NOTICE").exists()
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "diary.txt").write_text("mine")
    with pytest.raises(ProvenanceError, match="exists and is not an engine"):
        invoke("engine", "get", ENGINE, "--out", tmp_path / "home")
    assert (tmp_path / "home" / "diary.txt").read_text() == "mine"


def test_an_engine_is_not_written_into_itself(signed, tmp_path):
    get(tmp_path)
    for out in (tmp_path / "robot", tmp_path / "robot" / "inner", tmp_path):
        with pytest.raises(ProvenanceError):
            invoke("engine", "get", tmp_path / "robot", "--out", out)
    assert invoke("verify", tmp_path / "robot").exit_code == 0


def test_a_delivered_engine_can_be_delivered_again_with_its_statements(signed, tmp_path):
    get(tmp_path)
    assert invoke("engine", "get", tmp_path / "robot", "--out", tmp_path / "next").exit_code == 0
    for name in os.listdir(tmp_path / "robot"):
        assert (tmp_path / "next" / name).read_bytes() == (tmp_path / "robot" / name).read_bytes()


def test_a_folder_that_cannot_be_written_to_is_named(signed, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ProvenanceError, match="cannot be written"):
        invoke("engine", "get", ENGINE, "--out", tmp_path / "file" / "robot")


def test_an_engine_without_a_signature_is_delivered_with_a_warning(built, tmp_path, monkeypatch):
    monkeypatch.chdir(built.project.root)
    done = invoke("engine", "get", built.chain.head.version, "--out", tmp_path / "robot")
    assert done.exit_code == 0
    assert "no signed statement" in done.stdout
    assert invoke("verify", tmp_path / "robot").exit_code == 1


def test_another_kind_of_artifact_is_refused(signed, tmp_path):
    with pytest.raises(EngineError, match=r"manifest\.json"):
        invoke("engine", "get", signed.chain.links[1].version, "--out", tmp_path / "robot")
    assert not (tmp_path / "robot").exists()


def test_a_robot_gives_the_keys_that_it_trusts(signed, tmp_path, monkeypatch):
    get(tmp_path)
    key = str(signed.project.trust().keys[0])
    monkeypatch.chdir("/")
    with pytest.raises(ProvenanceError, match="no trusted key"):
        invoke("verify", tmp_path / "robot")
    assert invoke("verify", tmp_path / "robot", "--trusted", key).exit_code == 0
    assert invoke("verify", tmp_path / "robot", "--trusted", "ed25519:" + bytes(range(32)).hex()).exit_code == 1


def test_a_key_is_created_shown_and_never_replaced(built, tmp_path, monkeypatch):
    monkeypatch.chdir(built.project.root)
    with pytest.raises(ProvenanceError, match="robot-assets key create"):
        invoke("key", "show")
    made = invoke("key", "create")
    shown = invoke("key", "show").stdout.strip()
    assert shown.startswith("ed25519:")
    assert f"  - {shown}\n" in made.stdout
    with pytest.raises(ProvenanceError, match="exists"):
        invoke("key", "create")
    elsewhere = tmp_path / "elsewhere.pem"
    other = json.loads(invoke("key", "create", "--out", elsewhere, "--json").stdout)["public_key"]
    monkeypatch.setenv(KEY_VARIABLE, str(elsewhere))
    assert json.loads(invoke("key", "show", "--json").stdout) == {"path": str(elsewhere), "public_key": other}
    assert other != shown


@pytest.mark.parametrize("verb", [["verify"], ["key", "create"], ["key", "show"], ["engine", "get"]])
def test_help_has_an_example(verb):
    assert "Example: robot-assets" in invoke(*verb, "--help").stdout


def test_a_mistake_gives_an_error_and_no_traceback(tmp_path):
    command = [sys.executable, "-c", "from robot_assets.cli.main import main; main()", "verify", "nowhere"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr
