"""Assets by name: the present version of those that are observed, and any version opened for reading."""

from __future__ import annotations

from pathlib import Path

from robot_assets.core.errors import RobotAssetsError
from robot_assets.pipeline.kind import Observation, Observer, Sighting
from robot_assets.pipeline.names import AssetName
from robot_assets.pipeline.project import Project
from robot_assets.pipeline.registry import kind_of


def observe(observer: Observer, asset: str) -> Sighting | None:
    """What an observed asset is now; None when a stage produces it, or when it cannot be seen from here.

    Raises:
        RobotAssetsError: What its version is read from is missing, cannot be asked, or is not what it should be.
    """
    found = _observation(asset)
    return found[0].observe(observer, found[1]) if found else None


def observed_version(project: Project, asset: str) -> str | None:
    """Its present version for a step; None as in :func:`observe`. Raises RobotAssetsError."""
    sighting = observe(Observer(project, is_step=True), asset)
    return sighting.version if sighting else None


def why_unseen(project: Project, asset: str) -> RobotAssetsError:
    """Why an observed asset cannot be seen from here, and what can be done."""
    observation, name = _required(asset)
    return observation.unseen(project, name)


def reports_itself(project: Project, asset: str) -> bool:
    """Whether the version of an observed asset is what somebody else has reported last."""
    observation, name = _required(asset)
    return observation.reports_itself(project, name)


def shows_changes(asset: str) -> bool:
    """Whether a change of what is known of an observed asset is worth a line."""
    return _required(asset)[0].shows_changes


def require_available(project: Project, asset: str, version: str) -> None:
    """Refuse a version of an observed asset that nobody could open. Raises RobotAssetsError."""
    observation, name = _required(asset)
    observation.require_available(project, name, version)


def open_version(project: Project, asset: str, version: str) -> Path:
    """A version of any asset, read-only.

    Raises:
        StoreError: The store does not have it.
        RobotAssetsError: It is observed, and nobody has this version.
    """
    found = _observation(asset)
    return found[0].open(project, found[1], version) if found else project.store.open(version)


def _observation(asset: str) -> tuple[Observation, AssetName] | None:
    found = kind_of(asset)
    if found is None or found[0].observation is None:
        return None
    return found[0].observation, found[1]


def _required(asset: str) -> tuple[Observation, AssetName]:
    found = _observation(asset)
    if found is None:
        raise ValueError(f"{asset} is produced, not observed")
    return found
