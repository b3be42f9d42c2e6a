"""`robot-assets fleet demo`: three real agents on this machine, and a project that is as before afterwards."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from robot_assets.agent.state import read_state, running_agent
from robot_assets.core.errors import RobotAssetsError
from robot_assets.fleet.desired import ROBOTS_FILE
from robot_assets.pipeline.project import PROJECT_VARIABLE
from robot_assets.release.bundle import BUNDLE_FILE, parse_bundle
from tests.dagster_project.fleet_project import GROUP, FleetProject, fleet_project

ROBOTS = ("mower_1", "mower_2")


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[FleetProject]:
    """A group of two robots that are not enrolled yet, with a quick rollout."""
    with fleet_project(tmp_path / "project") as built:
        rollout = {"batches": [1, "100%"], "bake_s": 0.5, "prove_s": 0, "failures_max": 0}
        built.change_group(robots=list(ROBOTS), rollout=rollout)
        (built.root / ROBOTS_FILE).unlink()
        built.commit()
        yield built


def started(fleet: FleetProject) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [Path(sys.executable).parent / "robot-assets", "fleet", "demo"],
        cwd=fleet.root,
        env={
            **os.environ,
            PROJECT_VARIABLE: str(fleet.root),
            "DAGSTER_HOME": str(fleet.root / ".dagster"),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        bufsize=1,
    )


def agents(fleet: FleetProject) -> list[int | None]:
    return [running_agent(fleet.root / ".robot_assets" / "robots" / robot / "state") for robot in ROBOTS]


def test_a_bad_release_stops_at_the_canary_and_a_recall_brings_all_robots_back(fleet):
    params = (fleet.root / "params.yaml").read_bytes()
    demo = started(fleet)
    output, _ = demo.communicate(timeout=400)
    assert demo.returncode == 0, output
    assert "stopped by failures: 1 robot failed, and failures_max is 0" in output
    assert (fleet.root / "params.yaml").read_bytes() == params
    assert agents(fleet) == [None, None]
    assert fleet.decision()["phase"] == "complete"
    canary, other = (read_state(fleet.root / ".robot_assets" / "robots" / robot / "state") for robot in ROBOTS)
    assert canary.current == other.current == fleet.release
    assert ["answers" in one.reason for one in canary.failed] == [True]
    assert other.failed == ()


def test_an_interrupted_demo_leaves_no_order_and_no_agent(fleet):
    fleet.change_group(rollout={"batches": ["100%"], "bake_s": 0, "prove_s": 0})  # at its first order soon
    params = (fleet.root / "params.yaml").read_bytes()
    demo = started(fleet)
    for line in demo.stdout or ():
        if line.startswith("next:"):  # of the first order
            break
    assert (fleet.root / "params.yaml").read_bytes() != params
    assert None not in agents(fleet)
    demo.send_signal(signal.SIGTERM)
    output = demo.communicate(timeout=100)[0]
    assert demo.returncode == 128 + signal.SIGINT, output
    assert "Traceback" not in output
    assert (fleet.root / "params.yaml").read_bytes() == params
    assert agents(fleet) == [None, None]


def test_a_planted_release_is_the_release_but_for_its_answers(fleet):
    from dagster_project.local.planted_releases import plant, with_wrong_answers

    version = plant(fleet.project, GROUP, fleet.release, with_wrong_answers)
    assert version != fleet.release
    good = parse_bundle((fleet.project.store.open(fleet.release) / BUNDLE_FILE).read_bytes())
    published = fleet.repository.bundle_sha256(GROUP, version)
    assert published is not None
    assert len(good.files) > 1


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"robots": ["mower_*"]}, "robots is mower_*"),
        ({"robots": ["mower_1"]}, "robots is mower_1"),
        ({"paused": True}, "a pin, a pause or recalls"),
    ],
)
def test_a_group_that_cannot_be_simulated_is_refused(fleet, change, found):
    from dagster_project.local.fleet_demo import prepare

    fleet.change_group(**change)
    with pytest.raises(RobotAssetsError, match=found.replace("*", r"\*")):
        prepare(fleet.project, None)


def test_a_repository_of_real_robots_and_an_unknown_group_are_refused(fleet):
    from dagster_project.local.fleet_demo import prepare

    with pytest.raises(RobotAssetsError, match="no group 'gardn'"):
        prepare(fleet.project, "gardn")
    fleet.change(lambda params: params["fleet"].update(url="s3://fleet/robots"))
    with pytest.raises(RobotAssetsError, match=r"fleet\.url is s3://fleet/robots"):
        prepare(fleet.project, None)


def test_what_somebody_else_has_edited_meanwhile_stays(fleet, capsys):
    from dagster_project.local.fleet_demo import Demo, prepare
    from robot_assets.cli.console import console

    demo, path = Demo(prepare(fleet.project, None), fleet.instance, console()), fleet.root / "params.yaml"
    with demo._restoring_params():
        demo._ordered = b"an order of the demo\n"
        edited = yaml.safe_dump({**yaml.safe_load(path.read_text()), "rebuild": {"enabled": False}})
        path.write_text(edited)
    assert path.read_text() == edited
    assert "was edited by somebody else" in capsys.readouterr().out
