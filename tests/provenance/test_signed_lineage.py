"""The signed lineage of an engine: what trusted keys have signed about exactly its files, and ``engine inspect``."""

import json

from typer.testing import CliRunner

from robot_assets.cli.main import app
from robot_assets.provenance.public_key import Trust
from robot_assets.provenance.signed_lineage import signed_lineage
from tests.provenance.conftest import ENGINE, RUN, gate, with_head


def lineage_of(built, engine=None):
    return signed_lineage(engine or built.engine, built.project.trust(), built.project.store)


def inspected(built, monkeypatch, *options):
    monkeypatch.setenv("ROBOT_ASSETS_PROJECT", str(built.project.root))
    arguments = ["engine", "inspect", built.chain.head.version, *options]
    return CliRunner().invoke(app, arguments, catch_exceptions=False).stdout


def test_it_has_the_asset_the_build_and_the_results_of_the_gates(built):
    built.sign()
    built.sign_gates(with_head(built.chain, gates=(gate("accuracy"), gate("latency", passed=False))))
    found = lineage_of(built)
    assert (found.asset, found.version, found.run_id) == (ENGINE, built.chain.head.version, RUN)
    assert (found.gates_passed, found.gates_failed, found.gates_open) == (("accuracy",), ("latency",), ())
    assert found.as_json()["gates_passed"] == ["accuracy"]


def test_gates_that_nobody_evaluated_are_not_named(built):
    built.sign()
    assert lineage_of(built).as_json() | {"gates_passed": [], "gates_failed": []} == lineage_of(built).as_json()


def test_an_engine_that_nobody_has_signed_has_none(built):
    assert lineage_of(built) is None


def test_an_engine_that_only_other_keys_have_signed_has_none(built):
    built.sign()
    assert signed_lineage(built.engine, Trust(()), built.project.store) is None


def test_other_files_than_the_signed_ones_have_none(built, robot):
    built.sign()
    folder = robot(built)
    (folder / "more.txt").write_text("not signed")
    assert lineage_of(built, folder) is None


def test_inspect_shows_it_first_to_a_person_and_as_data_to_a_machine(built, monkeypatch):
    built.sign()
    built.sign_gates()
    shown = inspected(built, monkeypatch)
    assert shown.splitlines()[0].split() == ["asset", ENGINE, built.chain.head.version]
    assert "passed: accuracy, latency" in shown
    assert json.loads(inspected(built, monkeypatch, "--json"))["lineage"] == lineage_of(built).as_json()


def test_inspect_of_an_engine_that_nobody_has_signed_has_no_lineage(built, monkeypatch):
    assert "lineage" not in json.loads(inspected(built, monkeypatch, "--json"))
