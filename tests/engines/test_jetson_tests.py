"""``make test-jetson`` skips with a reason without a Jetson, and its tests pass on the stand-in."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tensorrt_api.use import VERSIONS, python_path


def run(repository: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "tests/on_jetson"]
    variables = {**os.environ, **environment}
    return subprocess.run(command, cwd=repository, env=variables, capture_output=True, text=True, check=False)


def test_without_a_jetson_they_are_skipped_with_a_reason(repository):
    if Path("/etc/nv_tegra_release").exists():
        pytest.skip("this is a Jetson, where they run")
    done = run(repository)
    assert done.returncode == 0, done.stdout
    assert "machine is not a Jetson: no release of Jetson Linux, no Tegra" in done.stdout
    assert "passed" not in done.stdout.splitlines()[-1]


@pytest.mark.parametrize("version", VERSIONS)
def test_they_pass_on_the_stand_in(repository, tmp_path, version):
    tree = tmp_path / "proc" / "device-tree"
    for core in ("nvdla0@15880000", "nvdla1@158c0000"):
        (tree / "bus@0" / "host1x@13e00000" / core).mkdir(parents=True)
    (tree / "compatible").write_bytes(b"nvidia,p3737-0000+p3701-0005\0nvidia,tegra234\0")
    (tree / "model").write_bytes(b"NVIDIA Jetson AGX Orin (stand-in)\0")
    (tmp_path / "proc" / "cpuinfo").write_text(Path("/proc/cpuinfo").read_text())
    done = run(repository, PYTHONPATH=python_path(version), ROBOT_ASSETS_PROC=str(tmp_path / "proc"))
    assert done.returncode == 0, done.stdout[-3000:]
    assert "passed" in done.stdout.splitlines()[-1]
    assert "not a Jetson" not in done.stdout
