"""Assets by name: the entry point of the group ``robot_assets.asset_openers``."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path

from robot_assets.core.errors import StoreError
from robot_assets.core.extras import require
from robot_assets.core.text import near_misses
from robot_assets.pipeline.project import Project, find_project


def open_asset(name: str) -> Path:
    """The present version of an asset, read-only from the store, or a temporary copy where the store cannot be written.

    Raises:
        StoreError: params.yaml has no such asset, it has not been built, or the store does not have it.
    """
    require("dagster")
    from dagster_project.instance.reader import latest_data_version
    from dagster_project.local.instance import open_instance

    project = find_project()
    with open_instance(project.root) as instance:
        version = latest_data_version(instance, name)
    if version is None:
        raise _unbuilt(project, name)
    return _opened(project, version)


def _opened(project: Project, version: str) -> Path:
    try:
        return project.store.open(version)
    except StoreError:
        if os.access(project.store.cache, os.W_OK) or not project.store.cache.is_dir():
            raise
    folder = Path(tempfile.mkdtemp(prefix="robot-assets-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    project.store.get(version, folder / "artifact")
    return folder / "artifact"


def _unbuilt(project: Project, name: str) -> StoreError:
    from robot_assets.pipeline.graph import build_graph

    graph = build_graph(project.params)
    if name in graph:
        return StoreError(f"{name} has not been built", needed="a version of it", fix=f"robot-assets build {name}")
    near = near_misses(name, graph)
    return StoreError(
        f"{name!r} is neither a path here nor an asset of params.yaml",
        needed="a path, a data version such as 0f3c....dir, or the name of an asset",
        fix=f"did you mean {' or '.join(near)}?" if near else "robot-assets ui   # lists all assets",
    )
