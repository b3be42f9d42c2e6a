"""Names of classes and values of parameters are shown as they are: on the terminal and in the Markdown of pages."""

from __future__ import annotations

import os
import pty
import re
import subprocess

import numpy as np
import pytest
import yaml
from PIL import Image

from dagster_project.instance.status import read
from dagster_project.producing.pages import REPORT_KEY, page_metadata
from robot_assets.core.markdown import literal
from robot_assets.core.page import Page, Picture, Table
from tests.dagster_project.conftest import Checkout

CLASSES = ["sign [stop]", "[bold]cone", "a*b*_c_", "<b>&amp;"]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A recorded data set whose classes are markup in every language at hand, packed."""
    source = tmp_path_factory.mktemp("source")
    for session in range(3):
        folder = source / f"day{session}"
        folder.mkdir()
        for frame in range(4):
            noise = np.random.default_rng([session, frame]).integers(0, 255, (48, 64, 3), np.uint8)
            Image.fromarray(noise).save(folder / f"{frame}.png")
            (folder / f"{frame}.txt").write_text("".join(f"{label} 0.5 0.5 0.25 0.25\n" for label in range(4)))
    (source / "obj.names").write_text("".join(f"{name}\n" for name in CLASSES))
    root = tmp_path_factory.mktemp("project")
    yard = {
        "source": {"kind": "dvc", "pointer": "data/raw/yard.dvc"},
        "classes": CLASSES,
        "split": {"train": 0.4, "val": 0.3, "test": 0.3},
        "calibration_images": 2,
    }
    params = {"store": {"url": ".robot_assets/store"}, "datasets": {"yard": yard}, "models": {}, "targets": {}}
    (root / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    made = Checkout(root)
    made.run("robot-assets", "data", "import", "yolo", str(source), "--name", "yard")
    made.run("robot-assets", "build", "datasets/yard")
    return made


def on_terminal(checkout: Checkout, columns: int, *command: str) -> str:
    """What a command shows on a terminal, without its colours."""
    control, terminal = pty.openpty()
    environment = {**checkout.environment, "COLUMNS": str(columns), "TERM": "xterm"}
    with subprocess.Popen(
        command, cwd=checkout.root, env=environment, stdin=terminal, stdout=terminal, stderr=terminal
    ) as process:
        os.close(terminal)
        shown = b""
        while True:
            try:
                chunk = os.read(control, 65536)
            except OSError:  # Linux ends a terminal like this
                break
            if not chunk:
                break
            shown += chunk
        process.wait()
    os.close(control)
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode()).replace("\r\n", "\n")


@pytest.fixture
def renamed(checkout: Checkout) -> Checkout:
    """The same with other classes, which makes the data set stale."""
    before = (checkout.root / "params.yaml").read_text()
    checkout.change(lambda params: params["datasets"]["yard"].update(classes=[*CLASSES[:3], "[/bold]", "[dim]"]))
    yield checkout
    (checkout.root / "params.yaml").write_text(before)


@pytest.mark.parametrize("columns", [40, 100, 160])
def test_a_plan_shows_parameters_as_they_are(renamed: Checkout, columns: int) -> None:
    shown = " ".join(on_terminal(renamed, columns, "robot-assets", "plan").split())
    squeezed = shown.replace(" ", "")
    for name in (*CLASSES, "[/bold]", "[dim]"):
        assert name.replace(" ", "") in squeezed


def test_a_narrow_terminal_gets_blocks_of_lines_instead_of_columns(renamed: Checkout) -> None:
    shown = on_terminal(renamed, 40, "robot-assets", "plan")
    lines = shown.splitlines()
    assert "datasets/yard" in lines
    assert "  state: stale" in lines
    assert any(line.startswith("  why: classes: ") for line in lines)
    assert "  trigger: automatic" in lines


def test_a_build_announces_parameters_as_they_are(renamed: Checkout) -> None:
    """The build fails: no box has the new classes."""
    shown = on_terminal(renamed, 120, "robot-assets", "build", "datasets/yard")
    announced = next(line for line in shown.replace("\n", " ").split("datasets/yard  ") if line.startswith("stale"))
    for name in ("sign [stop]", "[bold]cone", "[/bold]", "[dim]"):
        assert name in announced


def test_audit_shows_parameters_as_they_are(checkout: Checkout) -> None:
    shown = on_terminal(checkout, 100, "robot-assets", "audit", "datasets/yard").replace("\n", "")
    assert "sign [stop]" in re.sub(r" +", " ", shown)
    assert "[bold]cone" in shown


def test_causes_have_the_words_of_params_yaml(renamed: Checkout) -> None:
    with renamed.instance() as instance:
        causes = read(renamed.project, instance).causes(instance, ["datasets/yard"])["datasets/yard"]
    assert any("sign [stop]" in cause and "[/bold]" in cause for cause in causes)


def rendered(markdown: str) -> str:
    """The text that a Markdown viewer shows, by the rules that matter here: escapes, entities, cells."""
    plain = re.sub(r"\\([\\`*\[\]|~_#>+=.)-])", r"\1", markdown)
    return plain.replace("&lt;", "<").replace("&amp;", "&")


@pytest.mark.parametrize(
    "text",
    [
        *CLASSES,
        "a|b",
        "`x`",
        "*y*",
        "_z_",
        "~~s~~",
        "[l](http://x)",
        "# h",
        "- item",
        "1. one",
        "> q",
        "\\",
        "a_b",
        "+",
    ],
)
def test_outside_text_in_markdown_has_no_unescaped_mark(text: str) -> None:
    escaped = literal(text)
    assert rendered(escaped) == text
    assert not re.search(r"(?<!\\)(\\\\)*[`*\[\]|~]", escaped)
    assert not re.match(r"([#>+-]|\d+[.)])(\s|$)", escaped)
    assert "<" not in escaped


def test_a_line_break_cannot_end_a_row() -> None:
    assert literal("a\n| b") == r"a \| b"


def test_a_page_escapes_its_tables_and_captions() -> None:
    rows = {"sign [stop] | x": {"mAP|50": 0.5, "note": "<b>`"}}
    report = page_metadata(Page((Table("class *", rows), Picture(b"png", "a [b](c)"))))[REPORT_KEY].value
    table, picture = report.split("\n\n")
    assert table.splitlines() == [
        r"| class \* | mAP\|50 | note |",
        "|---|---|---|",
        r"| sign \[stop\] \| x | 0.5000 | &lt;b>\` |",
    ]
    assert picture.startswith(r"![a \[b\](c)](data:image/png;base64,")
