"""What a robot imports of a release is small: the agent stays in memory for as long as the robot is on."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from robot_assets.platforms.probe import probe
from tests.small_release import small_release

HEAVY = ("torch", "onnx", "onnxruntime", "matplotlib", "dagster", "numpy", "PIL", "rich", "typer")


def loaded(code: str) -> set[str]:
    """Heavy packages that a Python process has imported after ``code``."""
    program = f"{code}\nimport json, sys\nprint(json.dumps([name for name in {HEAVY!r} if name in sys.modules]))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize("module", ["bundle", "budgets", "errors", "verifying"])
def test_importing_it_imports_nothing_heavy(module):
    assert loaded(f"import robot_assets.release.{module}") == set()


def test_verifying_a_release_imports_nothing_heavy(tmp_path: Path):
    made = small_release(tmp_path / "release")
    here = probe().model_dump_json()  # asking ONNX Runtime what it offers imports it, and NumPy with it
    code = (
        "from pathlib import Path\n"
        "from robot_assets.platforms.probe import Platform\n"
        "from robot_assets.provenance.public_key import Trust, parse_public_key\n"
        "from robot_assets.release.verifying import verify_release\n"
        f"trust = Trust((parse_public_key({made.key_line!r}),))\n"
        f"here = Platform.model_validate_json({here!r})\n"
        f"verify_release(Path({str(made.path)!r}), trust, platform=here).require()\n"
    )
    assert loaded(code) & {"torch", "onnx", "matplotlib", "dagster", "numpy", "PIL"} == set()


def test_reading_reference_answers_imports_numpy_alone():
    assert loaded("import robot_assets.release.reference") <= {"numpy", "PIL"}
