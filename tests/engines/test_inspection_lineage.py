"""``engine inspect`` tells what trusted keys have signed about an engine, and nothing where nobody has."""

import json

from typer.testing import CliRunner

from robot_assets.cli import inspecting
from robot_assets.cli.engine import app
from robot_assets.engines.inspection import describe_engine
from robot_assets.provenance.signing import sign_engine, sign_gates
from tests.provenance.conftest import ENGINE, RUN, gate, with_head


def test_an_engine_tells_where_it_comes_from_and_how_its_gates_ended(workshop):
    sign_engine(workshop.project, workshop.chain)
    sign_gates(workshop.project, with_head(workshop.chain, gates=(gate("accuracy"), gate("latency", passed=False))))
    found = describe_engine(workshop.engine, workshop.project)["lineage"]
    assert (found["asset"], found["version"], found["run_id"]) == (ENGINE, workshop.chain.head.version, RUN)
    assert (found["gates_passed"], found["gates_failed"]) == (["accuracy"], ["latency"])


def test_a_person_reads_it_at_the_top(workshop, monkeypatch):
    sign_engine(workshop.project, workshop.chain)
    sign_gates(workshop.project, workshop.chain)
    monkeypatch.setenv("ROBOT_ASSETS_PROJECT", str(workshop.project.root))
    if not any(command.name == "inspect" for command in app.registered_commands):
        app.command("inspect")(inspecting.inspect)
    shown = CliRunner().invoke(app, ["inspect", workshop.chain.head.version], catch_exceptions=False).stdout
    assert shown.splitlines()[0].split() == ["asset", ENGINE, workshop.chain.head.version]
    assert "passed: accuracy, latency" in shown


def test_an_engine_that_nobody_has_signed_says_nothing_of_its_lineage(workshop):
    found = describe_engine(workshop.engine, workshop.project)
    assert "lineage" not in found
    json.dumps(found, allow_nan=False)


def test_files_that_are_not_those_that_were_signed_have_no_lineage(workshop, robot):
    sign_engine(workshop.project, workshop.chain)
    folder = robot(workshop)
    (folder / "more.txt").write_text("not signed")
    assert "lineage" not in describe_engine(folder, workshop.project)
