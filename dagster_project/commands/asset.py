"""Assets by name: the entry point of the group ``robot_assets.asset_openers``."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path

from robot_assets.core.errors import StoreError
from robot_assets.core.extras import require
from robot_assets.pipeline.project import Project, find_project


def open_asset(name: str) -> Path:
    """The present version of an asset, read-only from the store.

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
    return project.store.open(version)


def _unbuilt(project: Project, name: str) -> StoreError:
    from robot_assets.pipeline.graph import build_graph

    graph = build_graph(project.params)
    if name in graph:
        return StoreError(f"{name} has not been built", needed="a version of it", fix=f"robot-assets build {name}")
    near = get_close_matches(name, graph, n=3)
    return StoreError(
        f"{name!r} is neither a path here nor an asset of params.yaml",
        needed="a path, a data version such as 0f3c....dir, or the name of an asset",
        fix=f"did you mean {' or '.join(near)}?" if near else "robot-assets ui   # lists all assets",
    )
