"""Versions, one look at the files, where packages are found, and the import of the code that a record names."""

import os
import re
import shutil
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from threading import Barrier

import pytest

from robot_assets.lineage.code import CODE_RULE, Code, load, running_code
from robot_assets.lineage.errors import LineageError
from tests.lineage.code.package import ROOT, Package

PUBLISHING = "robot_assets.core.publishing:publishing_file"
STAGE = "robot_assets.toy.stage:run"


def test_the_parameters_that_a_stage_reads_count():
    code = Code()
    assert code.version(PUBLISHING, {"a": 1}) == Code().version([PUBLISHING], {"a": 1})
    assert code.version(PUBLISHING, {"a": 1}) != code.version(PUBLISHING, {"a": 2})
    assert code.version(PUBLISHING, {"a": 1}) != code.version(PUBLISHING, {})
    assert code.version(PUBLISHING, {"a": 1, "b": 2}) == code.version(PUBLISHING, {"b": 2, "a": 1})
    assert code.version(PUBLISHING, {"a": 1}) != code.version("robot_assets.core.progress:report", {"a": 1})


def test_a_version_has_32_digits_and_a_definition_12():
    assert len(Code().version(PUBLISHING, {})) == 32
    assert {len(digest) for digest in Code().definitions(PUBLISHING).values()} == {12}


def test_definitions_and_modules_are_sorted():
    code = Code()
    names = list(code.definitions(PUBLISHING))
    assert names == sorted(names)
    assert PUBLISHING in names
    assert code.modules(PUBLISHING) == ("robot_assets.core.publishing",)


def test_a_version_is_one_of_a_rule():
    assert CODE_RULE == 2


@pytest.mark.parametrize(
    ("entry", "found"),
    [
        ("robot_assets.nowhere:run", "no module robot_assets.nowhere"),
        ("robot_assets.core.publishing:nothing", r"core/publishing\.py does not define nothing"),
    ],
)
def test_an_entry_point_that_does_not_exist_is_an_error_and_not_a_version(entry, found):
    with pytest.raises(LineageError, match=found):
        Code().version(entry, {})


def test_the_package_of_an_entry_point_is_found_without_being_imported(tmp_path, monkeypatch):
    Package(tmp_path, {"stage.py": "def run(): ...", "__init__.py": "raise SystemExit"})
    monkeypatch.syspath_prepend(tmp_path)
    assert Code().definitions("pkg.stage:run").keys() == {"pkg", "pkg.stage:run"}
    assert "pkg" not in sys.modules


def namespace_package(folder: Path) -> None:
    (folder / "foreign").mkdir()
    (folder / "foreign" / "stage.py").write_text("def run(): ...\n")


def single_file(folder: Path) -> None:
    (folder / "foreign.py").write_text("def run(): ...\n")


def compiled_extension(folder: Path) -> None:
    (folder / f"foreign{EXTENSION_SUFFIXES[0]}").write_bytes(b"")


def nothing(folder: Path) -> None:
    pass


