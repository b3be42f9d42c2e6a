"""The robot is busy when its file or its command says so, and when that cannot be found out."""

import os
import resource
import sys
import time
from pathlib import Path

import pytest

from robot_assets.agent import busy, command
from robot_assets.agent.spec import BusySpec, RobotSpec


def robot(tmp_path, **given):
    return RobotSpec(
        robot="r1",
        group="g",
        url="/repository",
        root=tmp_path / "root.json",
        key=tmp_path / "key.pem",
        trusted_keys=("ed25519:x",),
        busy=BusySpec(**given) if given else None,
    )


def test_a_robot_that_does_not_say_so_is_not_busy(tmp_path):
    assert busy.check(robot(tmp_path)) is None


def test_a_file_that_exists_is_busy(tmp_path):
    spec = robot(tmp_path, file=tmp_path / "moving")
    assert busy.check(spec) is None
    (tmp_path / "moving").symlink_to("nowhere")
    assert busy.check(spec) == f"{tmp_path / 'moving'} exists"


def test_a_path_that_cannot_be_looked_at_is_busy(tmp_path):
    found = busy.check(robot(tmp_path, file=tmp_path / ("x" * 300)))
    assert found.startswith("busy is assumed: ")
    assert found.endswith("File name too long")


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        (("true",), "`true` exited with 0"),
        (("false",), None),
        (("sh", "-c", "echo drives; exit 0"), "`sh -c 'echo drives; exit 0'` exited with 0: drives"),
        (("sh", "-c", "no_such_command_here"), "busy is assumed: `sh -c no_such_command_here` exited with 127"),
        (("/no/such/command",), "busy is assumed: `/no/such/command` does not start: No such file or directory"),
        (("sh", "-c", "kill -SEGV $$"), "was ended by SIGSEGV"),
    ],
)
def test_a_command_is_busy_unless_it_says_that_it_is_not(tmp_path, given, problem):
    found = busy.check(robot(tmp_path, command=given))
    assert found is None if problem is None else problem in found


def test_a_command_that_hangs_is_busy_and_leaves_nothing_behind(tmp_path, monkeypatch):
    monkeypatch.setattr(busy, "COMMAND_LIMIT_S", 0.5)
    code = f"sleep 60 & echo $! > {tmp_path}/child; wait"
    found = busy.check(robot(tmp_path, command=("sh", "-c", code)))
    assert found.startswith("busy is assumed: ")
    assert found.endswith("did not end within 0.5 s")
    child = int((tmp_path / "child").read_text())
    assert gone(child)


def gone(process):
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state == "Z":
            return True
        time.sleep(0.02)
    return False


def test_a_process_left_behind_does_not_keep_the_agent_waiting(tmp_path):
    code = "import subprocess; print(subprocess.Popen(['sleep', '30'], start_new_session=True).pid)"
    outcome = command.run((sys.executable, "-c", code), 20)
    assert outcome.code == 0
    os.kill(int(outcome.what.rpartition(" ")[2]), 9)


def test_what_a_command_prints_cannot_drive_a_terminal(tmp_path):
    outcome = command.run(("printf", r"\033[31mred\n\n"), 10)
    assert outcome.what.endswith(r"exited with 0: \x1b[31mred")


def test_long_output_is_cut():
    outcome = command.run((sys.executable, "-c", "print('x' * 1_000_000)"), 20)
    assert outcome.code == 0
    assert len(outcome.what) < 400


def test_a_command_that_closes_its_output_is_waited_for():
    outcome = command.run(("sh", "-c", "exec >&- 2>&-; sleep 0.2; exit 4"), 20)
    assert outcome.code == 4


def test_an_argument_that_no_command_can_have_is_no_crash():
    outcome = command.run(("true", "a\0b"), 20)
    assert outcome.code is None
    assert "does not start" in outcome.what


def test_a_command_runs_in_a_process_with_many_open_files():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(4096, hard)), hard))
    kept = []
    try:
        while not kept or kept[-1] < 1100:
            kept.append(os.open("/dev/null", os.O_RDONLY))
        assert command.run(("sh", "-c", "echo last; exit 2"), 20).how == "exited with 2: last"
    finally:
        for handle in kept:
            os.close(handle)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
