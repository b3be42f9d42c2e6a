"""Which definitions are part of a stage: what its entry points can reach by name, and what runs at import."""

import pytest

from robot_assets.lineage.errors import LineageError
from tests.lineage.code.package import Package

REACHED = {
    "a function that is called": (
        {"stage.py": "def run():\n    return one()\n\ndef one(): ...\n\ndef other(): ..."},
        "stage:one stage:run",
    ),
    "a constant, and what it is made of": (
        {"stage.py": "def run():\n    return TABLE\n\nTABLE = {'a': one}\nOTHER = 1\n\ndef one(): ..."},
        "stage:TABLE stage:one stage:run",
    ),
    "one of several names that one statement binds": (
        {"stage.py": "def run():\n    return A\n\nA, (B, *C) = 1, (2, 3)\nD = E = 4"},
        "stage:A stage:run",
    ),
    "a class with its bases, decorators, annotations and defaults": (
        {
            "stage.py": """
            def run(): return Spec
            @mark
            class Spec(Base):
                part: Part
                parts: "list[Quoted]"
                kind: Literal["Unrelated"]
                size: int = default()
                def method(self): return helper()
            class Base: ...
            class Part: ...
            class Quoted: ...
            class Unrelated: ...
            class Below(Spec): ...
            def default(): ...
            def helper(): ...
            def mark(one): return one
            """
        },
        "stage:Base stage:Part stage:Quoted stage:Spec stage:default stage:helper stage:mark stage:run",
    ),
    "every statement that binds a name": (
        {"stage.py": "def run(): return f()\ndef f(): return a()\ndef f(): return b()\ndef a(): ...\ndef b(): ..."},
        "stage:a stage:b stage:f stage:run",
    ),
    "not what a local variable hides": (
        {
            "stage.py": """
            def run(a, *b, c=0, **d):
                e = 1
                for f in range(3): ...
                with open() as g: ...
                try: ...
                except E as h: ...
                match a:
                    case {"x": i, **j}: ...
                    case [k, *l] as m: ...
                def n(): return a, b, c, d, e, f, g, h, i, j, k, l, m, n
                class o: ...
                (p := 1), [q for q in a], (lambda r: r), [s := 2 for _ in a], o, p, s
                import t
                return t, u
                u: int
            """
            + "".join(f"def {name}(): ...\n            " for name in "abcdefghijklmnopqrstu")
        },
        "stage:run",
    ),
    "what a comprehension, a class body and a nested function read outside": (
        {
            "stage.py": """
            def run():
                a = 1
                def inner():
                    global a
                    a = b
                    return [c for c in c]
                class Local:
                    d = 1
                    def method(self): return d
                return inner, Local
            a, c, d = 1, 1, 1
            def b(): ...
            """
        },
        "stage:a stage:b stage:c stage:d stage:run",
    ),
    "what an outer function binds, through nonlocal": (
        {
            "stage.py": """
            def run():
                a = 1
                def inner():
                    nonlocal a
                    a = 2
                return inner
            a = 1
            """
        },
        "stage:run",
    ),
    "a name that is imported": (
        {"stage.py": "from pkg.near import one\ndef run(): one()", "near.py": "def one(): ...\ndef other(): ..."},
        "near:one stage:run",
    ),
    "a name that is imported under another": (
        {"stage.py": "from .near import one as two\ndef run(): two()", "near.py": "def one(): ...\ndef two(): ..."},
        "near:one stage:run",
    ),
    "a name through re-exports": (
        {
            "stage.py": "from pkg.part import one\ndef run(): one()",
            "part/__init__.py": "from pkg.part.far import one\nfrom pkg.part.other import two\n__all__ = ['one']",
            "part/far.py": "from pkg.part.farther import deep as one",
            "part/farther.py": "def deep(): ...",
            "part/other.py": "def two(): ...",
        },
        "part.farther:deep stage:run",
    ),
    "an attribute of a module": (
        {
            "stage.py": """
            import pkg.near
            import pkg.part.far as far
            from pkg import part
            from . import near as neighbour
            def run(): return pkg.near.one(), far.two(), part.far.three.attribute, neighbour.four
            """,
            "near.py": "def one(): ...\nfour = 4\ndef other(): ...",
            "part/__init__.py": "",
            "part/far.py": "def two(): ...\ndef three(): ...\ndef other(): ...",
        },
        "near:four near:one part.far:three part.far:two stage:run",
    ),
    "an import inside a function": (
        {
            "stage.py": "def run():\n    from pkg.near import one\n    import pkg.far\n    return one(), pkg.far.two()",
            "near.py": "def one(): ...\ndef other(): ...",
            "far.py": "def two(): ...\ndef other(): ...",
        },
        "far:two near:one stage:run",
    ),
    "not an import inside a function that is not reached, or for type checkers": (
        {
            "stage.py": """
            from typing import TYPE_CHECKING
            if TYPE_CHECKING:
                from pkg.near import one
            def run(x: one):
                if TYPE_CHECKING:
                    from pkg.near import one
            def other():
                from pkg.near import one
            """,
            "near.py": "print()\ndef one(): ...",
        },
        "stage:run",
    ),
    "the other branch of what type checkers see": (
        {
            "stage.py": """
            import typing
            if typing.TYPE_CHECKING:
                from pkg.near import one
            else:
                one = two()
            def run(): return one
            def two(): ...
            """,
            "near.py": "",
        },
        "stage:one stage:run stage:two",
    ),
    "the class of a parameter, whose methods run on what is passed": (
        {
            "stage.py": """
            def run(a: Spec, *b: 'Other | None', c: int = 0) -> Result:
                d: Local = a
            class Spec: ...
            class Other: ...
            class Result: ...
            class Local: ...
            """
        },
        "stage:Other stage:Spec stage:run",
    ),
    "statements with an effect of every module that is imported, and of the packages above": (
        {
            "__init__.py": "print(1)",
            "stage.py": "import pkg.near\ndef run(): ...\nassert True\nUNUSED = print(2)",
            "near.py": "from pkg.part.far import one\nfor i in range(3): ...\ndef two(): ...",
            "part/__init__.py": "TABLE = {}\nTABLE['a'] = value()\ndef value(): ...",
            "part/far.py": "def one(): ...\none.attribute = 1\nCOUNT = 1\nCOUNT += 1",
        },
        # The right side of UNUSED runs, but nothing reads what comes of it.
        "near part part.far part.far:COUNT part.far:one part:TABLE part:value stage stage:run",
    ),
    "what runs when a module is imported inside a function": (
        {"stage.py": "def run():\n    import pkg.near", "near.py": "import pkg.far", "far.py": "print(1)"},
        "far stage:run",
    ),
    "definitions that a decorator may register": (
        {
            "stage.py": """
            import functools
            from pkg.table import TABLE, register
            def run(): return TABLE
            @register
            def one(): ...
            @TABLE.add("two")
            class Two: ...
            class Three:
                @register
                def method(self): ...
                register("four")
            @functools.cache
            def four(): ...
            @property
            def five(): ...
            """,
            "table.py": "TABLE = []\ndef register(one): TABLE.append(one)",
        },
        "stage:Three stage:Two stage:one stage:run table:TABLE table:register",
    ),
    "classes that a base class of ours sees being defined": (
        {
            "stage.py": """
            from pkg.base import Base, Registry, TABLE
            def run(): return TABLE
            class One(Base): ...
            class Two(One): ...
            class Three(metaclass=Registry): ...
            class Four: ...
            """,
            "base.py": """
            TABLE = []
            class Base:
                def __init_subclass__(cls): TABLE.append(cls)
            class Registry(type): ...
            """,
        },
        "base:Base base:Registry base:TABLE stage:One stage:Three stage:Two stage:run",
    ),
    "no subclass of a class": (
        {"stage.py": "def run(): return Base()\nclass Base: ...\nclass Below(Base): ..."},
        "stage:Base stage:run",
    ),
    "no method of an object of unknown type": (
        {"stage.py": "def run(step): return step.work()\nclass Step:\n    def work(self): ..."},
        "stage:run",
    ),
    "an alternative import": (
        {
            "stage.py": """
            try:
                from pkg.fast import one
            except ImportError:
                from pkg.slow import one
            def run(): return one()
            """,
            "fast.py": "def one(): ...\ndef two(): ...",
            "slow.py": "def one(): ...\ndef two(): ...",
        },
        "fast:one slow:one stage stage:run",
    ),
    "code that a program is told to run": (
        {
            "stage.py": "import sys\ndef run(): return [sys.executable, '-m', 'pkg.program', 'argument']",
            "program.py": "def main(): ...\nif __name__ == '__main__':\n    main()",
        },
        "program program:main stage:run",
    ),
    "only its own digest of a function whose answer parameters choose": (
        {
            "stage.py": """
            from robot_assets.core.dispatch import chosen_by_params
            def run(name): return choose(name)
            @chosen_by_params
            def choose(name):
                import importlib
                from pkg.near import one
                return importlib.import_module(name), TABLE, one, listed()
            @chosen_by_params
            def listed(): return TABLE
            TABLE = {}
            """,
            "near.py": "print()\ndef one(): ...",
        },
        "stage:choose stage:listed stage:run",
    ),
    "what a class with such a method needs besides": (
        {
            "stage.py": """
            from robot_assets.core import dispatch
            def run(): return Choice()
            class Choice:
                @staticmethod
                @dispatch.chosen_by_params
                def choose(name): return TABLE[name]
                def other(self): return one()
            TABLE = {}
            def one(): ...
            """
        },
        "stage:Choice stage:one stage:run",
    ),
    "a module that is imported by a constant name": (
        {
            "stage.py": """
            import importlib
            from importlib import import_module as load
            def run(): return importlib.import_module("pkg.near"), load(".far", __package__), __import__("json")
            """,
            "near.py": "def one(): ...",
            "far.py": "def two(): ...",
        },
        "far:two near:one stage:run",
    ),
}


