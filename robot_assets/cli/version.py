"""``robot-assets --version``: the version, and the commit where the code is a checkout."""

from __future__ import annotations

import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import typer

import robot_assets


def print_version(is_asked: bool) -> None:
    """Callback of the option: print the version, and end."""
    if is_asked:
        print(f"robot-assets {described_version()}")
        raise typer.Exit


def described_version() -> str:
    """Such as ``0.1.0 (commit 4da30ee)``, with the mark of uncommitted changes."""
    try:
        number = version("robot-assets")
    except PackageNotFoundError:  # the sources without an installation
        number = "unknown"
    commit = _commit(Path(robot_assets.__file__).parent)
    return f"{number} (commit {commit})" if commit else number


def _commit(package: Path) -> str:
    """The commit of the checkout that has the package; empty for an installed one, and without git."""
    if not (package.parent / ".git").exists():
        return ""
    command = ["git", "-C", str(package.parent), "describe", "--always", "--dirty", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
