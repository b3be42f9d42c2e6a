"""docs/own_data.md shows what the terminal prints; the commands up to the build are run here and compared."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.synthetic.own_images import write_cvat, write_flat, write_roboflow
from tests.terminal import Terminal

NOT_RUN = ("robot-assets build", "robot-assets engine")
"""``tests/test_journey.py`` builds an engine; the one of the page takes minutes."""
_DIGEST = re.compile(r"[0-9a-f]{32}")


def steps_of(page: Path) -> list[tuple[str, str]]:
    """The commands of the page with what they print; digests are those of one release of the JPEG library."""
    blocks = re.findall(r"```console\n(.*?)```", page.read_text(), re.DOTALL)
    parts = [part for block in blocks for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]]
    return [(command, printed) for command, _, printed in (part.partition("\n") for part in parts)]


def comparable(printed: str) -> str:
    return "\n".join(_DIGEST.sub("DIGEST", line).rstrip() for line in printed.splitlines())


@pytest.fixture
def terminal(tmp_path: Path) -> Terminal:
    """A folder with the three exports of the page."""
    folder = tmp_path / "elsewhere"
    write_cvat(folder / "cvat")
    write_roboflow(folder / "roboflow")
    write_flat(folder / "flat")
    return Terminal(folder, tmp_path / "home")


def test_the_terminal_prints_what_the_page_shows(terminal, repository):
    steps = [step for step in steps_of(repository / "docs" / "own_data.md") if not step[0].startswith(NOT_RUN)]
    assert sum(" data import " in command for command, _ in steps) == 5
    for command, printed in steps:
        assert comparable(terminal.type(command)) == comparable(printed), command
