"""Edits that change no code version, beside the nearest edit that does."""

import ast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from robot_assets.lineage.code.syntax import read_statement
from tests.lineage.code.package import Package

STAGE = '''
"""A stage."""
import logging
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import BaseModel, Field, field_validator

from pkg.failures import Refused
from robot_assets.core.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

LIMIT: int = 3
"""How many."""


class Spec(BaseModel):
    """A spec."""

    size: int = Field(default=3, ge=1, title="Size", description="how large", examples=[1])
    depth: Annotated[int, Field(description="how deep")] = 2

    @field_validator("size")
    @classmethod
    def _even(cls, size: int) -> int:
        return size


@dataclass
class Point:
    x: int
    y: int = 0


def run(radius: float, out: "Path | None" = None, verbose: bool = typer.Option(False, help="say more")) -> float:
    """Area of a circle."""
    # pi r squared
    total: float = math.pi * radius**2
    if TYPE_CHECKING:
        reveal_type(total)
    if radius > LIMIT:
        raise DataError(f"{radius} is large", needed="a small one, " + hint(total), fix="draw it again")
    if radius < 0:
        raise Refused("negative", radius)
    if radius == 0:
        raise ValueError("no circle")
    logging.warning("nearly there")
    Spec(), Point(1, 2)
    return total


def hint(total):
    """Not a docstring only."""
    return "for example 2"
'''
FAILURES = "from robot_assets.core.errors import DataError\n\n\nclass Refused(DataError):\n    pass\n"


@pytest.fixture
def package(tmp_path):
    return Package(tmp_path, {"stage.py": STAGE, "failures.py": FAILURES})


def is_edit(package: Package, old: str, new: str) -> bool:
    before = package.version()
    package.edit("stage.py", old, new)
    return package.version() != before


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param('"""A stage."""', '"""Another sentence."""', id="docstring of the module"),
        pytest.param('"""Area of a circle."""', '"""Changed."""', id="docstring of a function"),
        pytest.param('    """Area of a circle."""\n', "", id="docstring that goes"),
        pytest.param('"""A spec."""', '"""Another spec."""', id="docstring of a class"),
        pytest.param('"""How many."""', '"""How much."""', id="docstring of a constant"),
        pytest.param("# pi r squared", "# something else entirely", id="comment"),
        pytest.param("math.pi * radius**2", "(math.pi\n        * radius ** 2)", id="layout"),
        pytest.param("import math\n", "\n\nimport math\n", id="empty lines"),
        pytest.param("import math\n", "import math\nimport string\n", id="import that nothing uses"),
        pytest.param('description="how large"', 'description="size"', id="description of a field"),
        pytest.param(', description="how large"', "", id="description that goes"),
        pytest.param('title="Size"', 'title="How large"', id="title of a field"),
        pytest.param("examples=[1]", "examples=[1, 2]", id="examples of a field"),
        pytest.param('"how deep"', '"depth"', id="description in an annotation"),
        pytest.param('help="say more"', 'help="talk"', id="help of an option"),
        pytest.param("radius: float,", "radius: int,", id="annotation of a parameter"),
        pytest.param('"Path | None"', '"Path"', id="quoted annotation of a parameter"),
        pytest.param("-> float", "-> int", id="annotation of a result"),
        pytest.param("total: float =", "total =", id="annotation of a local variable"),
        pytest.param("size: int) -> int", "size: float) -> float", id="annotations of a validator"),
        pytest.param("LIMIT: int", "LIMIT: float", id="annotation of a constant"),
        pytest.param("reveal_type(total)", "reveal_type(radius)", id="what only type checkers see"),
        pytest.param("    from pathlib", "    import os\n    from pathlib", id="import for type checkers"),
        pytest.param("is large", "is too large", id="f-string in an error"),
        pytest.param('"a small one, "', '"another, "', id="sum of texts in an error"),
        pytest.param('fix="draw it again"', 'fix="erase it"', id="fix of an error"),
        pytest.param('"negative"', '"below zero"', id="error of a class below ours"),
    ],
)
def test_this_is_not_code(package, old, new):
    assert not is_edit(package, old, new)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param("**2", "**3", id="exponent"),
        pytest.param("math.pi *", "math.e *", id="attribute of a library"),
        pytest.param("import math\n", "import cmath as math\n", id="library under the same name"),
        pytest.param("def run(radius: float", "def run(diameter: float", id="name of a parameter"),
        pytest.param("typer.Option(False", "typer.Option(True", id="default of an option"),
        pytest.param("LIMIT: int = 3", "LIMIT: int = 4", id="constant"),
        pytest.param("ge=1", "ge=2", id="bound of a field"),
        pytest.param("default=3", "default=4", id="default of a field"),
        pytest.param("    size: int =", "    size: float =", id="annotation of a field"),
        pytest.param("    depth: Annotated[int", "    depth: Annotated[float", id="annotated field"),
        pytest.param("    x: int", "    x: float", id="annotation in a dataclass"),
        pytest.param("        return size", "        return -size", id="validator"),
        pytest.param('field_validator("size")', 'field_validator("depth")', id="argument of a decorator"),
        pytest.param("@dataclass", "@dataclass(frozen=True)", id="decorator"),
        pytest.param("raise DataError(", "raise Refused(", id="class of an error"),
        pytest.param(
            'Refused("negative", radius)', 'Refused("negative", LIMIT)', id="argument of an error that is no text"
        ),
        pytest.param('"no circle"', '"nothing"', id="text of an error that is not ours"),
        pytest.param('"for example 2"', '"for example 3"', id="function that makes the text of an error"),
        pytest.param('"nearly there"', '"there"', id="text of a log line"),
    ],
)
def test_this_is_code(package, old, new):
    assert is_edit(package, old, new)


