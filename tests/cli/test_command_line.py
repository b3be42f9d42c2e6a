"""The command line itself: version, help, completion, near misses, and the form of errors."""

from __future__ import annotations

import json
import logging
import os
import pickle
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from robot_assets.cli import main, streams
from robot_assets.cli.edge import readable_errors
from robot_assets.core.errors import DataError, RobotAssetsError
from robot_assets.core.text import escaped, near_misses

PARAMS = Path(__file__).parents[2] / "params.yaml"


def run(*arguments: str, cwd: Path | None = None, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("robot-assets")), *arguments]
    environment = {**os.environ, "COLUMNS": "120", **variables}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


def completed(words: str, cwd: Path) -> list[str]:
    variables = {"_ROBOT_ASSETS_COMPLETE": "complete_bash", "COMP_WORDS": f"robot-assets {words}"}
    done = run(cwd=cwd, COMP_CWORD=str(len(words.split(" "))), **variables)
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    return done.stdout.split()


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("project")
    (root / "params.yaml").write_bytes(PARAMS.read_bytes())
    return root


def test_the_version_has_the_commit_of_a_checkout(repository: Path) -> None:
    done = run("--version")
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=repository, capture_output=True, text=True)
    assert done.stdout.startswith("robot-assets 0.1.0")
    assert commit.returncode != 0 or "(commit " in done.stdout


@pytest.mark.parametrize("words", [(), ("engine",), ("engine", "bench"), ("plan",), ("platform", "report")])
def test_help_has_a_short_option_and_flags_without_types(words: tuple[str, ...]) -> None:
    short, long = run(*words, "-h"), run(*words, "--help")
    assert short.returncode == 0
    assert short.stdout == long.stdout
    assert "<bool>" not in short.stdout


def test_names_of_the_project_are_completed(project: Path) -> None:
    assert completed("data check s", project) == ["sidewalk", "sidewalk_ground"]
    assert completed("engine bench s", project) == [
        "sidewalk_detector/engine/cpu",
        "sidewalk_segmenter/engine/cpu",
    ]
    assert completed("plan robocup_detector/c", project) == ["robocup_detector/checkpoint"]
    assert "sidewalk_detector" in completed("build s", project)
    assert completed("platform report ", project) == ["cpu"]
    assert "bench" in completed("engine ", project)


def test_completion_survives_a_broken_project(tmp_path: Path) -> None:
    assert completed("plan s", tmp_path) == []
    (tmp_path / "params.yaml").write_bytes(b"a: [\xff")
    assert completed("data check s", tmp_path) == []