@pytest.mark.parametrize(("files", "reached"), REACHED.values(), ids=REACHED)
def test_a_stage_reaches(tmp_path, files, reached):
    found = [name.removeprefix("pkg").removeprefix(".") for name in Package(tmp_path, files).reached()]
    assert " ".join(found).strip() == reached


WHOLE = {
    "a module that is passed on": "import pkg.near\ndef run(): return list(map(str, [pkg.near]))",
    "a module that is passed on under another name": "from pkg import near as n\ndef run(): return n",
    "an attribute with a computed name": "from pkg import near\ndef run(name): return getattr(near, name)",
    "the namespace of a module": "from pkg import near\ndef run(name): return vars(near)[name]",
    "an attribute that is not to be found": "from pkg import near\ndef run(): return near.three",
    "a name that is not to be found": "from pkg.near import three\ndef run(): return three",
    "a star import": "from pkg.near import *\ndef run(): return one()",
    "a star import through another module": "from pkg.through import one\ndef run(): return one()",
    "a module with a special attribute": "import pkg.near\ndef run(): return pkg.near.__dict__",
    "a package that gives access to it": "import pkg.near\ndef run(): return pkg",
}


@pytest.mark.parametrize("stage", WHOLE.values(), ids=WHOLE)
def test_what_cannot_be_resolved_is_the_whole_module(tmp_path, stage):
    near = "def one(): ...\ndef two(): return deep()\nclass Three: ...\ndef deep(): ..."
    package = Package(tmp_path, {"stage.py": stage, "near.py": near, "through.py": "from pkg.near import *"})
    everything = {f"pkg.near:{name}" for name in ("one", "two", "Three", "deep")}
    assert everything <= {*package.reached()}


