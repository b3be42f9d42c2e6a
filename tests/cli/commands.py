"""Runs ``robot-assets`` as its entry point does, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Finished:
    """What a command printed."""

    out: str
    err: str

    @property
    def error(self) -> dict[str, str]:
        """The three parts of the error on the terminal."""
        found, _, rest = self.err.removeprefix("error: ").partition("\n  needed: ")
        needed, _, fix = rest.partition("\n  fix: ")
        return {"found": found, "needed": needed, "fix": fix.rstrip("\n")}


def command(*arguments: object, code: int = 0, cwd: Path | None = None) -> Finished:
    """Run one command line; its exit code has to be ``code``."""
    done = subprocess.run(
        [sys.executable, "-c", "from robot_assets.cli.main import main; main()", *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
    )
    assert done.returncode == code, f"{arguments}: {done.stdout}{done.stderr}"
    assert "Traceback" not in done.stderr
    return Finished(done.stdout, done.stderr)
