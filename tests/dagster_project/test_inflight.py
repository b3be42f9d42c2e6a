"""A run that began with older code does not look fresh afterwards (dagster issue 33708): a real run, a real edit."""

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.dagster_project.conftest import new_checkout
from tests.dagster_project.daemon import Workplace, copy_code

DATASET = "datasets/small"
READ = "    with disk_trouble_named(out):\n        source = read_coco(raw)\n        numbers"
WAIT = """\
        Path("begun").touch()
        while not Path("go").exists():
            __import__("time").sleep(0.05)
"""


@pytest.fixture
def workplace(tmp_path: Path, repository: Path) -> Workplace:
    """A checkout whose data set stops in the middle of its build until the file ``go`` is there."""
    root = new_checkout(tmp_path / "workplace", repository).root
    copy_code(repository, root)
    (root / "proc").mkdir()
    shutil.copy("/proc/cpuinfo", root / "proc")
    made = Workplace(root)
    made.edit(
        "data/dataset.py", lambda text: text.replace(READ, READ.replace("        numbers", f"{WAIT}        numbers"))
    )
    return made


def test_what_older_code_made_is_stale_and_fresh_again_when_the_edit_is_undone(workplace):
    path = workplace.root / "robot_assets" / "data" / "dataset.py"
    command = [str(Path(sys.executable).with_name("robot-assets")), "build", DATASET]
    with subprocess.Popen(
        command,
        cwd=workplace.root,
        env=workplace.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as build:
        deadline = time.monotonic() + 120
        while not (workplace.root / "begun").exists():
            assert build.poll() is None, build.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.1)
        ran = path.read_text()
        path.write_text(f"{ran}\n_UNUSED = 1\n")
        (workplace.root / "go").touch()
        _, said = build.communicate(timeout=120)
    assert workplace.versions()[DATASET] == 1
    # The command itself does not pass it over,
    assert build.returncode == 1
    assert f"{DATASET}: code of robot_assets.data.dataset changed" in " ".join(said.split())
    # whoever asks later sees it,
    planned = json.loads(workplace.run("robot-assets", "plan", DATASET, "--json", check=False).stdout)["plan"]
    assert planned[DATASET]["state"] == "stale"
    assert planned[DATASET]["causes"][0].startswith("code of robot_assets.data.dataset changed (")
    # and the record names the code that ran: with the edit undone there is nothing to do.
    path.write_text(ran)
    assert workplace.run("robot-assets", "plan", DATASET).returncode == 0
