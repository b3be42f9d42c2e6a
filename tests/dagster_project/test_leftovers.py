"""How a build ends that could not build all: each cause with a fix of its own; interrupts; errors of the system."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
from dataclasses import replace
from pathlib import Path

import dagster as dg
import pytest
import yaml

from dagster_project.instance.status import ProjectStatus, read
from dagster_project.local.leftovers import BuildError, refuse_leftovers
from dagster_project.producing.stage_runner import failing_readably
from robot_assets.lineage.staleness import State, Status
from tests.dagster_project.conftest import SMALL_PARAMS, Checkout

REPORT = (
    "robot-assets platform report orin   # on the device; or from here: ssh DEVICE robot-assets platform probe --json "
    "| robot-assets platform report orin --probe -"
)


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    """A recorded data set without its pointer, and a device that has not reported itself."""
    dataset = SMALL_PARAMS["datasets"]["small"] | {"source": {"kind": "dvc", "pointer": "data/raw/yard.dvc"}}
    params = {
        **SMALL_PARAMS,
        "datasets": {"yard": dataset},
        "models": {"m": SMALL_PARAMS["models"]["small_detector"] | {"dataset": "yard", "targets": ["orin"]}},
        "targets": {"orin": SMALL_PARAMS["targets"]["cpu"] | {"platform": "reported"}},
    }
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    return Checkout(tmp_path)


def test_each_cause_has_its_own_fix_and_what_follows_from_it_is_not_named(checkout: Checkout) -> None:
    done = checkout.run("robot-assets", "build", "m", check=False)
    assert done.returncode == 1
    said = done.stderr
    assert said.startswith("error: 2 causes left assets")
    assert f"platform/orin has never been reported: the device of orin reports itself\n      fix: {REPORT}\n" in said
    assert "raw/yard: no pointer at" in said
    assert "--name yard" in said
    assert "m/checkpoint" not in said
    assert "  fix: robot-assets build m   # after the fixes above\n" in said
    assert "same build again" not in said


def test_a_device_that_never_reported_is_the_error_and_the_fix_works(checkout: Checkout) -> None:
    done = checkout.run("robot-assets", "build", "platform/orin", check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: platform/orin has never been reported")
    assert done.stderr.endswith(f"  fix: {REPORT}\n")
    checkout.run("bash", "-c", done.stderr.rpartition("fix: ")[2])
    assert checkout.build("platform/orin")["built"] == {}
    shell = done.stderr.rpartition("from here: ")[2].replace("ssh DEVICE ", "")
    checkout.run("bash", "-c", shell)


def test_the_failed_gates_have_a_line_for_each_fix(copy_of_built: Checkout) -> None:
    gate = {"accuracy_drop_points_max": 5.0, "latency_ms_p95_max": 0.0001, "memory_mib_max": 0.01}
    copy_of_built.change(lambda params: params["targets"]["cpu"].update(gate=gate))
    done = copy_of_built.run("robot-assets", "build", check=False)
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    start = lines.index("error: 2 causes left assets that were not built or are not to be used:")
    for first, name in ((start + 1, "latency"), (start + 3, "resources")):
        assert lines[first].startswith(f"    small_detector/engine/cpu: the gate {name} did not pass: ")
        assert "fix:" not in lines[first]
        assert lines[first + 1].startswith("      fix: ")


def status_of(checkout: Checkout, instance: dg.DagsterInstance, **states: Status) -> ProjectStatus:
    """The status in which everything is fresh but some assets, by the last part of their names."""
    status = read(checkout.project, instance)
    found = {name: states.get(name.rpartition("/")[2], Status(State.FRESH, desired_state="x")) for name in status.found}
    return replace(status, found=found)


def test_what_changed_during_a_build_is_built_by_the_same_command(built: Checkout) -> None:
    with built.instance() as instance:
        status = status_of(built, instance, ptq=Status(State.STALE, (), "state"), qat=Status(State.BEHIND, ("ptq",)))
        with pytest.raises(BuildError) as caught:
            refuse_leftovers(built.project, instance, status, "robot-assets build small_detector")
    assert caught.value.found.startswith("small_detector/ptq was built, and is not up to date: ")
    assert caught.value.fix == "robot-assets build small_detector"


def test_nothing_left_is_no_error(built: Checkout) -> None:
    with built.instance() as instance:
        refuse_leftovers(built.project, instance, status_of(built, instance), "robot-assets build")


def test_an_interrupted_build_ends_with_one_line_and_leaves_no_unfinished_run(tmp_path: Path) -> None:
    source = SMALL_PARAMS["datasets"]["small"]["source"] | {"images": 9000}
    params = {
        **SMALL_PARAMS,
        "datasets": {"small": SMALL_PARAMS["datasets"]["small"] | {"source": source}},
        "models": {},
        "targets": {},
    }
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    checkout = Checkout(tmp_path)
    command = ["robot-assets", "build", "raw/small"]
    with subprocess.Popen(
        command, cwd=tmp_path, env=checkout.environment, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr.readline().startswith("raw/small  missing")
        process.send_signal(signal.SIGINT)
        said = process.stderr.read()
    assert process.returncode == 130
    assert said.strip().startswith("interrupted")
    assert len(said.strip().splitlines()) == 1
    with checkout.instance() as instance:
        assert all(run.is_finished for run in instance.get_runs())


def test_an_unexpected_error_in_a_step_is_one_line_with_the_asset_and_a_traceback_only_for_debug(
    tmp_path: Path,
) -> None:
    code = (
        "import sys; from robot_assets.cli.main import main; from robot_assets.store.store import Store\n"
        "def add(self, path): raise ZeroDivisionError('no [bold] frames')\n"
        "Store.add = add; sys.argv = ['robot-assets', 'build', 'raw/small', *sys.argv[1:]]; main()"
    )
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(SMALL_PARAMS, sort_keys=False))
    checkout = Checkout(tmp_path)
    done = checkout.run("python", "-c", code, check=False)
    assert done.returncode == 1
    assert "error: raw/small failed: ZeroDivisionError: no [bold] frames\n" in done.stderr
    assert "Traceback" not in done.stderr
    assert "fix: robot-assets ui   # the log of run " in done.stderr
    done = checkout.run("python", "-c", code, "--debug", check=False)
    assert "in add" in done.stderr


def test_a_full_disk_in_a_step_is_named(tmp_path: Path) -> None:
    with pytest.raises(dg.Failure) as caught, failing_readably(tmp_path):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    found = caught.value.metadata["found"].value
    assert found.startswith("no space left on ")
    assert str(tmp_path) in found
    assert caught.value.allow_retries is False


def test_only_a_failed_connection_in_a_step_may_be_tried_again() -> None:
    with pytest.raises(dg.Failure) as caught, failing_readably():
        raise ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))
    assert caught.value.allow_retries is True
    with pytest.raises(dg.Failure) as caught, failing_readably():
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), "/x")
    assert caught.value.allow_retries is False


def test_the_json_of_a_failed_build_has_the_three_parts(checkout: Checkout) -> None:
    done = checkout.run("robot-assets", "build", "platform/orin", "--json", check=False)
    assert json.loads(done.stdout)["error"]["fix"] == REPORT
