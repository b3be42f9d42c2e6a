"""Short-lived processes collect no garbage during imports and at their end, and as usual during their work."""

import subprocess
import sys

import dagster
import pytest

CYCLE = """
import gc
from dagster_project.local import gc_tuning

class Telltale:
    def __init__(self, name):
        self.name, self.itself = name, self

    def __del__(self):
        print(f"{self.name} is collected", flush=True)

"""


def said(code: str) -> list[str]:
    done = subprocess.run([sys.executable, "-c", CYCLE + code], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def program(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "dagster_project.local.gc_tuning", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_an_ordinary_process_collects_loaded_objects_at_its_end():
    assert said("Telltale('loaded')") == ["loaded is collected"]


def test_loaded_objects_are_not_collected_at_the_end():
    assert said("gc_tuning.begin(); Telltale('loaded')") == []
    assert said("gc_tuning.begin(); Telltale('loaded'); gc_tuning.work_begins(); gc.collect()") == []


def test_thousands_of_objects_trigger_a_collection_only_after_work_begins():
    many = "Telltale('{}'); kept = [[] for _ in range(5000)]\n"
    before, after = many.format("before"), many.format("after")
    assert said("gc_tuning.begin()\n" + before + "gc_tuning.work_begins()\n" + after) == ["after is collected"]


def test_garbage_of_one_step_is_collected_in_the_next():
    steps = "gc_tuning.begin(); gc_tuning.work_begins(); Telltale('left behind'); gc_tuning.work_begins()\n"
    assert said(steps + "gc.collect()") == ["left behind is collected"]


def test_it_runs_the_given_command_of_dagster():
    done = program("dagster", "--version")
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(f"dagster, version {dagster.__version__}\n")
    assert program("/opt/venv/bin/dagster", "api", "no_such_command").returncode == 2


@pytest.mark.parametrize("arguments", [[], ["api", "execute_step"]])
def test_another_command_is_refused(arguments: list[str]):
    done = program(*arguments)
    assert done.returncode == 1
    assert f"error: the command is '{arguments[0] if arguments else ''}'" in done.stderr
    assert "needed: dagster and its arguments" in done.stderr
