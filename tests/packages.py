"""The requirements of the project by extra, and a reason to skip tests that install them."""

import re
import subprocess
import tomllib
from functools import cache
from pathlib import Path

import pytest

_UNREACHABLE = r"NewConnectionError|Name or service not known|Temporary failure in name resolution"


@cache
def written_requirements() -> dict[str, tuple[str, ...]]:
    """The requirements of each extra in pyproject.toml; those of the base are under the empty name."""
    document = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    found = {"": document["dependencies"], **document["optional-dependencies"]}
    return {extra: tuple(lines) for extra, lines in found.items()}


def requirements(*extras: str) -> list[str]:
    """What these extras require, with the requirements of the extras that they include."""
    found: list[str] = []
    for line in (line for extra in extras for line in written_requirements()[extra]):
        included = re.fullmatch(r"robot-assets\[([\w,-]+)\]", line)
        found += requirements(*included[1].split(",")) if included else [line]
    return list(dict.fromkeys(found))


def distribution(requirement: str) -> str:
    """The name in a requirement, in lower case."""
    return re.split(r"[^\w.-]", requirement, maxsplit=1)[0].lower()


def skip_without_index(done: "subprocess.CompletedProcess[str]") -> None:
    if re.search(_UNREACHABLE, done.stderr):
        pytest.skip("no package index is reachable")
