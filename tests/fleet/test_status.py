"""``fleet status`` and the orders of people, by the real commands in a project with a repository and signed reports."""

import json
import shutil
from contextlib import chdir
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import yaml

from robot_assets.cli import completion
from robot_assets.fleet.desired import ROBOTS_FILE
from robot_assets.fleet.errors import FleetError
from robot_assets.fleet.layout import report as report_path
from robot_assets.fleet.reports import Failure, State
from robot_assets.fleet.status import Renewal, fleet_status, until
from robot_assets.fleet.view import FleetView
from robot_assets.provenance.subjects import BUNDLE
from tests.fleet_project import GROUP, FleetProject, fleet_project, public, run_here

RECORDED = "aabbccdd" * 4
LOST = "7" * 32 + ".dir"


@pytest.fixture(scope="module")
def template(tmp_path_factory) -> FleetProject:
    """An old and a new release; the canary runs the new one, two robots the old one, one never reported."""
    made = fleet_project(tmp_path_factory.mktemp("template"))
    made.release("old", dataset_version=f"{RECORDED}.dir")
    made.release("new")
    made.assign("new", "canary")
    made.report("canary", "new")
    made.report("delivery_1", "old", proven=(made.releases["old"].version,))
    made.report("delivery_2", "old")
    return made


@pytest.fixture
def made(template, tmp_path) -> FleetProject:
    """A copy of the project for one test."""
    shutil.copytree(template.root, tmp_path, dirs_exist_ok=True)
    return replace(template, root=tmp_path, releases=dict(template.releases))


def fleet(made, *arguments, code=0):
    """What a command of ``fleet`` prints; after a failure, its error."""
    with chdir(made.root):
        done = run_here("fleet", *arguments, code=code)
    return done.err if code else done.out


def status(made, *arguments, code=0):
    with chdir(made.root):
        found: dict = json.loads(run_here("fleet", "status", *arguments, "--json", code=code).out)
    return found


def group(made):
    return yaml.safe_load(made.text)["fleet"]["groups"][GROUP]


def version(made, name):
    return made.releases[name].version


def test_status_says_where_a_rollout_is_and_why(made):
    found = status(made)["groups"][GROUP]
    assert (found["release"], found["assigned"]) == (version(made, "new"), version(made, "new"))
    assert (found["phase"], found["batch"], found["batches"]) == ("baking", 1, 3)
    assert {name: one["status"] for name, one in found["robots"].items()} == {
        "canary": "committed",
        "delivery_1": "waiting",
        "delivery_2": "waiting",
        "delivery_3": "never reported",
    }
    assert found["robots"]["canary"]["why_not"] == "healthy for 30 s of 10 min"
    assert found["robots"]["delivery_1"]["running"] == version(made, "old")
    assert found["notes"] == []
    out = fleet(made, "status", GROUP)
    assert f"outdoor: baking, release {version(made, 'new')[:12]}" in out
    assert "its agent has not reported yet" in out


def test_what_robots_say_cannot_drive_the_terminal(made):
    made.report("canary", "old", state=State.HELD, why="\x1b[2J[red]no\x07")
    out = fleet(made, "status")
    assert "\x1b" not in out
    assert "\x07" not in out
    assert "[red]no" in out


def test_reports_that_do_not_count_are_named(made):
    files = made.repository.files
    files.write(report_path(GROUP, "stranger"), b"{}")
    files.write(report_path(GROUP, "delivery_2"), files.read(report_path(GROUP, "delivery_1")))
    found = status(made)["groups"][GROUP]
    assert "stranger is not enrolled" in found["refused"]["stranger.json"]
    assert "delivery_2.json" in found["refused"]
    assert "refused report stranger.json: stranger is not enrolled" in fleet(made, "status")


def test_a_release_that_is_published_and_not_assigned_is_a_note(made):
    made.release("newer")
    [note] = status(made)["groups"][GROUP]["notes"]
    assert note.startswith(f"release {version(made, 'newer')[:12]} was published last and is not assigned")


def test_a_pin_shows_before_it_is_carried_out(made):
    fleet(made, "pin", GROUP, version(made, "old")[:10])
    found = status(made)["groups"][GROUP]
    assert (found["release"], found["pin"]) == (version(made, "old"), version(made, "old"))
    assert found["notes"] == [
        f"release {version(made, 'old')[:12]} is not assigned yet: robot-assets build rollout/{GROUP}"
    ]


