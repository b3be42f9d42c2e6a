"""``robot-assets ui``: Dagster's UI and daemon on the instance of this checkout."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

from robot_assets.core.extras import require
from robot_assets.pipeline.project import find_project


def ui(port: Annotated[int, typer.Option(help="Port on 127.0.0.1.")] = 3000) -> None:
    """Open the Dagster UI and daemon on this checkout's instance, for this machine alone.

    Example: robot-assets ui --port 3001
    """
    require("dagster_webserver")
    from dagster_project.local.instance import ensure_dagster_home

    project = find_project()
    ensure_dagster_home(project.root)
    os.chdir(project.root)
    dagster = str(Path(sys.executable).with_name("dagster"))
    # `dagster dev` ends its children with SIGINT, which shells make background commands ignore.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.execv(dagster, [dagster, "dev", "--host", "127.0.0.1", "--port", str(port)])
