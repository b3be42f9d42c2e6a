"""Commands that installed packages add by entry point, here those of a package in a folder on the path."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

COMMANDS = """
import typer

group = typer.Typer(help="Manage releases.")


@group.command()
def sign(name: str):
    "Sign a release."
    print(f"signed {name}")


def rollout(robots: int = 3):
    "Start a rollout.\\n\\nExample: robot-assets rollout --robots 5"
    print(f"{robots} robots")


def verify():
    "Verify nothing."
    print("replaced")


value = 3
"""
ENTRY_POINTS = """
[robot_assets.commands]
rollout = fleet.commands:rollout
release = fleet.commands:group
engine.recall = fleet.commands:rollout
verify = fleet.commands:verify
broken = fleet.broken:command
number = fleet.commands:value
"""


@dataclass(frozen=True)
class Installed:
    """``robot-assets`` with a package called fleet beside it."""

    folder: Path

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.python("from robot_assets.cli.main import main\nmain()", *arguments)

    def python(self, code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONPATH": str(self.folder), "COLUMNS": "120"}
        command = [sys.executable, "-c", code, *arguments]
        return subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    folder = tmp_path_factory.mktemp("plugin")
    (folder / "fleet").mkdir()
    (folder / "fleet" / "commands.py").write_text(COMMANDS)
    (folder / "fleet" / "broken.py").write_text("import no_such_library\n")
    metadata = folder / "fleet-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: fleet\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(ENTRY_POINTS)
    return Installed(folder)


def test_a_function_is_a_command(installed: Installed) -> None:
    assert installed.run("rollout", "--robots", "5").stdout == "5 robots\n"
    assert "Example: robot-assets rollout" in installed.run("rollout", "--help").stdout


def test_a_dot_puts_a_command_into_a_group_of_ours(installed: Installed) -> None:
    assert installed.run("engine", "recall").stdout == "3 robots\n"
    assert "recall" in installed.run("engine", "--help").stdout
    assert "recall" not in installed.run("--help").stdout


def test_a_typer_is_a_group_even_with_one_command(installed: Installed) -> None:
    assert installed.run("release", "sign", "spring").stdout == "signed spring\n"
    assert "Manage releases." in installed.run("--help").stdout


def test_a_command_of_ours_cannot_be_replaced(installed: Installed) -> None:
    assert "replaced" not in installed.run("verify").stdout
    assert "Verify nothing." not in installed.run("--help").stdout


@pytest.mark.parametrize(
    ("command", "reason"), [("broken", "no_such_library"), ("number", "fleet.commands:value, which is a int")]
)
def test_a_command_that_cannot_be_loaded_is_listed_and_gives_the_reason(
    installed: Installed, command: str, reason: str
) -> None:
    listed = installed.run("--help")
    assert listed.returncode == 0
    assert f"│ {command} " in listed.stdout
    done = installed.run(command, "--any", "argument")
    assert done.returncode == 1
    assert done.stderr.startswith("error: the plug-in fleet ")
    assert reason in done.stderr
    assert "fix: pip uninstall fleet" in done.stderr


def test_a_broken_plugin_does_not_disturb_other_commands(installed: Installed) -> None:
    assert installed.run("platform", "probe").returncode == 0


def test_a_mistyped_command_of_a_plugin_is_corrected(installed: Installed) -> None:
    done = installed.run("rolout")
    assert done.returncode == 2
    assert "robot-assets has no command 'rolout'; did you mean 'rollout'?" in done.stderr
    assert "fix: robot-assets rollout\n" in done.stderr


def test_help_imports_nothing_heavy(installed: Installed) -> None:
    code = """
import sys
from robot_assets.cli.main import main
try:
    main()
finally:
    heavy = {"dagster", "torch", "onnx", "onnxruntime", "matplotlib", "numpy", "PIL", "fsspec"}
    print("imported:", *sorted(heavy & sys.modules.keys()))
"""
    done = installed.python(code, "--help")
    assert done.stdout.endswith("imported:\n"), done.stdout + done.stderr
    assert installed.python(code, "platform", "--help").stdout.endswith("imported:\n")
