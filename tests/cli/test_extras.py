"""Which extra installs which library, as pyproject.toml has it; and the errors where one is missing."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from robot_assets.cli.edge import readable_errors
from robot_assets.core.extras import EXTRA_OF, MissingLibrary, missing_library, require
from tests.packages import distribution, requirements, written_requirements


def installed_by(extra: str) -> set[str]:
    return {distribution(line) for line in requirements(extra)}


def distributions_of(library: str) -> set[str]:
    if library == "kubernetes":
        return {"dagster-k8s"}  # which requires it
    return {name.lower() for name in packages_distributions()[library]}


@pytest.mark.parametrize(("library", "extra"), EXTRA_OF.items())
def test_every_library_comes_with_its_extra(library: str, extra: str) -> None:
    assert distributions_of(library) & installed_by(extra)


def test_the_base_installs_none_of_them() -> None:
    optional = set().union(*map(distributions_of, EXTRA_OF))
    assert not installed_by("") & optional


def test_each_library_has_one_version() -> None:
    """An extra may repeat a requirement, but with no other version."""
    lines = [line for extra in written_requirements().values() for line in extra]
    of_libraries = {line for line in lines if distribution(line) != "robot-assets"}
    names = [distribution(line) for line in of_libraries]
    assert sorted(names) == sorted(set(names))


def test_a_library_that_is_not_installed_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    require("onnxruntime")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingLibrary) as caught:
        require("onnxruntime")
    assert caught.value.fix == "pip install 'robot-assets[cpu]'"


def test_a_missing_library_is_an_error_in_three_parts(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit), readable_errors():
        raise ModuleNotFoundError("no", name="cuda.bindings")
    assert capsys.readouterr().err == (
        "error: cuda.bindings is not installed\n"
        "  needed: the extra 'jetson' of robot-assets\n"
        "  fix: pip install 'robot-assets[jetson]'\n"
    )


def test_an_import_that_no_extra_would_help_is_a_fault_of_the_program(capsys: pytest.CaptureFixture[str]) -> None:
    assert missing_library(ModuleNotFoundError("no", name="robot_assets.typo")) is None
    with pytest.raises(SystemExit), readable_errors(["plan"]):
        raise ModuleNotFoundError("no", name="robot_assets.typo")
    said = capsys.readouterr().err
    assert "error: an error in robot-assets: ModuleNotFoundError: no (" in said
    assert "fix: robot-assets plan --debug   # shows the traceback; please report it\n" in said


def test_the_tests_for_a_jetson_load_with_the_extras_of_engines_alone(repository: Path) -> None:
    blocked = [library for library, extra in EXTRA_OF.items() if extra not in ("engines", "cpu", "jetson")]
    code = f"""
import sys
sys.modules.update(dict.fromkeys({blocked}))
import tests.conftest, tests.on_jetson.conftest, tests.on_jetson.test_engines_here
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=repository, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
