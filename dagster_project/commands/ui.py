"""``robot-assets ui``: Dagster's UI and daemon on the instance of this checkout."""

from __future__ import annotations

from typing import Annotated

import typer

from robot_assets.core.extras import require
from robot_assets.pipeline.project import find_project


def ui(port: Annotated[int, typer.Option(min=1, max=65535, help="Port on 127.0.0.1.")] = 3000) -> None:
    """Open the Dagster UI and daemon on this checkout's instance, for this machine alone.

    Example: robot-assets ui --port 3001
    """
    require("dagster_webserver")
    from dagster_project.local.instance import ensure_dagster_home, require_sound
    from dagster_project.local.ports import require_free
    from dagster_project.local.services import serve

    project = find_project()
    require_free(port, "robot-assets ui --port")
    require_sound(ensure_dagster_home(project.root))
    serve(project.root, port)