def test_metadata_that_expires_soon_is_named(made):
    view, now = FleetView(made.root, made.project.params.fleet), datetime.now(UTC)
    assert fleet_status(view, [GROUP], now).renewals == ()
    later = fleet_status(view, [GROUP], now + timedelta(days=6))
    assert [(one.role, one.is_expired) for one in later.renewals] == [("timestamp", False), ("snapshot", False)]
    much_later = fleet_status(view, [GROUP], now + timedelta(days=400))
    assert all(one.is_expired for one in much_later.renewals)
    assert {one.role for one in much_later.renewals} == {*view.published.expiries}
    assert until(Renewal("root", now + timedelta(days=3), False), now) == "expires in 3 days"
    assert until(Renewal("root", now - timedelta(hours=3), True), now) == "expired 3 h ago"


def with_a_broken_group(made):
    """A second group, whose robot is not enrolled."""
    document = yaml.safe_load(made.text)
    document["fleet"]["groups"]["indoor"] = {"robots": ["r9"], "target": "cpu", "models": ["sidewalk_detector"]}
    (made.root / "params.yaml").write_text(yaml.safe_dump(document))


def test_a_group_whose_robots_are_not_enrolled_does_not_hide_the_others(made):
    with_a_broken_group(made)
    found = status(made, code=1)
    assert list(found["groups"]) == [GROUP]
    assert "r9 of the group indoor is not enrolled" in found["errors"]["indoor"]["found"]
    assert "is not enrolled" in fleet(made, "status", "indoor", code=1)
    assert status(made, GROUP)["errors"] == {}


def test_a_recall_goes_on_where_the_robots_of_a_group_are_not_known(made):
    with_a_broken_group(made)
    out = fleet(made, "recall", RECORDED, "--reason", "x")
    assert "warning: which robots of indoor it affects is not known: r9 of the group indoor is not enrolled" in out
    assert "2 robots (delivery_1, delivery_2)" in out


def test_a_large_group_shows_the_robots_that_need_attention(made):
    with (made.root / ROBOTS_FILE).open("a") as stream:
        stream.writelines(f"delivery_{number}: {public(str(number))}\n" for number in range(10, 260))
    out = fleet(made, "status")
    assert "canary" in out
    assert "54 more robots: 52 never reported, 2 waiting; --json has all" in out
    assert len(status(made)["groups"][GROUP]["robots"]) == 254


def test_without_a_repository_status_says_how_to_make_one(made):
    (made.root / ".robot_assets" / "fleet").rename(made.root / "elsewhere")
    for arguments in (["status"], ["abort", GROUP], ["approve", GROUP], ["pin", GROUP, "0f3c5a7d"]):
        error = fleet(made, *arguments, code=1)
        assert "there is no distribution repository" in error
        assert "robot-assets fleet init" in error
    fleet(made, "pause", GROUP)  # an order needs no repository


def test_damaged_metadata_is_an_error_with_its_file(made):
    path = made.root / ".robot_assets" / "fleet" / "metadata" / "timestamp.json"
    path.write_bytes(path.read_bytes()[:100])
    assert "timestamp.json is damaged" in fleet(made, "status", code=1)


def test_orders_say_what_changed_and_what_follows(made):
    before = made.text
    out = fleet(made, "pause", GROUP)
    assert "+       paused: true" in out
    assert f"git commit -m 'Pause {GROUP}' params.yaml" in out
    assert f"robot-assets build rollout/{GROUP}   # now; the sensor does it by itself" in out
    assert group(made)["paused"] is True
    assert "fleet.groups.outdoor.paused is true already" in fleet(made, "pause", GROUP)
    assert status(made)["groups"][GROUP]["phase"] == "paused"
    assert "-       paused: true" in fleet(made, "resume", GROUP)
    assert made.text == before


def test_a_rollout_that_only_people_start_is_not_promised_to_the_sensor(made):
    document = yaml.safe_load(made.text)
    document["rebuild"] = {"policy": {"rollout": "manual"}}
    (made.root / "params.yaml").write_text(yaml.safe_dump(document))
    assert "the sensor" not in fleet(made, "pause", GROUP)


def test_abort_goes_back_to_what_most_robots_ran_before(made):
    before = made.text
    out = fleet(made, "abort", GROUP)
    assert f"release: {version(made, 'old')}" in out
    assert group(made)["release"] == version(made, "old")
    fleet(made, "pin", GROUP, "latest")
    assert made.text == before


