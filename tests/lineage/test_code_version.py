"""The code version changes when what the code does changes, and at no other time."""

import ast
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from robot_assets.lineage.code_version import Code, load, running_code, syntax_digest

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
    code, module = Code(), "robot_assets.core.publishing"
    assert code.version(module, {"a": 1}) == Code().version(module, {"a": 1})
    assert code.version(module, {"a": 1}) != code.version(module, {"a": 2})
    assert code.version(module, {"a": 1}) != code.version(module, {})
    assert code.version(module, {"a": 1, "b": 2}) == code.version(module, {"b": 2, "a": 1})
    assert code.version(module, {"a": 1}) != code.version("robot_assets.core.progress", {"a": 1})


def test_a_stage_of_no_module_is_an_error_and_not_a_version():
    with pytest.raises(ModuleNotFoundError, match=r"no module robot_assets\.nowhere"):
        Code().version("robot_assets.nowhere", {})


def test_the_modules_of_a_stage_are_its_closure_with_their_digests():
    code = Code()
    modules = code.modules("robot_assets.core.publishing")
    assert tuple(modules) == code.closure("robot_assets.core.publishing") == tuple(sorted(modules))
    assert modules["robot_assets.core.publishing"] == digest((ROOT / "robot_assets/core/publishing.py").read_text())


def test_no_stage_reaches_the_parameters_of_another():
    closure = Code().closure("robot_assets.training.loop")
    assert "robot_assets.pipeline.params" not in closure
    assert "robot_assets.quantization.spec" not in closure


TOY = {
    "__init__.py": "",
    "stage.py": "def run():\n    from robot_assets.toy.far import deep\n    return deep()\n",
    "far.py": "from . import deeper\n\ndef deep():\n    return deeper.VALUE\n",
    "deeper.py": "VALUE = 1\n",
    "stranger.py": "VALUE = 1\n",
    "typed.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from robot_assets.toy import stranger\n",
    "edge.py": "import no_such_library\n\nfrom robot_assets.toy import deeper\n",
    "broken.py": "import robot_assets.toy.gone\n",
}


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    """A checkout of its own, with a few small modules that are edited while processes run."""
    package = tmp_path / "robot_assets"
    for folder in (".", "lineage"):
        (package / folder).mkdir()
        for source in (ROOT / "robot_assets" / folder).glob("*.py"):
            shutil.copy(source, package / folder)
    (package / "toy").mkdir()
    for name, text in TOY.items():
        (package / "toy" / name).write_text(text)
    return package / "toy"


def python(toy: Path, program: str) -> list[str]:
    """Lines that a new process in that checkout prints."""
    start = (
        "from pathlib import Path\nfrom robot_assets.lineage.code_version import *\ntoy = Path('robot_assets/toy')\n"
    )
    checkout = toy.parents[1]
    done = subprocess.run(
        [sys.executable, "-c", start + textwrap.dedent(program)],
        cwd=checkout,
        env={**os.environ, "PYTHONPATH": str(checkout), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_stage_is_what_it_reaches_and_nothing_else(toy):
    lines = python(
        toy,
        """
        def ask():
            print(Code().version("robot_assets.toy.stage", {}))
        ask()
        (toy / "stranger.py").write_text("VALUE = 2\\n")
        ask()
        (toy / "deeper.py").write_text("# a comment\\nVALUE = 1\\n")
        ask()
        (toy / "deeper.py").write_text("VALUE = 2\\n")
        ask()
        (toy / "deeper.py").write_text("VALUE = 1\\n")
        ask()
        print(*Code().closure("robot_assets.toy.typed"))
        """,
    )
    first, stranger, comment, edited, undone, typed = lines
    assert first == stranger == comment == undone
    assert edited != first
    assert typed == "robot_assets robot_assets.toy robot_assets.toy.typed"


def test_one_look_stays_of_one_moment_and_a_new_look_sees_the_edit(toy):
    before, still, after, again = python(
        toy,
        """
        one = Code()
        print(one.version("robot_assets.toy.stage", {}))
        (toy / "deeper.py").write_text("VALUE = 2\\n")
        (toy / "far.py").unlink()
        print(one.version("robot_assets.toy.stage", {}))
        print(Code().version("robot_assets.toy.stage", {}))
        print(one.version("robot_assets.toy.stage", {}))
        """,
    )
    assert before == still == again
    assert after != before


def test_the_running_code_is_asked_for_once_in_a_process():
    assert running_code() is running_code()


def test_the_whole_code_of_a_stage_is_imported_before_it_runs(toy):
    (loaded,) = python(
        toy,
        """
        import sys
        load("robot_assets.toy.stage")
        print(*sorted(name for name in sys.modules if name.startswith("robot_assets.toy")))
        """,
    )
    assert loaded.split() == [f"robot_assets.toy{rest}" for rest in ("", ".deeper", ".far", ".stage")]


@pytest.mark.parametrize("edit", ["write_text('VALUE = 2\\n')", "write_text('import sys\\nVALUE = 1\\n')"])
def test_code_that_was_edited_before_its_import_is_refused(toy, edit):
    found, needed, fix = python(
        toy,
        f"""
        from robot_assets.lineage.errors import LineageError
        running_code().version("robot_assets.toy.stage", {{}})
        (toy / "deeper.py").{edit}
        try:
            load("robot_assets.toy.stage")
        except LineageError as error:
            print(error)
        """,
    )
    assert found == "robot_assets.toy.deeper was edited after this process had looked at it"
    assert needed == "  needed: one and the same code from the start of the process to the import"
    assert fix == "  fix: run it again: a new process takes the code as it is now"


def test_what_was_imported_before_the_edit_runs_as_it_was_and_a_comment_is_no_edit(toy):
    before, ran, promised = python(
        toy,
        """
        print(running_code().version("robot_assets.toy.stage", {}))
        (toy / "deeper.py").write_text("# a comment\\nVALUE = 1\\n")
        load("robot_assets.toy.stage")
        (toy / "deeper.py").write_text("VALUE = 2\\n")
        load("robot_assets.toy.stage")
        from robot_assets.toy.stage import run
        print(run())
        print(running_code().version("robot_assets.toy.stage", {}))
        """,
    )
    assert ran == "1"
    assert promised == before


def test_a_machine_without_a_library_loads_the_rest(toy):
    (loaded,) = python(
        toy,
        """
        import sys
        load("robot_assets.toy.edge")
        print("robot_assets.toy.deeper" in sys.modules, "robot_assets.toy.edge" in sys.modules)
        """,
    )
    assert loaded == "True False"


def test_a_missing_module_of_ours_is_an_error(toy):
    (error,) = python(
        toy,
        """
        try:
            load("robot_assets.toy.broken")
        except ModuleNotFoundError as error:
            print(error)
        """,
    )
    assert error == "No module named 'robot_assets.toy.gone'"


def test_the_code_of_this_process_loads():
    load("robot_assets.core.publishing")
    assert "robot_assets.core.publishing" in sys.modules
