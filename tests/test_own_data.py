"""docs/own_data.md shows what the terminal prints; the commands up to the build are run here and compared.

After a change of words, ``python -m tests.test_own_data`` writes what is printed now into the page.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.synthetic.own_images import write_cvat, write_cvat_masks, write_flat, write_polygons, write_roboflow
from tests.terminal import Terminal

PAGE = Path("docs") / "own_data.md"
NOT_RUN = ("robot-assets build", "robot-assets engine")
"""``tests/test_journey.py`` builds an engine; the one of the page takes minutes."""
_DIGEST = re.compile(r"[0-9a-f]{32}")


def steps_of(page: str) -> Iterator[tuple[str, str]]:
    """The commands of the page with what they print."""
    for block in re.findall(r"```console\n(.*?)```", page, re.DOTALL):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, printed = part.partition("\n")
            yield command, printed


def stripped(printed: str) -> str:
    return "".join(f"{line.rstrip()}\n" for line in printed.splitlines())


def comparable(printed: str) -> str:
    """Digests are those of one release of the JPEG library."""
    return _DIGEST.sub("DIGEST", stripped(printed))


def terminal_at(folder: Path) -> Terminal:
    """A terminal in a folder with the exports of the page."""
    write_cvat(folder / "elsewhere" / "cvat")
    write_roboflow(folder / "elsewhere" / "roboflow")
    write_flat(folder / "elsewhere" / "flat")
    write_cvat_masks(folder / "elsewhere" / "masks")
    write_polygons(folder / "elsewhere" / "polygons")
    return Terminal(folder / "elsewhere", folder / "home")


@pytest.fixture
def terminal(tmp_path: Path) -> Terminal:
    return terminal_at(tmp_path)


def test_the_terminal_prints_what_the_page_shows(terminal, repository):
    steps = [step for step in steps_of((repository / PAGE).read_text()) if not step[0].startswith(NOT_RUN)]
    assert sum(" data import " in command for command, _ in steps) == 7
    for command, printed in steps:
        assert comparable(terminal.type(command)) == comparable(printed), command


def main() -> None:
    """Run the commands of the page, and write what they print into it."""
    page = PAGE.read_text()
    with tempfile.TemporaryDirectory() as folder:
        terminal = terminal_at(Path(folder))
        for command, printed in list(steps_of(page)):
            if not command.startswith(NOT_RUN):
                page = page.replace(f"$ {command}\n{printed}", f"$ {command}\n{stripped(terminal.type(command))}", 1)
    PAGE.write_text(page)


if __name__ == "__main__":
    main()