@pytest.mark.parametrize(
    ("write", "entry", "kind"),
    [
        (namespace_package, "foreign.stage:run", "a namespace package"),
        (single_file, "foreign:run", "a file outside any package"),
        (compiled_extension, "foreign:run", "a compiled extension"),
        (nothing, "foreign.stage:run", f"not installed in {sys.prefix}"),
    ],
)
def test_code_that_is_not_the_source_of_a_package_is_refused(tmp_path, monkeypatch, write, entry, kind):
    write(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(LineageError) as error:
        Code().version(entry, {})
    assert error.value.found == f"foreign is {kind}, so the code of a stage in it has no version"
    assert error.value.needed == "a package foreign: a folder with an __init__.py that Python finds"
    assert error.value.fix.startswith("pip install -e " if write is nothing else "python -c 'import foreign;")


def test_a_compiled_extension_that_a_stage_imports_is_refused(tmp_path):
    package = Package(tmp_path, {"stage.py": "from pkg import fast\ndef run(): return fast.run()"})
    (package.folder / f"fast{EXTENSION_SUFFIXES[0]}").write_bytes(b"")
    with pytest.raises(LineageError, match=r"pkg\.fast in .* is a compiled extension"):
        package.version()


@pytest.mark.parametrize("text", ["def run(:\n", "x = '\0'\n", "x = " + "-" * 3000 + "1\n"])
def test_a_file_that_does_not_parse_is_refused(tmp_path, text):
    package = Package(tmp_path, {"stage.py": text})
    with pytest.raises(LineageError, match=r"stage\.py does not parse: ") as error:
        package.version()
    assert error.value.fix.startswith(f"python -m py_compile {package.folder / 'stage.py'}")


def test_a_library_is_no_code_of_a_stage(tmp_path):
    stage = "import json\nimport no_such_library\ndef run(): return json.dumps, no_such_library.run"
    assert Package(tmp_path, {"stage.py": stage}).reached() == ["pkg.stage:run"]


def test_the_package_of_an_installed_plugin_is_code(tmp_path):
    stage = "from offered.part import work\nfrom library import other\ndef run(): return work, other"
    Package(tmp_path, {"stage.py": stage})
    for name in ("offered", "library"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "__init__.py").write_text("def other(): ...\n")
        (folder / "part.py").write_text("def work(): ...\nKIND = None\n")
    installed = tmp_path / "offered-1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: offered\nVersion: 1.0\n")
    (installed / "entry_points.txt").write_text("[robot_assets.engine_kinds]\nmine = offered.part:KIND\n")
    program = "from robot_assets.lineage.code import Code; print(*Code().definitions('pkg.stage:run'))"
    (found,) = lines_of(program, tmp_path, ROOT, tmp_path)
    assert found == "offered.part:work pkg.stage:run"


TOY = {
    "__init__.py": "",
    "stage.py": "def run():\n    from robot_assets.toy.far import deep\n    return deep()\n",
    "far.py": "from . import deeper\n\ndef deep():\n    return deeper.VALUE\n",
    "deeper.py": "VALUE = 1\nOTHER = 1\n",
    "stranger.py": "VALUE = 1\n",
    "edge.py": "import no_such_library\n\nfrom robot_assets.toy import deeper\n\ndef run():\n    return deeper.VALUE\n",
    "broken.py": "import robot_assets.toy.gone\n\ndef run():\n    return 1\n",
}


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    """A checkout of its own, with a few small modules that are edited while processes run."""
    package = tmp_path / "robot_assets"
    for folder in (".", "core", "lineage", "lineage/code"):
        (package / folder).mkdir()
        for source in (ROOT / "robot_assets" / folder).glob("*.py"):
            shutil.copy(source, package / folder)
    (package / "toy").mkdir()
    for name, text in TOY.items():
        (package / "toy" / name).write_text(text)
    return package / "toy"


def lines_of(program: str, folder: Path, *paths: Path) -> list[str]:
    """Lines that a new process prints."""
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths)), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def python(toy: Path, program: str) -> list[str]:
    """Lines that a new process in that checkout prints."""
    start = f"""
    from pathlib import Path
    from robot_assets.lineage.code import *
    from robot_assets.lineage.errors import LineageError
    toy, STAGE = Path("robot_assets/toy"), "{STAGE}"
    def version(code): print(code.version(STAGE, {{}}))
    """
    checkout = toy.parents[1]
    return lines_of(textwrap.dedent(start) + textwrap.dedent(program), checkout, checkout)


def test_every_look_sees_the_files_as_they_are(toy):
    first, stranger, comment, unread, edited, undone = python(
        toy,
        """
        version(Code())
        (toy / "stranger.py").write_text("VALUE = 2\\n")
        version(Code())
        (toy / "deeper.py").write_text("# a comment\\nVALUE = 1\\n")
        version(Code())
        (toy / "deeper.py").write_text("VALUE = 1\\nOTHER = 2\\n")
        version(Code())
        (toy / "deeper.py").write_text("VALUE = 2\\n")
        version(Code())
        (toy / "deeper.py").write_text("VALUE = 1\\n")
        version(Code())
        """,
    )
    assert first == stranger == comment == unread == undone
    assert edited != first


