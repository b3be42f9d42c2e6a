"""Which extra installs which library, as pyproject.toml has it; and the errors where one is missing."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from robot_assets.cli.console import readable_errors
from robot_assets.core.extras import EXTRA_OF, MissingLibrary, missing_library, require

Extras = Mapping[str, Sequence[str]]


@pytest.fixture(scope="module")
def extras(repository: Path) -> Extras:
    """The requirements of each extra, as they are written."""
    project = tomllib.loads((repository / "pyproject.toml").read_text())["project"]
    return {"": project["dependencies"], **project["optional-dependencies"]}


def installed_by(extras: Extras, extra: str) -> set[str]:
    """Names of the distributions that an extra asks for, through the extras that it names as well."""
    found: set[str] = set()
    for requirement in extras[extra]:
        if own := re.fullmatch(r"robot-assets\[([\w,-]+)\]", requirement):
            found |= set().union(*(installed_by(extras, name) for name in own[1].split(",")))
        else:
            found.add(re.match(r"[\w.-]+", requirement)[0].lower())  # type: ignore[index]
    return found


@pytest.mark.parametrize(("library", "extra"), EXTRA_OF.items())
def test_every_library_comes_with_its_extra(extras: Extras, library: str, extra: str) -> None:
    if library == "kubernetes":
        assert "dagster-k8s" in installed_by(extras, extra), "which brings kubernetes"
        return
    distributions = {name.lower() for name in packages_distributions()[library]}
    assert distributions & installed_by(extras, extra)


def test_the_base_installs_none_of_them(extras: Extras) -> None:
    distributions = packages_distributions()
    optional = {name.lower() for library in EXTRA_OF for name in distributions[library]}
    assert not installed_by(extras, "") & optional


def test_a_version_is_pinned_in_one_place(extras: Extras) -> None:
    names = [re.match(r"[\w.-]+", line)[0] for lines in extras.values() for line in lines]  # type: ignore[index]
    assert len([name for name in names if name != "robot-assets"]) == len(set(names) - {"robot-assets"})


def test_a_library_that_is_not_installed_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    require("onnxruntime")
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    with pytest.raises(MissingLibrary) as caught:
        require("onnxruntime")
    assert caught.value.fix == "pip install 'robot-assets[cpu]'"


def test_an_import_that_no_extra_would_help_keeps_its_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert missing_library(ModuleNotFoundError("no", name="robot_assets.typo")) is None
    with pytest.raises(ModuleNotFoundError), readable_errors():
        raise ModuleNotFoundError("no", name="robot_assets.typo")
    with pytest.raises(SystemExit), readable_errors():
        raise ModuleNotFoundError("no", name="cuda.bindings")
    assert capsys.readouterr().err == (
        "error: cuda.bindings is not installed\n"
        "  needed: the extra 'jetson' of robot-assets\n"
        "  fix: pip install 'robot-assets[jetson]'\n"
    )
