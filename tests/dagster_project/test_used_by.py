"""``audit`` of robots and groups, and ``audit --used-by``, by the real command on a real instance and repository."""

import json
import tomllib
from contextlib import chdir
from importlib.metadata import EntryPoint
from pathlib import Path

import dagster as dg
import pytest

from dagster_project.commands.used_by import users_of
from dagster_project.keys import asset_key
from dagster_project.local.instance import open_instance
from robot_assets.cli import plugins
from robot_assets.core import extras
from robot_assets.fleet.reports import Failure
from tests.cli.commands import Finished
from tests.dagster_project.test_history import written
from tests.fleet_project import GROUP, FleetProject, fleet_project, run_here

DATASET, CHECKPOINT, ONNX, ENGINE, RELEASE = (
    "datasets/sidewalk",
    "sidewalk_detector/checkpoint",
    "sidewalk_detector/onnx",
    "sidewalk_detector/engine/cpu",
    f"release/{GROUP}",
)
RECORDED, CODE, COMMIT = "aabbccdd" * 4, "c0de" * 8, "0123456789abcdef" * 2 + "01234567"
LOST = "7" * 32 + ".dir"


class Built(FleetProject):
    """A fleet project whose releases are in the history of its instance."""

    def record(self, asset: str, version: str, inputs: dict[str, str], code_version: str = CODE) -> None:
        facts = written(asset, version, inputs, code_version=code_version, git_commit=COMMIT).model_dump(mode="json")
        with open_instance(self.root, writes=True) as instance:
            instance.report_runless_asset_event(
                dg.AssetMaterialization(
                    asset_key(asset),
                    tags={"dagster/data_version": version},
                    metadata={"record": dg.MetadataValue.json(facts)},
                )
            )

    def history_of(self, name: str, recorded: str) -> None:
        """The records of a release: a data set, and what was made of it."""
        made = self.releases[name]
        [model] = made.bundle.models.values()
        checkpoint, onnx = (f"{digit * 8}{recorded[:24]}.dir" for digit in ("1", "2"))
        self.record(DATASET, f"{recorded}.dir", {})
        self.record(CHECKPOINT, checkpoint, {DATASET: f"{recorded}.dir"})
        self.record(ONNX, onnx, {CHECKPOINT: checkpoint})
        self.record(ENGINE, model.version, {ONNX: onnx})
        self.record(RELEASE, made.version, {ENGINE: model.version})

    def run(self, *arguments: str, code: int = 0) -> Finished:
        with chdir(self.root):
            return run_here(*arguments, code=code, home=self.root / ".dagster")

    def json(self, *arguments: str, code: int = 0) -> dict:
        found: dict = json.loads(self.run("audit", *arguments, "--json", code=code).out)
        return found


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Built:
    """Two releases, robots that run either, one that runs an unknown release and one that never reported."""
    root: Path = tmp_path_factory.mktemp("fleet")
    fleet_project(root)
    made = Built(root)
    made.release("old", dataset_version=f"{RECORDED}.dir")
    made.release("new", dataset_version=f"{'5' * 32}.dir")
    made.history_of("old", RECORDED)
    made.history_of("new", "5" * 32)
    made.assign("new", "canary")
    made.report("canary", "new", why="waits for nothing", failed=(Failure(release=LOST, reason="too slow"),))
    made.report("delivery_1", "old")
    made.report("delivery_2", LOST)
    return made


def test_a_data_set_is_followed_to_the_robots_that_run_it(built):
    found = built.json("--used-by", RECORDED[:6])
    assert [(one["kind"], one["asset"]) for one in found["found"]] == [("version", DATASET)]
    assert [(one["asset"], one["is_latest"]) for one in found["engines"]] == [(ENGINE, False)]
    assert [(one["version"], one["is_latest"]) for one in found["releases"]] == [(built.releases["old"].version, False)]
    assert [one["robot"] for one in found["robots"]] == ["delivery_1"]
    assert [(one["robot"], one["release"]) for one in found["unknown"]] == [("delivery_2", LOST)]


def test_people_read_tables(built):
    out = built.run("audit", "--used-by", RECORDED).out
    assert f"{DATASET} {RECORDED[:12]}" in out
    assert "made of it: 1 engine version, 1 release version and 1 robot" in out
    assert "delivery_1  outdoor" in out
    assert "unknown: delivery_2 runs 777777777777; neither this history nor the repository has it" in out


@pytest.mark.parametrize("digest", [CODE, COMMIT[:7], CODE.upper()])
def test_code_and_commits_lead_to_every_robot_that_is_known(built, digest):
    found = built.json("--used-by", digest)
    assert len(found["engines"]) == len(found["releases"]) == 2
    assert [one["robot"] for one in found["robots"]] == ["canary", "delivery_1"]


def test_a_key_is_found_in_the_statements_of_what_robots_run(built):
    """The store of this project has no engine; the repository has the signed statements of both."""
    line = built.releases["new"].key_line
    for key in (line, built.releases["new"].key.key_id[:10]):
        assert [one["robot"] for one in built.json("--used-by", key)["robots"]] == ["canary", "delivery_1"]


