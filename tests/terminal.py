"""A terminal in which a test types what the documentation has."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

GIT = {
    "GIT_AUTHOR_NAME": "Robot",
    "GIT_AUTHOR_EMAIL": "robot@example.com",
    "GIT_COMMITTER_NAME": "Robot",
    "GIT_COMMITTER_EMAIL": "robot@example.com",
}


class Terminal:
    """Runs command lines one after the other, as a person types them."""

    def __init__(self, folder: Path, home: Path) -> None:
        self.folder = folder
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("DAGSTER", "ROBOT_ASSETS"))}
        path = f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}"
        self.environment = {**kept, **GIT, "HOME": str(home), "PATH": path}
        self.environment.pop("PYTHONPATH", None)

    def type(self, line: str) -> str:
        """Run one line; it has to succeed. Return what it printed."""
        words = shlex.split(line, comments=True)
        if words[0] == "cd":
            self.folder = self.folder / words[1]
            return ""
        done = subprocess.run(
            ["bash", "-c", line], cwd=self.folder, env=self.environment, capture_output=True, text=True
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
        assert "Traceback" not in done.stderr
        return done.stdout
