"""``fleet/<group>``, ``rollout/<group>``, and targets whose device is what their robots report."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as some
from securesystemslib.signer import CryptoSigner

from robot_assets.core.errors import PlatformError
from robot_assets.fleet.assignments import Assignments
from robot_assets.fleet.desired import ROBOTS_FILE, ROOT_FILE, open_repository
from robot_assets.fleet.errors import FleetError
from robot_assets.fleet.layout import report as report_path
from robot_assets.fleet.level import fleet_version
from robot_assets.fleet.reports import Failure, Received, Report, State, sign_report
from robot_assets.fleet.repository import Repository
from robot_assets.fleet.rollout import decide
from robot_assets.fleet.spec import GroupSpec
from robot_assets.lineage.code import Code, load
from robot_assets.pipeline.graph import build_graph, traits
from robot_assets.pipeline.kind import Observer, Sighting, Step
from robot_assets.pipeline.kinds.platform import require_this_device
from robot_assets.pipeline.kinds.rollout import KIND, RolledOut, as_json
from robot_assets.pipeline.observing import observe, observed_version, why_unseen
from robot_assets.pipeline.params import parse_params
from robot_assets.pipeline.project import Project
from robot_assets.platforms.probe import Platform
from robot_assets.provenance.keys import public_half
from tests.lineage.code.tracing import called_during
from tests.platforms.sample_platforms import ORIN
from tests.sample_params import sample_document
from tests.small_release import SmallRelease, small_release

ROBOTS = ("mower_1", "mower_2", "mower_3")
SIGNERS = {robot: CryptoSigner.generate_ed25519() for robot in ROBOTS}
NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
OLD, NEW = f"{'0' * 32}.dir", f"{'1' * 32}.dir"
UPDATED = ORIN.model_copy(update={"l4t": "36.5.0"})
GROUP = GroupSpec.model_validate({"robots": ["mower_*"], "target": "orin", "models": ["sidewalk_detector"]})


def document(**group: Any) -> dict[str, Any]:
    params = sample_document()
    params["targets"]["orin"] = {"kind": "onnxruntime", "platform": "fleet", "gate": {"latency_ms_p95_max": 8}}
    params["models"]["sidewalk_detector"]["targets"] = ["cpu", "orin"]
    params["fleet"] = {"groups": {"yard": {**GROUP.model_dump(mode="json", exclude_unset=True), **group}}}
    return params


@dataclass
class Yard:
    """A project with a repository and enrolled robots."""

    root: Path

    @property
    def project(self) -> Project:
        return Project(self.root)

    @property
    def repository(self) -> Repository:
        return open_repository(self.root, self.project.params.fleet)

    def says(self, robot: str, device: Platform = ORIN, sequence: int = 1, age_s: float = 0, **given: Any) -> None:
        fields = {"state": State.IDLE, "running": None, "at": NOW.isoformat(), **given}
        fields = {"fingerprint": device.fingerprint, "platform": device.as_json(), **fields}
        report = Report(robot=robot, group="yard", sequence=sequence, **fields)
        self.repository.files.write(report_path("yard", robot), sign_report(report, SIGNERS[robot]))
        received_at = datetime.now(UTC).timestamp() - age_s
        os.utime(self.root / ".robot_assets" / "fleet" / report_path("yard", robot), (received_at, received_at))

    def sees(self, asset: str) -> Sighting | None:
        return observe(Observer(self.project), asset)


def project_at(root: Path, params: dict[str, Any]) -> Yard:
    (root / "data" / "fleet").mkdir(parents=True)
    (root / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    keys = "".join(f"{robot}: {public_half(signer)}\n" for robot, signer in SIGNERS.items())
    (root / ROBOTS_FILE).write_text(keys)
    return Yard(root)


@pytest.fixture
def yard(tmp_path: Path) -> Yard:
    made = project_at(tmp_path / "project", document())
    Repository.create(made.repository.files, made.repository.keys, made.root / ROOT_FILE)
    return made


def test_a_group_gives_a_release_what_robots_report_and_a_rollout():
    graph = build_graph(parse_params(document()))
    assert graph["fleet/yard"].is_observed
    assert graph["rollout/yard"].inputs == ("release/yard", "fleet/yard")
    assert graph["rollout/yard"].is_urgent
    assert (graph["rollout/yard"].policy, graph["rollout/yard"].pool) == ("auto", "general")
    assert not any(graph[name].is_urgent for name in graph if name != "rollout/yard")
    assert traits("fleet/yard").holds_bytes is False


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        (lambda params: params["fleet"]["groups"]["yard"].update(paused=True), "paused"),
        (lambda params: params["fleet"]["groups"]["yard"].update(release="0" * 12), "release"),
        (lambda params: params["fleet"].update(recalls=[{"hash": "0" * 12, "reason": "bad"}]), "recalls"),
    ],
)
def test_an_order_is_a_parameter_of_its_rollout_alone(change: Callable[[dict], None], cause: str):
    before, params = build_graph(parse_params(document())), document()
    change(params)
    after = build_graph(parse_params(params))
    changed = [name for name in after if after[name].params != before[name].params]
    assert changed == ["rollout/yard"]
    assert cause in str(after["rollout/yard"].params)


def test_credentials_in_the_url_of_the_repository_are_in_no_record():
    params = document()
    params["fleet"]["url"] = "s3://key:secret@bucket/fleet"
    stage = build_graph(parse_params(params))["rollout/yard"]
    assert "secret" not in str(stage.params)
    assert stage.spec.url == "s3://key:secret@bucket/fleet"


def test_an_order_to_one_group_leaves_the_others_alone():
    params = document()
    params["fleet"]["groups"]["street"] = {**params["fleet"]["groups"]["yard"], "robots": ["delivery_*"]}
    before = build_graph(parse_params(params))
    params["fleet"]["groups"]["street"]["paused"] = True
    after = build_graph(parse_params(params))
    assert [name for name in after if after[name].params != before[name].params] == ["rollout/street"]


def test_before_there_is_a_repository_nothing_is_seen_and_the_reason_is_a_command(tmp_path):
    made = project_at(tmp_path / "project", document())
    assert made.sees("fleet/yard") is None
    error = why_unseen(made.project, "fleet/yard")
    assert error.fix.startswith("robot-assets fleet init")
    assert made.sees("platform/orin") is None


def test_what_is_seen_has_the_robots_by_release_and_state_and_what_is_refused(yard):
    yard.says("mower_1", running=NEW, state=State.COMMITTED)
    yard.says("mower_2", age_s=7200)
    (yard.root / ".robot_assets" / "fleet" / "reports" / "yard" / "stranger.json").write_text("{}")
    sighting = yard.sees("fleet/yard")
    assert sighting.facts["robots"] == 3
    assert sighting.facts["robots by release"] == ["1 111111111111", "1 none"]
    assert sighting.facts["robots by state"] == ["1 committed", "1 idle"]
    assert sighting.facts["off"] == ["mower_2"]
    assert sighting.facts["never reported"] == ["mower_3"]
    assert sighting.facts["refused reports"][0].startswith("stranger.json: stranger is not enrolled")
    assert sighting.what == f"2 reports in {yard.repository.files.name}"


def test_a_repository_that_cannot_be_read_is_an_error(yard):
    yard.says("mower_1")
    folder = yard.root / ".robot_assets" / "fleet" / "reports" / "yard"
    os.rename(folder, f"{folder}-away")
    folder.write_text("a file where the folder was")
    with pytest.raises(FleetError):
        yard.sees("fleet/yard")


def test_a_step_reads_no_reports_but_the_version_that_was_observed_last(yard):
    yard.says("mower_1")
    assert yard.sees("fleet/yard") is not None
    assert observed_version(yard.project, "fleet/yard") is None
    assert yard.sees("platform/orin") is not None
    assert observed_version(yard.project, "platform/orin") is None


def test_the_device_of_a_target_is_what_all_its_robots_report(yard):
    for robot in ROBOTS:
        yard.says(robot)
    sighting = yard.sees("platform/orin")
    assert sighting.version == ORIN.fingerprint
    assert sighting.what == "the reports of 3 robots"
    assert sighting.facts == ORIN.as_json()


def test_the_device_of_most_robots_counts_and_the_others_are_named(yard):
    yard.says("mower_1", UPDATED)
    yard.says("mower_2")
    yard.says("mower_3", UPDATED)
    sighting = yard.sees("platform/orin")
    assert sighting.version == UPDATED.fingerprint
    assert sighting.what == "the reports of 2 robots (1 robot with another device)"
    assert sighting.facts["other devices"] == [
        "NVIDIA Jetson AGX Orin Developer Kit, Jetson Linux 36.4.3, aarch64: mower_2"
    ]


def test_robots_that_are_off_and_platforms_that_cannot_be_read_do_not_count(yard):
    yard.says("mower_1", age_s=7200)
    yard.says("mower_2", platform={"soc": 7})
    yard.says("mower_3", fingerprint="f" * 32)
    assert yard.sees("platform/orin") is None
    error = why_unseen(yard.project, "platform/orin")
    assert "no robot of yard has reported lately" in error.found
    assert "robot-assets fleet status" in error.fix


def test_an_engine_is_refused_where_the_device_is_not_that_of_the_robots():
    with pytest.raises(PlatformError) as caught:
        require_this_device("orin", "fleet", ORIN.fingerprint)
    assert f"platform/orin was observed as {ORIN.fingerprint[:8]}" in caught.value.found
    assert caught.value.fix.startswith("robot-assets platform probe")


def received(robot: str, age_s: float = 10, **given: Any) -> Received:
    at = NOW - timedelta(seconds=age_s)
    fields = {"state": State.COMMITTED, "running": OLD, "sequence": 1, "fingerprint": "f" * 32, **given}
    return Received(Report(robot=robot, group="yard", at=at.isoformat(), **fields), at)


def version(now: datetime = NOW, group: GroupSpec = GROUP, days: float = 7, **reports: Received) -> str:
    return fleet_version(group, ROBOTS, reports, days, now)


@pytest.mark.parametrize(
    "change",
    [
        {"running": NEW},
        {"state": State.PROVING, "working_on": NEW},
        {"state": State.ROLLING_BACK},
        {"state": State.HELD},
        {"failed": (Failure(release=NEW, reason="too slow"),)},
        {"proven": (OLD,)},
        {"fingerprint": "0" * 32},
        {"healthy_s": 600},
        {"age_s": 3601},
    ],
    ids=str,
)
def test_what_a_rollout_may_follow_changes_the_version(change):
    assert version(mower_1=received("mower_1", **change)) != version(mower_1=received("mower_1"))


@pytest.mark.parametrize(
    "change",
    [
        {"sequence": 9},
        {"healthy_s": 599},
        {"why": "the robot moves"},
        {"agent": "2.0"},
        {"state": State.DOWNLOADING, "working_on": NEW},
        {"age_s": 3599},
    ],
    ids=str,
)
def test_what_decides_nothing_changes_no_version(change):
    assert version(mower_1=received("mower_1", **change)) == version(mower_1=received("mower_1"))


def test_a_robot_that_is_silent_after_its_switch_changes_the_version():
    moving = {"state": State.PROVING, "working_on": NEW}
    group = GROUP.model_copy(update={"rollout": GROUP.rollout.model_copy(update={"silence_s": 100.0})})
    silent, heard = (version(group=group, mower_1=received("mower_1", age, **moving)) for age in (101, 99))
    assert silent != heard


def test_time_alone_changes_the_version_in_each_quarter_of_the_validity_of_the_timestamp():
    start = datetime(2026, 11, 27, tzinfo=UTC)
    hours = [version(start + timedelta(hours=hour), days=2) for hour in range(48)]
    assert len(set(hours)) in (4, 5)
    assert sum(one != other for one, other in pairwise(hours)) in (3, 4)


RELEASES = some.sampled_from((OLD, NEW, None))
FIELDS = {
    "state": some.sampled_from(State),
    "running": RELEASES,
    "working_on": RELEASES,
    "healthy_s": some.sampled_from((0.0, 599.0, 600.0, 1e6)),
    "age_s": some.sampled_from((1.0, 3599.0, 3601.0, 1e6)),
    "failed": some.sampled_from(((), (Failure(release=NEW, reason="a"),), (Failure(release=OLD, reason="a"),))),
    "proven": some.sampled_from(((), (OLD,), (NEW,), (OLD, NEW))),
}
REPORTS = some.fixed_dictionaries(FIELDS)
FLEETS = some.dictionaries(some.sampled_from(ROBOTS), REPORTS)


@given(FLEETS, some.sampled_from(ROBOTS), REPORTS, some.sets(some.sampled_from(sorted(FIELDS)), min_size=1, max_size=2))
def test_decisions_differ_only_where_versions_do(fleet, robot, changed, keys):
    """One robot reports something else in one or two fields."""
    before = {**fleet, robot: fleet.get(robot, changed)}
    after = {**before, robot: {**before[robot], **{key: changed[key] for key in keys}}}
    fleets = [{name: received(name, **fields) for name, fields in one.items()} for one in (before, after)]
    if version(**fleets[0]) == version(**fleets[1]):
        one, other = (decide(NEW, GROUP, ROBOTS, reports, NOW) for reports in fleets)
        assert (one.install, one.robots, one.phase, one.batch) == (
            other.install,
            other.robots,
            other.phase,
            other.batch,
        )


def test_a_decision_as_data_has_no_times():
    reports = {"mower_1": received("mower_1", running=NEW, healthy_s=700)}
    first = as_json("yard", decide(NEW, GROUP, ROBOTS, reports, NOW))
    assert first == as_json("yard", decide(NEW, GROUP, ROBOTS, reports, NOW + timedelta(minutes=1)))
    assert first["robots"] == {"mower_1": "baked", "mower_2": "never reported", "mower_3": "never reported"}


@pytest.fixture(scope="module")
def releases(tmp_path_factory: pytest.TempPathFactory) -> list[SmallRelease]:
    """Two releases of the group, the second one with an engine of another network."""
    folder = tmp_path_factory.mktemp("releases")
    return [small_release(folder / str(seed), group="yard", target="orin", seed=seed) for seed in range(2)]


@dataclass
class Rolling:
    """A group whose releases are published, and the step of its rollout."""

    yard: Yard
    releases: list[SmallRelease]

    def publish(self, *numbers: int) -> None:
        for number in numbers:
            self.yard.repository.publish_release("yard", self.releases[number].version, self.releases[number].path)

    def step(self, latest: int, out: str = "decision") -> Step:
        release = self.releases[latest]
        return Step(
            stage=build_graph(self.yard.project.params)["rollout/yard"],
            name=KIND.pattern.name(group="yard"),
            inputs={"release/yard": release.path},
            versions={"release/yard": release.version, "fleet/yard": "f" * 32},
            output=self.yard.root / out,
            scratch=self.yard.root / "scratch",
            store=self.yard.project.store,
            note=lambda line: None,
            project=self.yard.project,
        )

    def change(self, **group: Any) -> None:
        (self.yard.root / "params.yaml").write_text(yaml.safe_dump(document(**group), sort_keys=False))

    def run(self, latest: int = 0, out: str = "decision") -> RolledOut:
        return KIND.production.run(self.step(latest, out))

    @property
    def assigned(self) -> Assignments:
        return self.yard.repository.assignments("yard")


@pytest.fixture
def rolling(yard: Yard, releases: list[SmallRelease]) -> Rolling:
    for robot in ROBOTS:
        yard.says(robot)
    return Rolling(yard, releases)


def test_the_latest_release_is_assigned_to_the_first_batch(rolling):
    rolling.publish(0)
    made = rolling.run()
    assert made.has_changed
    assert rolling.assigned.release == rolling.releases[0].version
    assert rolling.assigned.bundle_sha256 == rolling.releases[0].bundle_sha256
    assert rolling.assigned.install == ("mower_1",)
    decision = json.loads((rolling.yard.root / "decision" / "decision.json").read_bytes())
    assert decision["install"] == ["mower_1"]
    assert KIND.production.facts(made).headline == made.decision.why


def test_the_same_reports_give_the_same_bytes_and_publish_nothing_new(rolling):
    rolling.publish(0)
    rolling.run()
    again = rolling.run(out="again")
    assert not again.has_changed
    first, second = (rolling.yard.root / out / "decision.json" for out in ("decision", "again"))
    assert first.read_bytes() == second.read_bytes()


def test_a_release_that_the_repository_lacks_is_published_where_the_key_is(rolling):
    rolling.run()
    assert rolling.yard.repository.bundle_sha256("yard", rolling.releases[0].version)
    assert rolling.assigned.release == rolling.releases[0].version


def test_a_release_that_the_repository_lacks_is_an_error_without_the_key(rolling):
    rolling.publish(1)
    (rolling.yard.repository.keys / "releases.pem").unlink()
    with pytest.raises(FleetError) as caught:
        rolling.run()
    assert "the key of the role releases is not here" in caught.value.found
    assert rolling.releases[1].version[:12] in caught.value.needed
    assert caught.value.fix.startswith("robot-assets fleet publish yard")
    assert not (rolling.yard.root / "decision").exists()


@pytest.mark.parametrize("role", ["assignments", "snapshot", "timestamp"])
def test_a_missing_key_is_named(rolling, role):
    rolling.publish(0)
    (rolling.yard.repository.keys / f"{role}.pem").unlink()
    with pytest.raises(FleetError, match=f"{role}.pem"):
        rolling.run()


def test_a_pin_names_an_earlier_release_by_its_first_digits(rolling):
    rolling.publish(0, 1)
    rolling.change(release=rolling.releases[0].version[:8])
    rolling.run(latest=1)
    assert rolling.assigned.release == rolling.releases[0].version


def test_a_pin_of_no_release_is_an_error_with_those_that_there_are(rolling):
    rolling.publish(0, 1)
    rolling.change(release="0" * 12)
    with pytest.raises(FleetError) as caught:
        rolling.run(latest=1)
    assert "fleet.groups.yard.release: 000000000000 is no release of the distribution repository" in caught.value.found
    assert all(release.version[:12] in caught.value.needed for release in rolling.releases)
    assert caught.value.fix.startswith("robot-assets fleet publish yard --release 000000000000 ")
    assert "; or: robot-assets fleet pin yard " in caught.value.fix


def test_nobody_gets_a_release_that_is_made_of_something_recalled(rolling):
    rolling.publish(0)
    rolling.run()
    dataset = hashlib.md5(b"dataset 0").hexdigest()  # as in the signed lineage of the small release
    params = {
        **document(),
        "fleet": {**document()["fleet"], "recalls": [{"hash": dataset[:12], "reason": "bad light"}]},
    }
    (rolling.yard.root / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    made = rolling.run(out="again")
    assert (rolling.assigned.release, rolling.assigned.install) == (None, ())
    assert rolling.assigned.recalls[0].reason == "bad light"
    assert "is recalled" in made.decision.why
    assert "bad light" in made.decision.why


def test_a_robot_on_which_the_release_failed_stops_the_rollout(rolling):
    rolling.publish(0)
    rolling.change(rollout={"failures_max": 0})
    failure = Failure(release=rolling.releases[0].version, reason="answers differ")
    rolling.yard.says("mower_1", sequence=2, failed=(failure,))
    made = rolling.run()
    assert str(made.decision.phase) == "stopped by failures"
    assert rolling.assigned.install == ()
    assert "answers differ" in KIND.production.facts(made).headline


def test_without_a_repository_the_step_names_the_command(tmp_path, releases):
    rolling = Rolling(project_at(tmp_path / "project", document()), releases)
    with pytest.raises(FleetError) as caught:
        rolling.run()
    assert "robot-assets fleet init" in caught.value.fix


def test_the_page_has_a_picture_and_a_row_for_each_robot_and_each_refused_report(rolling):
    rolling.publish(0)
    (rolling.yard.root / ".robot_assets" / "fleet" / "reports" / "yard" / "stranger.json").write_text("{}")
    page = KIND.production.page(rolling.step(0), rolling.run())
    picture, robots, refused = page.blocks
    assert picture.png.startswith(b"\x89PNG")
    assert list(robots.rows) == list(ROBOTS)
    assert list(refused.rows) == ["stranger.json"]


def test_every_function_that_runs_is_covered_by_the_code_version(rolling):
    outside = (
        "robot_assets.core.plugins",
        "robot_assets.lineage.code",
        "robot_assets.pipeline.kind",
        "robot_assets.pipeline.project",  # handed in by the caller
        "robot_assets.store",
    )
    rolling.publish(0)
    code, step = Code(), rolling.step(0)
    load(step.stage.code)
    called = called_during(lambda: KIND.production.run(step), outside)
    assert ("robot_assets.fleet.rollout", "decide") in called
    assert [f"{module}:{name}" for module, name in called if not code.covers(step.stage.code, module, name)] == []
