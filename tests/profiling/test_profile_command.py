"""``robot-assets engine profile``: text, JSON, exit codes and mistakes."""

import json

import pytest
from typer.testing import CliRunner

from robot_assets.cli.main import app
from tests.detector_chain import whole


def invoke(*arguments):
    line = ["engine", "profile", *map(str, arguments)]
    return CliRunner().invoke(app, line, catch_exceptions=False)


SHORT = ("--seconds", "0.6", "--alone", "0.2")


def test_the_text_is_a_table_and_a_sentence():
    done = invoke(f"{whole().engine}=40", *SHORT)
    assert {"deadline", "alone", "busy"} <= set(done.stdout.split())
    assert "of 24 deadlines missed" in done.stdout
    assert "before the first engine" in done.stdout


def test_an_engine_given_twice_has_two_sensors(tmp_path):
    engine = whole().engine
    done = invoke(f"{engine}=40", f"{engine}=50", *SHORT, "--json", "--out", tmp_path / "together.png")
    found = json.loads(done.stdout)
    assert {one["name"]: one["rate_hz"] for one in found["streams"]} == {"engine": 40, "engine 2": 50}
    assert (tmp_path / "together.png").read_bytes().startswith(b"\x89PNG")


def test_engines_that_do_not_fit_end_with_1_and_a_fix():
    # On a fast machine, so small an engine meets every deadline of 1 ms when it runs alone.
    engines = [f"{whole().engine}=1000"] * 40
    done = invoke(*engines, "--seconds", "0.5", "--alone", "0.02")
    assert done.exit_code == 1
    assert "40 engines do not fit" in done.stdout
    assert "fix: " in done.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "Missing argument"),
        (("some=15", "other"), "has no rate"),
        (("=15",), "has no rate"),
        (("{engine}=fast",), "rate_hz"),
        (("{engine}=0",), "rate_hz"),
        (("{engine}=40", "--seconds", "0.1"), "needed 20 or more"),
    ],
)
def test_a_mistake_on_the_command_line_ends_with_2(arguments, words):
    done = invoke(*(one.format(engine=whole().engine) for one in arguments))
    assert done.exit_code == 2
    assert words in " ".join(done.stderr.replace("│", " ").split())


def test_help_has_an_example():
    assert "Example: robot-assets engine profile" in invoke("--help").stdout