def test_a_file_that_appears_is_seen(toy):
    without, shadowed = python(
        toy,
        """
        version(Code())
        (toy / "deeper").mkdir()
        (toy / "deeper/__init__.py").write_text("VALUE = 3\\n")
        version(Code())
        """,
    )
    assert without != shadowed


def test_one_look_stays_of_one_moment_and_a_new_look_sees_the_edit(toy):
    before, still, after, again = python(
        toy,
        """
        one = Code()
        version(one)
        (toy / "deeper.py").write_text("VALUE = 2\\n")
        (toy / "far.py").write_text("def deep(): ...\\n")
        version(one)
        version(Code())
        version(one)
        """,
    )
    assert before == still == again
    assert after != before


def test_threads_that_look_at_the_same_time_get_the_same_version(tmp_path):
    package = Package(tmp_path, {"stage.py": "from robot_assets.training.loop import train\ndef run(): return train"})
    start = Barrier(4)

    def version(_: int) -> str:
        start.wait()
        return package.version()

    with ThreadPoolExecutor(4) as pool:
        found = {*pool.map(version, range(4))}
    assert found == {package.version()}


def test_the_running_code_is_asked_for_once_in_a_process():
    assert running_code() is running_code()


def test_the_whole_code_of_a_stage_is_imported_before_it_runs(toy):
    (loaded,) = python(
        toy,
        """
        import sys
        load(STAGE)
        print(*sorted(name for name in sys.modules if name.startswith("robot_assets.toy")))
        """,
    )
    assert loaded.split() == [f"robot_assets.toy{rest}" for rest in ("", ".deeper", ".far", ".stage")]


@pytest.mark.parametrize("edit", ["VALUE = 2", "import sys\\nVALUE = sys", "VALUE = 1\\nprint()"])
def test_code_that_was_edited_before_its_import_is_refused(toy, edit):
    *_, found, needed, fix = python(
        toy,
        f"""
        running_code().version(STAGE, {{}})
        (toy / "deeper.py").write_text('{edit}\\n')
        try:
            load(STAGE)
        except LineageError as error:
            print(error)
        """,
    )
    assert found == "robot_assets.toy.deeper was edited after this process had looked at it"
    assert needed == "  needed: one and the same code from the start of the process to the import"
    assert fix == "  fix: run it again: a new process takes the code as it is now"


@pytest.mark.parametrize("edit", ["# a comment\\nVALUE = 1", "VALUE = 1\\nOTHER = 2", "import sys\\nVALUE = 1"])
def test_an_edit_of_what_does_not_count_is_no_edit(toy, edit):
    before, ran, promised = python(
        toy,
        f"""
        version(running_code())
        (toy / "deeper.py").write_text('{edit}\\n')
        load(STAGE)
        (toy / "deeper.py").write_text("VALUE = 2\\n")
        load(STAGE)
        from robot_assets.toy.stage import run
        print(run())
        version(running_code())
        """,
    )
    assert ran == "1"  # what was imported before the edit runs as it was
    assert promised == before


def test_a_machine_without_a_library_loads_the_rest(toy):
    (loaded,) = python(
        toy,
        """
        import sys
        load("robot_assets.toy.edge:run")
        print("robot_assets.toy.deeper" in sys.modules, "robot_assets.toy.edge" in sys.modules)
        """,
    )
    assert loaded == "True False"


def test_a_missing_module_of_ours_is_an_error(toy):
    (error,) = python(
        toy,
        """
        try:
            load("robot_assets.toy.broken:run")
        except ModuleNotFoundError as error:
            print(error)
        """,
    )
    assert error == "No module named 'robot_assets.toy.gone'"


def test_the_code_of_this_process_loads():
    load(PUBLISHING)
    assert "robot_assets.core.publishing" in sys.modules


def test_the_command_of_the_documentation_lists_the_definitions_of_a_stage():
    page = (ROOT / "docs" / "code_versions.md").read_text()
    (command,) = re.findall(r"```sh\n(.*?)```", page, re.DOTALL)
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        command, shell=True, cwd=ROOT, env={**os.environ, "PATH": path}, capture_output=True, text=True, check=True
    )
    lines = dict(reversed(line.split(" ")) for line in done.stdout.splitlines())
    assert lines == Code().definitions("robot_assets.pipeline.kinds.checkpoint:run")
