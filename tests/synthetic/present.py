"""The artifacts that a model of params.yaml has at present."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path


def present_versions(model: str) -> dict[str, dict[str, str]]:
    """What ``robot-assets build --json`` says; it builds what is missing first."""
    command = [str(Path(sys.executable).with_name("robot-assets")), "build", model, "--json"]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout[done.stdout.index("{") :])["assets"]
