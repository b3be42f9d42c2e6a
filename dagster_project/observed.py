"""Observed assets: what is made elsewhere, and whose version is read off the world.

``raw/<dataset>`` of recorded data is versioned by its ``.dvc`` pointer; ``platform/<target>`` by what the device
is. This module reads them; the asset definitions in ``assets/observed.py`` show them to Dagster.
"""

from __future__ import annotations

from pathlib import Path

from robot_assets.data.recorded import open_recorded, recorded_version
from robot_assets.platforms.probe import probe
from robot_assets.project import Project


def observed_version(project: Project, name: str) -> str | None:
    """The present version of an observed asset; None when ``name`` is produced by a stage.

    Raises:
        DataError: The pointer is missing or is not one.
    """
    room, _, rest = name.partition("/")
    if room == "platform":
        return probe().fingerprint
    if room == "raw" and (pointer := _pointer(project, rest)) is not None:
        return recorded_version(pointer)
    return None


def open_observed(project: Project, name: str, version: str) -> Path | None:
    """Open an observed data set at ``version``; None when ``name`` is produced by a stage or holds no bytes."""
    room, _, rest = name.partition("/")
    if room == "platform":
        return project.root
    if room == "raw" and (pointer := _pointer(project, rest)) is not None:
        return open_recorded(pointer, version, project.store)
    return None


def _pointer(project: Project, dataset: str) -> Path | None:
    source = project.params.datasets[dataset].source
    return project.root / source.pointer if source.kind == "dvc" else None
