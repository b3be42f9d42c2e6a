"""Killed processes and a full disk: the old or the new version stays, never a partial one, and a rerun succeeds."""

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from robot_assets.core.os_errors import mount_of
from robot_assets.data.dataset import build_dataset
from robot_assets.data.importing.importer import import_dataset
from robot_assets.data.spec import DatasetSpec
from tests.data.conftest import SESSIONS
from tests.data.image_sources import tree_bytes, write_yolo

SOURCE = {**SESSIONS, "d6/r1": 50}
"""80 images, which an import copies in three groups."""
WORK = """
import os, resource, signal, sys
from pathlib import Path
from robot_assets.core import progress
from robot_assets.data.dataset import build_dataset
from robot_assets.data.importing.importer import import_dataset
from robot_assets.data.spec import DatasetSpec
from robot_assets.core.errors import DataError

verb, source, out, spec, trouble, at = sys.argv[1:]
steps = 0

def step(what, done, total, note):
    global steps
    steps += 1
    if trouble == "kill" and steps == int(at):
        os.kill(os.getpid(), signal.SIGKILL)

if trouble == "file_size":
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(at), int(at)))
with progress.listening(step):
    try:
        if verb == "import":
            import_dataset("yolo", Path(source), Path(out))
        else:
            build_dataset(Path(source), DatasetSpec.model_validate_json(spec), Path(out))
    except DataError as error:
        print(error)
        sys.exit(3)
"""


def work(
    verb: str,
    source: Path,
    out: Path,
    spec: DatasetSpec,
    trouble: str = "none",
    at: int = 0,
    prefix: str = "",
) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-c",
        WORK,
        verb,
        str(source),
        str(out),
        spec.model_dump_json(),
        trouble,
        str(at),
    ]
    if prefix:
        command = [
            "unshare",
            "--user",
            "--map-root-user",
            "--mount",
            "sh",
            "-c",
            f'{prefix} && "$@"',
            "sh",
            *command,
        ]
    return subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2], check=False)


def leftovers(out: Path) -> list[Path]:
    return list(out.parent.glob(f".{out.name}.*"))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_yolo(tmp_path / "yolo", SOURCE)


@pytest.mark.parametrize("at", [1, 2, 3])
def test_a_killed_import_publishes_nothing_and_a_rerun_succeeds(
    source: Path, spec: DatasetSpec, tmp_path: Path, at: int
) -> None:
    out = tmp_path / "kept" / "raw"
    assert work("import", source, out, spec, "kill", at).returncode == -signal.SIGKILL
    assert not out.exists()
    assert import_dataset("yolo", source, out).images == sum(SOURCE.values())
    assert not leftovers(out)


@pytest.mark.parametrize("at", [1, 3, 17, 2 + sum(SESSIONS.values())])
def test_a_killed_build_leaves_the_old_data_set_and_a_rerun_succeeds(
    raw: Path, spec: DatasetSpec, tmp_path: Path, at: int
) -> None:
    out = tmp_path / "kept" / "packed"
    build_dataset(raw, spec, out)
    old = tree_bytes(out)
    other = spec.model_copy(update={"split": spec.split.model_copy(update={"seed": 1})})
    assert work("build", raw, out, other, "kill", at).returncode == -signal.SIGKILL
    assert tree_bytes(out) == old
    build_dataset(raw, other, out)
    assert tree_bytes(out) != old
    assert not leftovers(out)


@pytest.mark.parametrize("verb", ["import", "build"])
def test_a_file_size_limit_is_reported_and_nothing_is_left(
    source: Path, raw: Path, spec: DatasetSpec, tmp_path: Path, verb: str
) -> None:
    out = tmp_path / "kept" / "out"
    origin = source if verb == "import" else raw
    found = work(verb, origin, out, spec, "file_size", 1500)
    assert found.returncode == 3, found.stderr
    assert f"no space left on {mount_of(out)}: writing {out} failed (File too large)" in found.stdout
    assert "free some space" in found.stdout
    assert list(out.parent.iterdir()) == []
    assert work(verb, origin, out, spec).returncode == 0


@pytest.mark.parametrize("verb", ["import", "build"])
def test_a_full_disk_is_reported_and_nothing_is_left(
    source: Path, raw: Path, spec: DatasetSpec, tmp_path: Path, verb: str
) -> None:
    if (
        shutil.which("unshare") is None
        or subprocess.run(
            ["unshare", "--user", "--map-root-user", "--mount", "true"], capture_output=True, check=False
        ).returncode
    ):
        pytest.skip("no permission to mount a small disk (unshare --user --mount)")
    disk = tmp_path / "disk"
    disk.mkdir()
    listing = tmp_path / "listing.txt"
    prefix = f"mount -t tmpfs -o size=24k none {disk} && trap 'ls -A {disk} > {listing}' EXIT"
    found = work(verb, source if verb == "import" else raw, disk / "out", spec, prefix=prefix)
    assert found.returncode == 3, found.stderr
    assert f"no space left on {disk}: writing {disk / 'out'} failed" in found.stdout
    assert listing.read_text() == ""
