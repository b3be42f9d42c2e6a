"""The code version changes when what the code does changes, and at no other time."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from robot_assets.lineage.code_version import code_version, import_closure, syntax_digest

ROOT = Path(__file__).parents[2]

BEFORE = '''
"""A module."""
import math

def area(radius: float) -> float:
    """Area of a circle."""
    # pi r squared
    return math.pi * radius ** 2
'''


def digest(source: str) -> str:
    return syntax_digest(ast.parse(source))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"""A module."""', '"""Another sentence."""'),
        ('"""Area of a circle."""', '"""Changed."""'),
        ("# pi r squared", "# something else entirely"),
        ("radius ** 2", "radius**2"),
        ("import math\n", "\n\nimport math\n\n"),
    ],
)
def test_comments_docstrings_and_layout_do_not_count(old, new):
    assert old in BEFORE
    assert digest(BEFORE.replace(old, new)) == digest(BEFORE)


@pytest.mark.parametrize(
    ("old", "new"),
    [("** 2", "** 3"), ("math.pi *", "math.pi +"), ("area", "surface"), ("radius ** 2", "radius ** True")],
)
def test_code_counts(old, new):
    assert digest(BEFORE.replace(old, new)) != digest(BEFORE)


@given(st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=5)), st.integers(0, 1))
def test_constants_of_different_value_or_type_differ(value, other):
    same = type(value) is type(other) and value == other
    assert (digest(f"x = {value!r}") == digest(f"x = {other!r}")) == same


def test_the_parameters_that_a_stage_reads_count():
    module = "robot_assets.publish"
    assert code_version(module, {"a": 1}) == code_version(module, {"a": 1})
    assert code_version(module, {"a": 1}) != code_version(module, {"a": 2})
    assert code_version(module, {"a": 1, "b": 2}) == code_version(module, {"b": 2, "a": 1})


def _package(tmp_path: Path, files: dict[str, str]) -> Path:
    package = tmp_path / "robot_assets"
    package.mkdir()
    for source in (ROOT / "robot_assets").rglob("*.py"):
        target = package / source.relative_to(ROOT / "robot_assets")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(source.read_text())
    for name, text in files.items():
        path = package / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return package


def _ask(tmp_path: Path, expression: str) -> str:
    code = f"from robot_assets.lineage.code_version import *; print({expression})"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_a_stage_is_what_it_reaches_and_nothing_else(tmp_path):
    package = _package(
        tmp_path,
        {
            "toy/__init__.py": "",
            "toy/stage.py": "def run():\n    from robot_assets.toy.far import deep\n    return deep()\n",
            "toy/far.py": "from . import deeper\n\ndef deep():\n    return deeper.VALUE\n",
            "toy/deeper.py": "VALUE = 1\n",
            "toy/stranger.py": "VALUE = 1\n",
            "toy/typed.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n"
            "    from robot_assets.toy import stranger\n",
        },
    )
    question = "code_version('robot_assets.toy.stage', {})"
    first = _ask(tmp_path, question)
    (package / "toy/stranger.py").write_text("VALUE = 2\n")
    assert _ask(tmp_path, question) == first
    (package / "toy/deeper.py").write_text("# a comment\nVALUE = 1\n")
    assert _ask(tmp_path, question) == first
    (package / "toy/deeper.py").write_text("VALUE = 2\n")
    assert _ask(tmp_path, question) != first
    assert "stranger" not in _ask(tmp_path, "import_closure('robot_assets.toy.typed')")


def test_no_stage_reaches_the_parameters_of_another():
    assert "robot_assets.params" not in import_closure("robot_assets.training.loop")
    assert "robot_assets.quantization.spec" not in import_closure("robot_assets.training.loop")