def test_completion_imports_nothing_heavy(project: Path) -> None:
    code = """
import sys
from robot_assets.cli import completion
assert completion.datasets("") and completion.assets("")
print(*sorted({"dagster", "torch", "onnx", "onnxruntime", "matplotlib", "numpy", "PIL", "fsspec"} & sys.modules.keys()))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=project, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


@pytest.mark.parametrize(
    ("words", "found", "fix"),
    [
        (("status",), "robot-assets has no command 'status'; did you mean 'plan'?", "robot-assets plan"),
        (("pln", "a b"), "robot-assets has no command 'pln'; did you mean 'plan'?", "robot-assets plan 'a b'"),
        (("data", "chek", "x"), "robot-assets data has no command 'chek'; did you", "robot-assets data check x"),
        (("xyz",), "robot-assets has no command 'xyz'", "robot-assets --help"),
        (("plan", "--jsn"), "robot-assets plan has no option --jsn; did you mean --json?", "robot-assets plan --json"),
        (("audit", "x", "--fromat=html"), "no option --fromat; did you", "robot-assets audit x --format=html"),
        (("audit", "x", "--format", "htm"), "--format is 'htm'; did you", "robot-assets audit x --format html"),
        (("engine", "bench", "x", "--inferences", "1"), "--inferences is '1'", "robot-assets engine bench --help"),
        (("engine", "bench", "x", "--inferences", "a"), "--inferences is 'a'", "robot-assets engine bench --help"),
        (("engine", "bench"), "ENGINE is missing", "robot-assets engine bench --help"),
        (("plan", "--json", "--debug", "-x"), "robot-assets plan has no option -x", "robot-assets plan --help"),
        (("data", "check", "a", "b"), "unexpected argument 'b'", "robot-assets data check --help"),
        (("verify", ""), "an argument after verify is empty", "robot-assets verify --help"),
        (("engine", "get", "x", "--out", ""), "an argument after --out is empty", "robot-assets engine get x --help"),
        (("audit", "x", "--out="), "the value of --out is empty", "robot-assets audit x --help"),
        (("engine", "inspect", "a", "--layers", "true"), "'true': --layers takes no value", "inspect --help"),
    ],
    ids=" ".join,
)
def test_a_mistake_in_a_command_line_is_corrected(
    words: tuple[str, ...], found: str, fix: str, capfd: pytest.CaptureFixture[str]
) -> None:
    code = in_this_process(*words)
    said = capfd.readouterr().err.replace("\n", "|")
    assert code == 2, said
    assert found in said
    assert said.rstrip("|").endswith(fix)
    assert "Input should" not in said


def in_this_process(*words: str) -> int:
    """The exit code of a command line, in a forked child whose standard streams are those of this process."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        code = 99
        try:
            code = main.run(words)
        except SystemExit as done:
            code = done.code if isinstance(done.code, int) else 98
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.parametrize("words", [["--json"], ["--format", "json"], ["--format=json"]], ids=" ".join)
def test_a_failure_is_json_when_json_was_asked_for(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    issues = [{"place": f"{number}.txt", "found": "no box"} for number in range(30)]
    with pytest.raises(SystemExit) as caught, readable_errors(["data", "import", *words]):
        raise DataError("30 mistakes", needed="none", fix="correct them", details={"issues": issues})
    said = capsys.readouterr()
    assert caught.value.code == 1
    assert json.loads(said.out) == {
        "error": {"found": "30 mistakes", "needed": "none", "fix": "correct them", "issues": issues}
    }
    assert said.err == "error: 30 mistakes\n  needed: none\n  fix: correct them\n"


def test_details_survive_a_process_boundary() -> None:
    error = DataError("a", needed="b", fix="c", details={"issues": [1, 2]})
    assert pickle.loads(pickle.dumps(error)).as_json() == error.as_json()


def test_an_unexpected_error_names_its_place_and_the_option_that_shows_more(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SystemExit) as caught, readable_errors(["data", "check", "a b"]):
        near_misses("a", None)  # type: ignore[arg-type]
    said = capsys.readouterr().err
    assert caught.value.code == 1
    assert "Traceback" not in said
    assert "error: an error in robot-assets: TypeError: 'NoneType' object is not iterable" in said
    assert "(robot_assets/core/text.py, line" in said
    assert "fix: robot-assets data check 'a b' --debug   # shows the traceback; please report it" in said
    monkeypatch.setenv("ROBOT_ASSETS_DEBUG", "1")
    with pytest.raises(SystemExit), readable_errors(["data", "check", "a b"]):
        near_misses("a", None)  # type: ignore[arg-type]
    assert "Traceback" in capsys.readouterr().err


def test_an_error_while_an_error_is_described_is_not_a_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    class Unprintable(Exception):
        args = ("no memory",)

        def __str__(self) -> str:
            if sys._getframe(1).f_code.co_name == "_fault":
                raise MemoryError("none left")
            return "no memory"

    with pytest.raises(SystemExit) as caught, readable_errors():
        raise Unprintable
    assert caught.value.code == 1
    said = capsys.readouterr().err
    assert said.startswith("error: Unprintable: no memory\n  needed: memory and open files")
    assert "Traceback" not in said


@pytest.mark.parametrize("words", [("--debug", "verify", "x"), ("verify", "x", "--debug")])
def test_debug_is_accepted_before_and_after_the_verb(words: tuple[str, ...], tmp_path: Path) -> None:
    done = run(*words, cwd=tmp_path)
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "error: 'x' is not a directory here" in done.stderr


def test_an_interruption_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught, readable_errors():
        raise KeyboardInterrupt
    assert caught.value.code == 130
    assert capsys.readouterr().err == "interrupted\n"


def _end_an_import(begins: str) -> None:
    if begins == "text":
        raise ImportError("KeyboardInterrupt: <no message>")
    try:
        raise KeyboardInterrupt
    except KeyboardInterrupt as interruption:
        if begins == "cause":
            raise ImportError("initialization failed") from interruption
        raise RobotAssetsError("ONNX Runtime cannot be loaded", needed="it", fix="pip install it") from None


@pytest.mark.parametrize("begins", ["cause", "context", "text"])
def test_an_interruption_of_an_import_is_one_line(begins: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Extension modules make an ImportError of it, and a command may make one of its own errors of that."""
    with pytest.raises(SystemExit) as caught, readable_errors():
        _end_an_import(begins)
    assert caught.value.code == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_control_characters_of_names_are_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit), readable_errors():
        raise DataError("a\x1b]0;title\x07\r\u202eb\udcff 한국어\n    c", needed="b", fix="c")
    assert capsys.readouterr().err.startswith(r"error: a\x1b]0;title\x07\r\u202eb\udcff 한국어" + "\n    c\n")
    assert escaped("[bold] 日本語") == "[bold] 日本語"


def test_libraries_are_quiet_and_we_are_not() -> None:
    before, handler = warnings.filters[:], logging.lastResort
    assert isinstance(handler, logging.Handler)
    filters = handler.filters[:]
    try:
        streams.quiet_libraries()
        shown = [handler.filter(logging.makeLogRecord({"name": name})) for name in ("fsspec", "robot_assets.store")]
        assert list(map(bool, shown)) == [False, True]
    finally:
        warnings.filters[:], handler.filters[:] = before, filters