def test_what_only_the_repository_has_is_found(built):
    """The image of a file that this history does not know: the sha256 of the engine."""
    digest = next(file.sha256 for file in built.releases["old"].bundle.files if file.path.endswith(".onnx"))
    found = built.json("--used-by", digest)
    assert found["found"] == []
    assert [one["robot"] for one in found["robots"]] == ["delivery_1"]


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("deadbeef00", "nothing in this history has a hash that begins with deadbeef00"),
        ("abc", "'abc' is too short"),
        ("datasets/sidewalk", "'datasets/sidewalk' is no hash"),
        ("ed25519:abc", "'ed25519:abc' is no public key"),
        ("[red]x\x1b[0m", "is no hash"),
    ],
)
def test_an_unknown_hash_is_an_error(built, typed, found):
    error = built.run("audit", "--used-by", typed, code=1).err
    assert found in error
    assert "\x1b" not in error
    assert "fix: " in error


@pytest.mark.parametrize(
    "arguments",
    [
        ("--used-by", "abcdef", ENGINE),
        ("--used-by", "abcdef", "--find", "weights=x"),
        ("--used-by", "abcdef", "--format", "html"),
        ("--used-by", "abcdef", "--out", "x.txt"),
        (ENGINE, "--json", "--format", "html"),
        (),
    ],
)
def test_options_that_contradict_one_another_are_refused(built, arguments):
    assert "needed: " in built.run("audit", *arguments, code=2).err


def test_a_robot_is_audited_by_the_release_that_it_reports(built):
    done = built.run("audit", "canary", code=1)  # no gate was evaluated in this history
    assert "a robot of outdoor" in done.out
    assert f"release/outdoor {built.releases['new'].version[:12]}, committed" in done.out
    assert "777777777777: too slow" in done.out
    assert DATASET in done.out
    found = built.json("canary", code=1)
    assert found["robot"]["report"]["running"] == built.releases["new"].version
    assert [link["asset"] for link in found["links"]][:2] == [RELEASE, ENGINE]
    assert built.json("delivery_1", code=1)["links"][0]["version"] == built.releases["old"].version


def test_a_robot_that_runs_a_release_of_another_history_is_unknown(built):
    done = built.run("audit", "delivery_2", code=1)
    assert "note: delivery_2 runs a release that this history does not have, 777777777777" in done.err
    assert built.json("delivery_2", code=1)["links"] == []
    assert "has no chain to show as html" in built.run("audit", "delivery_2", "--format", "html", code=1).err


def test_a_robot_that_never_reported_is_an_error(built):
    assert "delivery_3 of outdoor has never sent a report" in built.run("audit", "delivery_3", code=1).err


def test_a_mistyped_robot_has_near_misses(built):
    assert "did you mean delivery_1" in built.run("audit", "delivery_11", code=1).err


def test_a_group_is_audited_by_what_its_robots_run(built):
    found = built.json(RELEASE, code=1)
    assert found["links"][0]["version"] == built.releases["new"].version
    releases = {one["version"]: one for one in found["fleet"]["releases"]}
    assert releases[built.releases["new"].version]["robots"] == ["canary"]
    assert releases[built.releases["new"].version]["is_latest"]
    assert releases[built.releases["old"].version]["robots"] == ["delivery_1"]
    assert not releases[LOST]["is_known"]
    assert found["fleet"]["never_reported"] == ["delivery_3"]
    assert found["fleet"]["no_release"] == []
    out = built.run("audit", f"fleet/{GROUP}", code=1).out
    assert f"robot-assets audit {built.releases['old'].version}" in out
    assert "unknown: not in this history" in out
    assert "never reported" in out


def test_a_group_without_reports_still_has_its_chain(built):
    moved = built.root / ".robot_assets" / "fleet"
    moved.rename(moved.with_name("elsewhere"))
    try:
        found = [built.run("audit", RELEASE, code=1), built.run("audit", "--used-by", RECORDED)]
        robot = built.run("audit", "canary", code=1)
    finally:
        moved.with_name("elsewhere").rename(moved)
    for done in found:
        assert "there is no distribution repository" in done.out + done.err
        assert ENGINE in done.out
        assert not done.out.startswith("\n")
    assert "there is no distribution repository" in robot.err


def test_a_recall_searches_the_history_and_says_what_robots_do_not_see(built, monkeypatch):
    """The code that put a release together is in no statement of its engines."""
    monkeypatch.setattr(plugins, "users_of", lambda: users_of)
    before, new = built.text, built.releases["new"].version
    built.record(RELEASE, new, {ENGINE: built.releases["new"].bundle.models["small"].version}, code_version="ba5e" * 8)
    out = built.run("fleet", "recall", "ba5e" * 8, "--reason", "x").out
    assert f"outdoor: 1 release ({new[:12]}), 1 robot (canary)" in out
    assert f"no statement in release {new[:12]} of outdoor names it" in out
    (built.root / "params.yaml").write_text(before)
    out = built.run("fleet", "recall", RECORDED, "--reason", "x").out
    assert "1 robot (delivery_1)" in out
    assert "warning" not in out
    (built.root / "params.yaml").write_text(before)


def test_the_search_of_the_history_is_an_entry_point():
    """It is installed with the package, whose metadata may be older than pyproject.toml here."""
    declared = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    name = declared["project"]["entry-points"][plugins.USERS]["dagster"]
    assert EntryPoint("dagster", name, plugins.USERS).load() is users_of


def test_a_recall_needs_no_orchestrator(built, monkeypatch):
    monkeypatch.setattr(plugins, "users_of", lambda: users_of)
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    before = built.text
    out = built.run("fleet", "recall", RECORDED, "--reason", "x").out
    assert "history of the builds: dagster is not installed" in out
    assert "1 robot (delivery_1)" in out
    (built.root / "params.yaml").write_text(before)