def test_texts_of_a_class_with_the_name_of_an_error_count_when_it_is_not_ours(package):
    package.write("failures.py", "class Refused(Exception):\n    pass\n")
    assert is_edit(package, '"negative"', '"below zero"')


def test_texts_of_a_call_stay_where_they_are_passed(tmp_path):
    package = Package(tmp_path, {"stage.py": "def run(f, x):\n    Label = f\n    return Label('a', x)\n"})
    assert is_edit(package, "Label('a', x)", "Label(x, 'a')")


@pytest.mark.parametrize("module", ["pydantic", "pydantic.fields"])
def test_a_function_of_ours_that_is_called_field_takes_no_prose(tmp_path, module):
    text = f"from {module} import Field\n\n\ndef run():\n    return Field(description='a')\n"
    theirs = Package(tmp_path / "theirs", {"stage.py": text})
    ours = Package(
        tmp_path / "ours", {"stage.py": text.replace(module, "pkg.own"), "own.py": "def Field(**texts): ...\n"}
    )
    assert not is_edit(theirs, "'a'", "'b'")
    assert is_edit(ours, "'a'", "'b'")


def test_annotations_count_where_a_decorator_may_read_them(tmp_path):
    text = """
    from pydantic import validate_call
    from functools import cache

    @{}
    def run(size: int):
        return size
    """
    for decorator, counts in (("validate_call", True), ("unknown.decorator", True), ("cache", False)):
        package = Package(tmp_path / decorator, {"stage.py": text.format(decorator)})
        assert is_edit(package, "size: int", "size: float") == counts


def digest(source: str) -> str:
    return "".join(read_statement(node, "pkg", {})[0].digest for node in ast.parse(source).body)


@given(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=5), st.binary(max_size=3)), st.integers(0, 1)
)
def test_constants_of_different_value_or_type_differ(value, other):
    same = type(value) is type(other) and value == other
    assert (digest(f"x = {value!r}") == digest(f"x = {other!r}")) == same


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("def f(*, a): pass", "def f(*, a=None): pass"),
        ("def f(a, /): pass", "def f(a): pass"),
        ("x = {**a}", "x = {None: a}"),
        ("x = a.b", "x = a; b"),
        ("x = [a, b]", "x = [(a, b)]"),
        ("x = f(a)(b)", "x = f(a, b)"),
        ("x = f(a=b)", "x = f(**b)"),
        ("x = f'{a}b'", "x = f'{a}' 'c'"),
        ("x = f'{a!r}'", "x = f'{a}'"),
        ("x = [i async for i in y]", "x = [i for i in y]"),
        ("x = lambda a: b", "x = lambda: b"),
        ("x = a if b else c", "x = b if a else c"),
        ("match x:\n case None: y", "match x:\n case True: y"),
        ("try: x\nexcept* A: y", "try: x\nexcept A: y"),
    ],
)
def test_different_statements_have_different_digests(one, other):
    assert digest(one) != digest(other)


def test_the_pieces_of_an_f_string_do_not_count_but_their_text():
    """Python 3.12 divides ``f"{a:>{b}}"`` otherwise than 3.11 and 3.13 do."""
    whole = ast.parse('x = f"a{b:>{c}}"').body[0]
    divided = ast.parse('x = f"a{b:>{c}}"').body[0]
    specification = divided.value.values[1].format_spec
    specification.values = [ast.Constant(""), *specification.values, ast.Constant("")]
    divided.value.values[0:1] = [ast.Constant("a"), ast.Constant("")]
    assert read_statement(whole, "pkg", {})[0].digest == read_statement(divided, "pkg", {})[0].digest