@pytest.mark.parametrize(
    "body",
    ["globals()[name]", "eval(name)", "exec(name)", "builtins.eval(name)", "sys.modules[__name__]", "modules[name]"],
)
def test_code_that_reads_its_own_namespace_is_the_whole_module(tmp_path, body):
    stage = f"import builtins\nimport sys\nfrom sys import modules\ndef run(name): return {body}\ndef other(): ..."
    package = Package(tmp_path, {"stage.py": stage})
    assert package.reached() == ["pkg.stage:other", "pkg.stage:run"]


def test_a_name_of_a_module_itself_is_not_the_whole_module(tmp_path):
    package = Package(
        tmp_path,
        {
            "stage.py": "from pkg import near\ndef run(): return near.__name__, near.__file__",
            "near.py": "def one(): ...",
        },
    )
    assert package.reached() == ["pkg.stage:run"]


def test_an_entry_point_without_a_name_is_the_whole_module(tmp_path):
    package = Package(tmp_path, {"stage.py": "def run(): ...\nA = 1\nprint(A)", "__init__.py": "print(1)"})
    assert package.reached("pkg.stage") == ["pkg", "pkg.stage", "pkg.stage:A", "pkg.stage:run"]


def test_several_entry_points_reach_what_each_of_them_does(tmp_path):
    package = Package(tmp_path, {"stage.py": "def one(): return a()\ndef two(): ...\ndef a(): ...\ndef b(): ..."})
    assert package.reached("pkg.stage:two", "pkg.stage:one") == ["pkg.stage:a", "pkg.stage:one", "pkg.stage:two"]
    assert package.version("pkg.stage:two", "pkg.stage:one") == package.version("pkg.stage:one", "pkg.stage:two")
    assert package.version("pkg.stage:two") != package.version("pkg.stage:one", "pkg.stage:two")


def test_two_entry_points_with_the_same_definitions_have_different_versions(tmp_path):
    package = Package(tmp_path, {"stage.py": "def one(): return two()\ndef two(): return one()"})
    assert package.reached("pkg.stage:one") == package.reached("pkg.stage:two")
    assert package.version("pkg.stage:one") != package.version("pkg.stage:two")