def test_an_order_that_moves_robots_says_that_the_group_is_paused(made):
    fleet(made, "pause", GROUP)
    assert "outdoor is paused: no robot moves before robot-assets fleet resume outdoor" in fleet(made, "abort", GROUP)
    assert "outdoor is paused" in fleet(made, "pin", GROUP, "latest")
    assert "is paused" not in fleet(made, "resume", GROUP)


def test_orders_are_facts_for_machines(made):
    found = json.loads(fleet(made, "abort", GROUP, "--json"))
    assert found["changed"]
    assert found["place"] == "fleet.groups.outdoor.release"
    assert [line["text"].strip() for line in found["lines"]] == [f"release: {version(made, 'old')}"]
    assert found["next"][0].startswith("git commit")
    found = json.loads(fleet(made, "recall", RECORDED, "--reason", "x", "--json"))
    assert "outdoor: 1 release" in " ".join(found["notes"])
    assert not json.loads(fleet(made, "recall", RECORDED, "--reason", "x", "--json"))["changed"]


def test_abort_goes_back_to_what_was_proven_where_all_run_the_present_release(made):
    old = version(made, "old")
    for robot in ("canary", "delivery_1", "delivery_2"):
        made.report(robot, "new", proven=(old, version(made, "new")) if robot == "canary" else ())
    fleet(made, "abort", GROUP)
    assert group(made)["release"] == old


def test_abort_is_refused_where_no_robot_can_go_back(made):
    for robot in ("canary", "delivery_1", "delivery_2"):
        made.report(robot, "new")
    error = fleet(made, "abort", GROUP, code=1)
    assert "no robot of outdoor reports another release" in error
    assert f"robot-assets fleet pin {GROUP} {version(made, 'old')[:12]}" in error
    fleet(made, "recall", RECORDED[:8], "--reason", "mislabeled")
    assert f"robot-assets fleet pause {GROUP}" in fleet(made, "abort", GROUP, code=1)


def approving(made):
    document = yaml.safe_load(made.text)
    document["fleet"]["groups"][GROUP]["rollout"] = {"approval": True, "bake_s": 10}
    (made.root / "params.yaml").write_text(yaml.safe_dump(document))


def test_the_next_batch_is_approved(made):
    approving(made)
    assert status(made)["groups"][GROUP]["phase"] == "waiting for approval"
    fleet(made, "approve", GROUP)
    assert group(made)["approved"] == {"release": version(made, "new"), "batch": 2}
    assert status(made)["groups"][GROUP]["batch"] == 2
    fleet(made, "approve", GROUP, "--batch", "3")
    assert group(made)["approved"]["batch"] == 3


@pytest.mark.parametrize(
    ("prepare", "arguments", "found"),
    [
        (lambda made: None, (), "batches of outdoor need no approval"),
        (approving, ("--batch", "9"), "has 3 batches, not 9"),
        (lambda made: (approving(made), made.report("canary", "old")), (), "does not wait for approval"),
    ],
)
def test_what_cannot_be_approved_is_refused(made, prepare, arguments, found):
    prepare(made)
    error = fleet(made, "approve", GROUP, *arguments, code=1)
    assert found in error
    assert "approved" not in group(made)


@pytest.mark.parametrize(
    ("typed", "found"),
    [("99999999", "is no release of outdoor"), ("", "2 releases of outdoor"), ("newest", "is no release of outdoor")],
)
def test_only_a_published_release_is_pinned(made, typed, found):
    error = fleet(made, "pin", GROUP, typed, code=1 if typed else 2)
    assert found in error or not typed
    assert "release" not in group(made)


def test_an_unknown_group_has_near_misses(made):
    error = fleet(made, "pin", "outdor", "latest", code=1)
    assert "params.yaml has no group 'outdor'" in error
    assert "fix: robot-assets fleet pin outdoor latest" in error


