"""An artifact is stored and recorded before its page is drawn: an error in a page costs no training.

The stage is one of a plug-in, whose page does what the test asks for; nothing of ours is patched.
"""

import json
import signal
import subprocess
from pathlib import Path

import dagster as dg
import pytest

from dagster_project.keys import asset_key
from tests.dagster_project.conftest import Checkout
from tests.plugins import install, with_plugin

ASSET = "toil/once"
PACKAGE = {
    "pyproject.toml": """\
[build-system]
requires = ["setuptools>=80"]
build-backend = "setuptools.build_meta"

[project]
name = "robot-assets-toil"
version = "0.1.0"

[project.entry-points."robot_assets.stage_kinds"]
toil = "robot_assets_toil:KIND"

[tool.setuptools]
packages = ["robot_assets_toil"]
""",
    "robot_assets_toil/__init__.py": '''\
"""A stage that counts how often it had to work, and a page that fails as the environment says."""

import os
import signal
from pathlib import Path

from robot_assets.core.page import Facts, Page, Text
from robot_assets.core.publishing import publishing_directory
from robot_assets.lineage.graph import AssetTraits, Stage
from robot_assets.pipeline.kind import Production, StageKind, entry
from robot_assets.pipeline.names import NamePattern


def stages(params):
    yield Stage("toil/once", "toil", (entry(run),))


def run(step):
    with open("worked.txt", "a") as worked:
        worked.write("worked\\n")
    with publishing_directory(step.output) as staging:
        (staging / "result.txt").write_text("a result\\n")
    return "a result"


def facts(summary):
    if os.environ.get("FACTS") == "fail":
        raise KeyError("no such figure")
    return Facts(summary)


def page(step, summary):
    match os.environ.get("PAGE"):
        case "raise":
            raise ValueError("nothing to draw")
        case "full disk":
            with open("/dev/full", "w") as full:
                full.write("a picture")
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
    return Page((Text((step.output / "result.txt").read_text()),), {"measured": 3}, "a measured result")


KIND = StageKind(
    name="toil",
    pattern=NamePattern("toil/once"),
    group="toil",
    traits=AssetTraits(),
    stages=stages,
    production=Production("Work.", "auto", (), run, facts, page),
)
''',
}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install(PACKAGE, tmp_path_factory.mktemp("plugin"))


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    root = tmp_path / "project"
    root.mkdir()
    (root / "params.yaml").write_text("store: {url: store}\ndatasets: {}\nmodels: {}\ntargets: {}\n")
    return Checkout(root)


@pytest.fixture
def build(checkout, installed):
    def run(**environment: str) -> subprocess.CompletedProcess[str]:
        surroundings = with_plugin({**checkout.environment, **environment}, installed)
        command = ["robot-assets", "build", "--json"]
        return subprocess.run(command, cwd=checkout.root, env=surroundings, capture_output=True, text=True)

    return run


def times_worked(checkout: Checkout) -> int:
    return len((checkout.root / "worked.txt").read_text().splitlines())


def page_of(checkout: Checkout) -> dict:
    with checkout.instance() as instance:
        records = instance.fetch_observations(asset_key(ASSET), limit=1).records
    return {key: value.value for key, value in records[0].asset_observation.metadata.items()} if records else {}


def test_a_page_follows_its_materialization(checkout, build):
    done = build()
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["assets"][ASSET]["headline"] == "a measured result"
    assert page_of(checkout) == {"headline": "a measured result", "report": "a result\n", "measured": 3}
    with checkout.instance() as instance:
        events = instance.get_records_for_run(instance.get_runs()[0].run_id).records
    order = [record.event_log_entry.dagster_event_type for record in events]
    kinds = dg.DagsterEventType
    assert order.index(kinds.ASSET_MATERIALIZATION) < order.index(kinds.ASSET_OBSERVATION)


@pytest.mark.parametrize(
    ("page", "reason"), [("raise", "ValueError: nothing to draw"), ("full disk", "No space left on device")]
)
def test_a_failing_page_is_a_warning_and_rebuilds_nothing(checkout, build, page, reason):
    done = build(PAGE=page)
    assert done.returncode == 0, done.stderr
    assert reason in page_of(checkout)["page_problem"]
    assert checkout.latest(ASSET).metadata["headline"].value == "a result"
    assert json.loads(build().stdout)["built"] == {}
    assert times_worked(checkout) == 1


def test_failing_figures_are_a_warning_and_rebuild_nothing(checkout, build):
    done = build(FACTS="fail")
    assert done.returncode == 0, done.stderr
    assert "no such figure" in checkout.latest(ASSET).metadata["page_problem"].value
    assert json.loads(build().stdout)["built"] == {}
    assert times_worked(checkout) == 1


def test_a_kill_while_drawing_keeps_the_artifact_and_rebuilds_nothing(checkout, build):
    assert build(PAGE="kill").returncode == -signal.SIGKILL
    version = checkout.latest(ASSET).tags["dagster/data_version"]
    assert checkout.project.store.has(version)
    again = build()
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["built"] == {}
    assert times_worked(checkout) == 1
