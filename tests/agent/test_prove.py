"""A release is proven on the robot: right answers, within the budgets, by engines that neither crash nor hang."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from robot_assets.agent import prove as proving
from robot_assets.agent.prove import judge, prove
from robot_assets.agent.prove_process import INFERENCES
from robot_assets.agent.spec import RobotSpec
from robot_assets.core.documents import write_json
from robot_assets.fleet.errors import AgentError
from robot_assets.fleet.spec import BudgetsSpec
from robot_assets.release.bundle import BUNDLE_FILE, REFERENCE
from robot_assets.release.errors import ReleaseError
from tests.small_release import small_release


def robot(tmp_path, **budgets):
    return RobotSpec(
        robot="r1",
        group="robots",
        url="/repository",
        root=tmp_path / "root.json",
        key=tmp_path / "key.pem",
        trusted_keys=("ed25519:x",),
        budgets=BudgetsSpec(**budgets),
    )


@pytest.fixture
def release(tmp_path):
    return small_release(tmp_path / "release").path


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """Runs other code in the place of the process that measures."""

    def put(code):
        (tmp_path / "stand_in_of_a_proof.py").write_text(code)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        monkeypatch.setattr(proving, "_MODULE", "stand_in_of_a_proof")

    return put


def failure(release, spec):
    verdict = judge(release, spec)
    assert not verdict.passed
    assert verdict.fix
    return verdict.summary


def test_a_good_release_passes_with_its_figures(tmp_path):
    release = small_release(tmp_path / "release", models=("one", "two")).path
    verdict = prove(release, robot(tmp_path, latency_ms_p95_max=5000, memory_mib_max=1500))
    assert verdict.passed
    for model in ("one", "two"):
        facts = verdict.facts[model]
        assert facts["images"] == 2
        assert facts["differing_share"] == 0
        assert facts["latency"]["inferences"] == INFERENCES
        assert 0 < facts["latency"]["latency_ms_p95"] < 5000
        assert facts["latency_ms_p95_max"] == {"value": 5000, "giver": "robot.yaml"}
        assert facts["memory_mib"] > 0
    assert verdict.facts["all together"]["memory_mib_max"] == 3000
    assert "p95" in verdict.summary
    assert "all together: 2 engines are loaded at once" in verdict.summary
    assert verdict.fix == ""


def test_wrong_answers_fail_with_their_share(tmp_path):
    release = small_release(tmp_path / "release", wrong_reference=True).path
    with pytest.raises(AgentError) as refused:
        prove(release, robot(tmp_path))
    assert "small: the answers to 2 reference images differ in 100 % of their values" in refused.value.found
    assert "1 % may differ" in refused.value.found
    assert refused.value.details["small"]["attempts"] == 1


def test_the_budget_of_the_release_is_kept_on_the_robot(tmp_path, monkeypatch):
    monkeypatch.setattr(proving, "ATTEMPTS", 2)
    release = small_release(tmp_path / "release", too_slow=True).path
    verdict = judge(release, robot(tmp_path, latency_ms_p95_max=100))
    assert not verdict.passed
    assert "p95 of 100 inferences is" in verdict.summary
    assert "the release allows 1e-06 ms (latency_ms_p95_max)" in verdict.summary
    assert verdict.facts["small"]["attempts"] == 2


def test_the_budgets_of_the_robot_are_kept(tmp_path, release, monkeypatch):
    monkeypatch.setattr(proving, "ATTEMPTS", 1)
    found = failure(release, robot(tmp_path, latency_ms_p95_max=1e-6, latency_ms_p99_max=2e-6, memory_mib_max=1e-3))
    assert "robot.yaml allows 1e-06 ms (latency_ms_p95_max)" in found
    assert "robot.yaml allows 2e-06 ms (latency_ms_p99_max)" in found
    assert "MiB, robot.yaml allows 0.001 MiB (memory_mib_max)" in found


def test_an_engine_for_another_device_does_not_load(tmp_path):
    release = small_release(tmp_path / "release", wrong_fingerprint=True).path
    assert "was built for platform 0123456789abcdef" in failure(release, robot(tmp_path))


@pytest.mark.parametrize("name", [REFERENCE, "engine.onnx", "manifest.json"])
def test_a_damaged_file_fails_with_its_name(tmp_path, release, name):
    path = release / "small" / name
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    assert str(path) in failure(release, robot(tmp_path))


def test_a_missing_file_fails_with_its_name(tmp_path, release):
    path = release / "small" / REFERENCE
    path.unlink()
    assert str(path) in failure(release, robot(tmp_path))


def test_a_release_without_bundle_is_refused(tmp_path, release):
    write_json(release / BUNDLE_FILE, {"format": 1})
    with pytest.raises(ReleaseError):
        judge(release, robot(tmp_path))
    (release / BUNDLE_FILE).unlink()
    with pytest.raises(ReleaseError, match="No such file"):
        judge(release, robot(tmp_path))


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "small: the proof was ended by SIGSEGV"),
        ("import os; os.abort()", "small: the proof was ended by SIGABRT"),
        ("import os; os.kill(os.getpid(), 9)", "ended by SIGKILL, most likely since memory ran out"),
        ("raise MemoryError", "the proof exited with 1: MemoryError"),
        ("print('cuda: out of memory'); raise SystemExit(7)", "the proof exited with 7: cuda: out of memory"),
        ("", "the proof exited with 0 and measured nothing"),
        ("import os, sys; os.write(int(sys.argv[1]), b'{\"meas')", "the proof exited with 0 and measured nothing"),
        ("import os, sys; os.write(int(sys.argv[1]), b'{}')", "the proof exited with 0 and measured nothing"),
    ],
)
def test_an_engine_that_crashes_fails_its_proof(tmp_path, release, stand_in, code, problem):
    stand_in(code)
    assert problem in failure(release, robot(tmp_path))


def test_what_was_measured_before_a_crash_does_not_count(tmp_path, release, stand_in):
    measured = '{"measured": {"memory_mib": 1.0, "memory_of": "process", "images": 2, "differing_share": 0.0}}'
    stand_in(f"import os, sys; os.write(int(sys.argv[1]), b'{measured}'); os.abort()")
    assert "ended by SIGABRT" in failure(release, robot(tmp_path))


def test_an_engine_that_hangs_fails_its_proof(tmp_path, release, stand_in, monkeypatch):
    monkeypatch.setattr(proving, "ENGINE_LIMIT_S", 0.5)
    stand_in(f"import os, time; open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid())); time.sleep(60)")
    assert "the proof did not end within 0.5 s" in failure(release, robot(tmp_path))
    pid = int((tmp_path / "pid").read_text())
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.mark.parametrize(
    ("latency", "memory", "problem"),
    [
        ("{}", "1.0", "p95 of 0 inferences cannot be measured on this device"),
        ('{"latency_ms_p95": 1.0, "inferences": 3}', "null", "that it takes cannot be measured on this device"),
    ],
)
def test_a_budget_without_a_measurement_fails(tmp_path, release, stand_in, latency, memory, problem):
    measured = (
        f'{{"measured": {{"memory_mib": {memory}, "memory_of": "device", "images": 2, "differing_share": 0.0, '
        f'"latency": {latency}}}}}'
    )
    stand_in(f"import os, sys; os.write(int(sys.argv[1]), {measured.encode()!r})")
    assert problem in failure(release, robot(tmp_path))


def test_few_inferences_are_said_to_be_few(tmp_path, release, monkeypatch):
    monkeypatch.setattr(proving, "TIMING_LIMIT_S", 1e-6)
    verdict = judge(release, robot(tmp_path))
    assert verdict.passed
    assert "over 1 inference (" in verdict.summary


def test_a_proof_leaves_no_open_files(tmp_path, release, stand_in):
    stand_in("raise SystemExit(1)")
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(2):
        judge(release, robot(tmp_path))
    assert len(os.listdir("/proc/self/fd")) == before


def test_the_proof_ends_with_the_agent(tmp_path):
    code = (
        "import os, subprocess, sys, time\n"
        "from robot_assets.agent.prove_process import _end_with_the_agent\n"
        "if len(sys.argv) > 1:\n"
        "    _end_with_the_agent()\n"
        "    print(os.getpid(), flush=True)\n"
        "    time.sleep(60)\n"
        "subprocess.run([sys.executable, __file__, 'proof'])\n"
    )
    (tmp_path / "agent.py").write_text(code)
    environment = {**os.environ, "PYTHONPATH": str(Path(proving.__file__).parents[2])}
    with subprocess.Popen([sys.executable, tmp_path / "agent.py"], stdout=subprocess.PIPE, env=environment) as agent:
        proof = int(agent.stdout.readline())
        agent.kill()
    deadline = time.monotonic() + 20
    while is_running(proof):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def is_running(pid):
    try:
        return " Z " not in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
