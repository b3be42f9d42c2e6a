"""The README's way from one's own images to an engine, run line by line in a folder outside of this repository."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from robot_assets.store import read_pointer
from tests.synthetic.own_images import write_recordings
from tests.terminal import Terminal

SHORTER = {
    r"epochs: \d+, batch_size": "epochs: 4, batch_size",
    r"evaluate_every: \d+": "evaluate_every: 4",
    r"qat: {epochs: \d+": "qat: {epochs: 1",
    r"width: 24": "width: 8",
    r"accuracy_drop_points_max: [\d.]+": "accuracy_drop_points_max: 50",
}
"""What makes a training of minutes one of seconds. The network learns next to nothing, which is no matter here."""


def commands_of(readme: Path) -> list[str]:
    """The lines of the block that begins with ``robot-assets init``."""
    blocks = re.findall(r"```sh\n(.*?)```", readme.read_text(), re.DOTALL)
    [block] = [block for block in blocks if block.startswith("robot-assets init")]
    return block.splitlines()


@pytest.fixture(scope="module")
def journey(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> tuple[Terminal, dict[str, str]]:
    """The README's commands, run; and what each printed."""
    home = tmp_path_factory.mktemp("home")
    write_recordings(home / "recordings")
    terminal = Terminal(tmp_path_factory.mktemp("elsewhere"), home)
    printed = {}
    for line in commands_of(repository / "README.md"):
        printed[line] = terminal.type(line)
        if " import " in line:
            shorten(terminal.folder / "params.yaml")
    return terminal, printed


def shorten(params: Path) -> None:
    text = params.read_text()
    for pattern, shorter in SHORTER.items():
        text, count = re.subn(pattern, shorter, text)
        assert count, f"the entries that --write adds have no {pattern}"
    params.write_text(text)


def test_the_way_has_six_commands(repository):
    assert len(commands_of(repository / "README.md")) == 6


def test_an_engine_is_built_and_passes_its_gates(journey):
    terminal, printed = journey
    [built] = [text for line, text in printed.items() if " build " in line]
    assert "yard_detector/engine/cpu" in built
    assert "built 6 assets" in built
    assert "everything is fresh" in terminal.type("robot-assets plan yard_detector")


def test_git_has_the_pointer_and_the_parameters_and_no_image(journey):
    terminal, _ = journey
    listed = terminal.type("git ls-files").splitlines()
    assert {"data/raw/yard.dvc", "params.yaml", ".dvc/config"} <= set(listed)
    assert not [name for name in listed if name.endswith((".jpg", ".onnx"))]
    assert terminal.type("git status --short") == ""


def test_each_step_says_what_comes_next(journey):
    _, printed = journey
    said = "\n".join(printed.values())
    for line in printed:
        words = shlex.split(line, comments=True)
        verb = " ".join(words[:3] if words[1] == "data" else words[:2])
        if words[0] == "robot-assets" and words[1] != "init":
            assert verb in said, line


def test_dvc_restores_the_images_from_the_store(journey, dvc_command):
    terminal, _ = journey
    images = terminal.folder / "data" / "raw" / "yard"
    before = {path.relative_to(images): path.read_bytes() for path in images.rglob("*") if path.is_file()}
    subprocess.run(["rm", "-r", str(images)], check=True)
    terminal.type(f"{dvc_command} pull --quiet data/raw/yard.dvc")
    assert {path.relative_to(images): path.read_bytes() for path in images.rglob("*") if path.is_file()} == before
    assert read_pointer(images.with_suffix(".dvc")).files == len(before)


def test_a_second_import_and_build_change_nothing(journey):
    terminal, printed = journey
    [line] = [line for line in printed if " import " in line]
    terminal.type(line)
    assert terminal.type("git status --short") == ""
    assert "everything is fresh" in terminal.type("robot-assets build yard_detector")
