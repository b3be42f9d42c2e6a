"""The current artifacts of a model in params.yaml."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path


def built_versions(model: str) -> dict[str, dict[str, str]]:
    """Build what is missing of a model, and return the ``assets`` of ``robot-assets build --json``."""
    command = [str(Path(sys.executable).with_name("robot-assets")), "build", model, "--json"]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout[done.stdout.index("{") :])["assets"]