def test_references_are_followed_into_robot_assets_and_back(tmp_path):
    package = Package(
        tmp_path,
        {"stage.py": "from robot_assets.core.publishing import publishing_file\ndef run(): return publishing_file"},
    )
    names = package.code.definitions("pkg.stage:run")
    assert {"pkg.stage:run", "robot_assets.core.publishing:publishing_file"} <= names.keys()
    assert package.code.modules("pkg.stage:run") == ("pkg.stage", "robot_assets.core.publishing")


def test_an_edit_of_what_is_out_of_reach_changes_nothing(tmp_path):
    files = {
        "stage.py": "from pkg.near import one\ndef run(): one()\ndef unused(): ...",
        "near.py": "def one(): ...\nclass Other:\n    def method(self): return 1\nUNUSED = 1",
    }
    package = Package(tmp_path, files)
    before = package.version()
    package.edit("near.py", "return 1", "return 2")
    package.edit("near.py", "UNUSED = 1", "UNUSED = 2\nMORE = 3")
    package.edit("stage.py", "def unused(): ...", "def unused(): return 1")
    assert package.version() == before
    package.edit("near.py", "def one(): ...", "def one(): return 1")
    assert package.version() != before


def test_the_order_of_definitions_and_the_folder_do_not_count(tmp_path):
    texts = ["import pkg.near", "def run(): return A, one()", "A = 1", "def one(): return pkg.near"]
    one, other = (
        Package(tmp_path / name, {"stage.py": "\n".join(order), "near.py": "def b(): ...\ndef a(): ..."})
        for name, order in (("here", texts), ("there", [texts[0], *texts[:0:-1]]))
    )
    assert one.version() == other.version()


def test_the_order_of_statements_with_an_effect_counts(tmp_path):
    files = {"stage.py": "def run(): ...\nprint(1)\nprint(2)"}
    package = Package(tmp_path, files)
    before = package.version()
    package.write("stage.py", "def run(): ...\nprint(2)\nprint(1)")
    assert package.version() != before


def test_circles_of_calls_imports_and_re_exports_end(tmp_path):
    package = Package(
        tmp_path,
        {
            "stage.py": "from pkg import near, lost\ndef run(): return near.one(), lost",
            "near.py": "from pkg import stage\ndef one(): return stage.run",
            "__init__.py": "from pkg.near import lost",
        },
    )
    package.edit("near.py", "from pkg import stage", "from pkg import stage, lost")
    assert {"pkg.stage:run", "pkg.near:one"} <= {*package.reached()}


@pytest.mark.parametrize(
    "call",
    [
        "importlib.import_module(name)",
        "importlib.import_module('.near')",
        "load(name)",
        "__import__(name)",
        "map(load, name)",
        "runpy.run_path('near.py')",
        "util.spec_from_file_location('near', 'near.py')",
        "metadata.entry_points(group='near')",
    ],
)
def test_an_import_by_a_computed_name_is_refused(tmp_path, call):
    stage = f"""
    import importlib
    import runpy
    from importlib import metadata, util
    from importlib import import_module as load
    def run(name):
        return {call}
    """
    package = Package(tmp_path, {"stage.py": stage})
    with pytest.raises(LineageError) as error:
        package.version()
    assert error.value.found == (
        f"{package.folder / 'stage.py'}:6 imports a module by a computed name, which no code version can follow"
    )
    assert "@chosen_by_params" in error.value.needed


def test_an_import_by_a_computed_name_is_refused_where_it_is_reached_only(tmp_path):
    stage = "from importlib import import_module\ndef run(): ...\ndef other(name): return import_module(name)"
    assert Package(tmp_path, {"stage.py": stage}).reached() == ["pkg.stage:run"]


COVERED = """
class Stage:
    def method(self):
        return [lambda: 1 for _ in range(3)]


def run():
    def inner(): ...
    return Stage, inner, KEY, sorted([])


KEY = lambda one: one
SQUARES = [one * one for one in range(3)]
OTHER = {one for one in range(3)}
def unused(): ...
"""


@pytest.mark.parametrize(
    ("name", "covered"),
    [
        ("run", True),
        ("run.<locals>.inner", True),
        ("Stage.method", True),
        ("Stage.method.<locals>.<listcomp>.<lambda>", True),
        ("unused", False),
        ("missing", False),
        ("<lambda>", True),
        ("<listcomp>", False),
        ("<genexpr>", False),
    ],
)
def test_a_function_is_covered_when_its_definition_is_reached(tmp_path, name, covered):
    package = Package(tmp_path, {"stage.py": COVERED})
    assert package.code.covers("pkg.stage:run", "pkg.stage", name) == covered


def test_a_function_of_another_module_is_not_covered(tmp_path):
    package = Package(tmp_path, {"stage.py": COVERED})
    assert not package.code.covers("pkg.stage:run", "json", "dumps")
    assert not package.code.covers("pkg.stage:run", "json", "<lambda>")