def test_a_recall_says_first_what_it_affects(made):
    before = made.text
    made.report("delivery_3", LOST)
    out = fleet(made, "recall", RECORDED[:8].upper(), "--reason", "cones  labeled as\npeople")
    assert f"aabbccdd is datasets/drawn {RECORDED[:12]}" in out
    assert f"outdoor: 1 release ({version(made, 'old')[:12]}), 2 robots (delivery_1, delivery_2)" in out
    assert "unknown, their releases have no statements here: delivery_3 (777777777777)" in out
    assert yaml.safe_load(made.text)["fleet"]["recalls"] == [
        {"hash": RECORDED, "reason": "cones labeled as people"}  # all of its digits
    ]
    assert "is recalled already" in fleet(made, "recall", RECORDED, "--reason", "again")
    assert "is recalled with its datasets/drawn" in fleet(made, "pin", GROUP, version(made, "old")[:8], code=1)
    assert "is recalled with its datasets/drawn: cones" in status(made)["groups"][GROUP]["notes"][0]
    fleet(made, "recall", RECORDED[:8], "--undo")
    assert made.text == before


def test_a_recall_of_the_present_release_stops_the_rollout(made):
    line = made.releases["new"].key_line
    out = fleet(made, "recall", line, "--reason", "stolen")
    assert "2 releases" in out
    assert "3 robots (canary, delivery_1, delivery_2)" in out
    assert "no published release of outdoor is free of it: a robot that has no other set keeps it (on_recall)" in out
    found = status(made)["groups"][GROUP]
    assert found["phase"] == "stopped by failures"
    assert found["why"].endswith("is recalled with its signing key: stolen")
    assert found["install"] == []


def test_a_recall_is_written_even_where_nothing_can_be_looked_up(made):
    (made.root / ".robot_assets" / "fleet").rename(made.root / "elsewhere")
    assert "warning: what it affects is not known" in fleet(made, "recall", RECORDED, "--reason", "x")
    assert yaml.safe_load(made.text)["fleet"]["recalls"] == [{"hash": RECORDED, "reason": "x"}]


def test_a_recall_of_something_unknown_is_a_warning(made):
    assert "nothing that is known here is made of deadbeef" in fleet(made, "recall", "deadbeef", "--reason", "x")


@pytest.mark.parametrize(
    ("arguments", "found", "code"),
    [
        (("dead", "--reason", "x"), "'dead' is no hash", 2),
        (("datasets/drawn", "--reason", "x"), "is no hash that can be recalled", 2),
        (("ed25519:abc", "--reason", "x"), "'ed25519:abc' is no public key", 2),
        ((RECORDED,), "no --reason", 2),
        ((RECORDED, "--reason", " \n"), "an empty --reason", 2),
        (("deadbeef", "--undo"), "fleet.recalls has no entry that begins with deadbeef", 1),
    ],
)
def test_a_wrong_recall_changes_nothing(made, arguments, found, code):
    before = made.text
    assert found in fleet(made, "recall", *arguments, code=code)
    assert made.text == before


def test_orders_without_a_fleet_are_refused(made):
    document = yaml.safe_load(made.text)
    del document["fleet"]
    (made.root / "params.yaml").write_text(yaml.safe_dump(document))
    for arguments in (["status"], ["pause", GROUP], ["recall", RECORDED, "--reason", "x"]):
        assert "params.yaml describes no group of robots" in fleet(made, *arguments, code=1)


def test_a_failed_robot_is_shown_with_its_reason(made):
    failed = (Failure(release=version(made, "new"), reason="answers differ"),)
    made.report("canary", "old", failed=failed)
    found = status(made)["groups"][GROUP]
    assert found["robots"]["canary"]["why_not"] == "answers differ"
    assert found["phase"] == "stopped by failures"


def test_robots_are_completed_where_an_audit_takes_them(made, monkeypatch):
    monkeypatch.chdir(made.root)
    assert completion.audited("delivery") == ["delivery_1", "delivery_2", "delivery_3"]
    assert f"fleet/{GROUP}" in completion.audited("fleet")


def test_statements_that_are_damaged_name_the_command_that_replaces_them(made, monkeypatch):
    monkeypatch.chdir(made.root)
    new = made.releases["new"]
    (stated,) = [file.sha256 for file in new.bundle.files if file.path.endswith(BUNDLE)]
    blob = made.root / ".robot_assets" / "fleet" / "blobs" / stated
    content = blob.read_bytes()
    blob.write_bytes(content.swapcase())
    view = FleetView(made.root, made.project.params.fleet)
    with pytest.raises(FleetError, match="is missing, damaged or altered") as caught:
        view.parts(GROUP, new.version)
    made.project.store.add(new.path)
    assert caught.value.fix.endswith(" --repair   # where releases.pem is")
    run_here(*caught.value.fix.partition("#")[0].split()[1:])
    assert blob.read_bytes() == content
    assert view.parts(GROUP, new.version)
