"""Code that is edited during a run: the result of the run must not count as a result of the new code.

Dagster stamps a materialization with the code version of the definitions (its issue 33708). Here real builds run from
a copy of both packages, and the copy is edited under them.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from dagster_project.instance.reader import latest_data_version
from tests.dagster_project.conftest import Checkout, new_checkout

BEGINS = "    from robot_assets.data.simulate import simulate\n"
WAITS = """
    import pathlib, time
    pathlib.Path("at_work").touch()
    while not pathlib.Path("go_on").exists():
        time.sleep(0.02)
"""
COMMAND = "import sys, robot_assets.cli; assert sys.argv.pop(1) in robot_assets.cli.__file__; " + (
    "from robot_assets.cli.main import main; main()"
)
SECONDS_TO_BEGIN = 120.0


@dataclass(frozen=True)
class Copy:
    """A project, and the packages that its commands run from. Their simulation waits for ``go_on``."""

    checkout: Checkout
    packages: Path

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        environment = {**self.checkout.environment, "PYTHONPATH": str(self.packages)}
        return subprocess.Popen(
            [sys.executable, "-c", COMMAND, str(self.packages), *arguments],
            cwd=self.checkout.root,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str) -> tuple[int, str, str]:
        process = self.start(*arguments)
        out, err = process.communicate()
        return process.returncode, out, err

    def wait_until_at_work(self, process: "subprocess.Popen[str]") -> None:
        deadline = time.monotonic() + SECONDS_TO_BEGIN
        while not (self.checkout.root / "at_work").exists():
            if process.poll() is not None or time.monotonic() > deadline:
                process.kill()
                raise AssertionError("\n".join(process.communicate()))
            time.sleep(0.02)

    def go_on(self) -> None:
        (self.checkout.root / "go_on").touch()

    def edit(self, module: str) -> None:
        """Change the code of a module, but not its behaviour."""
        with open(self.packages / f"{module.replace('.', os.sep)}.py", "a") as source:
            source.write("\nglobals()['EDITED'] = True\n")

    def plan(self, name: str) -> dict:
        """The planned step of an asset; empty when it is fresh."""
        status, out, err = self.run("plan", name, "--json")
        assert status in (0, 2), err
        return json.loads(out)["plan"].get(name, {})


@pytest.fixture
def copy(tmp_path: Path, repository: Path) -> Iterator[Copy]:
    packages = tmp_path / "packages"
    for name in ("robot_assets", "dagster_project"):
        shutil.copytree(repository / name, packages / name, ignore=shutil.ignore_patterns("__pycache__"))
    produced = packages / "robot_assets" / "pipeline" / "kinds" / "raw.py"
    source = produced.read_text()
    assert source.count(BEGINS) == 1
    produced.write_text(source.replace(BEGINS, BEGINS + WAITS))
    checkout = new_checkout(tmp_path / "project", repository)
    checkout.change(lambda params: params["datasets"]["small"]["source"].update(images=18))
    copy = Copy(checkout, packages)
    yield copy
    copy.go_on()


def test_a_run_that_began_with_older_code_ends_with_a_stale_asset(copy):
    edited = "robot_assets.data.simulation.weather"
    building = copy.start("build", "raw/small", "--json")
    copy.wait_until_at_work(building)
    copy.edit(edited)
    copy.go_on()
    _, err = building.communicate()
    assert building.returncode == 1
    assert f"raw/small was built, and is not up to date: code of {edited} is new" in err
    with copy.checkout.instance() as instance:
        before = latest_data_version(instance, "raw/small")
    assert before is not None

    plan = copy.plan("raw/small")
    assert plan["state"] == "stale"
    [cause] = plan["causes"]
    assert cause == f"code of {edited} is new"

    status, out, err = copy.run("build", "raw/small", "--json")
    assert status == 0, err
    assert json.loads(out)["assets"]["raw/small"]["data_version"] == before
    assert copy.plan("raw/small") == {}


def test_code_that_is_edited_before_it_is_imported_does_not_run(copy):
    """The process has recorded its code version: it must not run other code under that version."""
    edited = "robot_assets.data.duplicates"
    building = copy.start("build", "datasets/small", "--json")
    copy.wait_until_at_work(building)
    copy.edit(edited)
    copy.go_on()
    _, err = building.communicate()
    assert building.returncode == 1
    assert f"{edited} was edited after this process had looked at it" in " ".join(err.split())
    assert copy.plan("datasets/small")["state"] == "missing"
