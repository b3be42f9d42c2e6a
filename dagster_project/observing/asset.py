"""Observed assets: recorded data by its pointer in git, devices by their fingerprint. No bytes are made here."""

import warnings
from collections.abc import Mapping
from typing import Any

import dagster as dg

from dagster_project.keys import asset_key, group_name
from dagster_project.observed import is_on_nodes, is_reported, observed_version, require_available
from dagster_project.producing.stage_runner import Workshop, failing_readably
from robot_assets.core.errors import PlatformError
from robot_assets.lineage.graph import Stage
from robot_assets.pipeline.project import Project


def observed_asset(stage: Stage, op_tags: Mapping[str, Any] | None = None) -> dg.AssetsDefinition | dg.SourceAsset:
    with warnings.catch_warnings():
        # Observable source assets are marked beta in the pinned version.
        warnings.simplefilter("ignore", dg.BetaWarning)
        return _observed_asset(stage, op_tags)


def _observed_asset(stage: Stage, op_tags: Mapping[str, Any] | None) -> dg.AssetsDefinition | dg.SourceAsset:
    is_platform = stage.asset.startswith("platform/")

    @dg.observable_source_asset(
        key=asset_key(stage.asset),
        group_name=group_name(stage.asset),
        description=(
            "What the device is: its runtimes, its processor features, and on a Jetson its JetPack, TensorRT and GPU. "
            "A change makes exactly the engines of this target stale."
            if is_platform
            else "Recorded images and labels. The version is the hash in their pointer in git."
        ),
        tags={"dagster/kind/cpu" if is_platform else "dagster/kind/dvc": ""},
        op_tags=op_tags,
    )
    def observed(workshop: Workshop) -> dg.DataVersion:
        with failing_readably():
            return dg.DataVersion(_present_version(workshop.project, stage.asset))

    return observed


def _present_version(project: Project, name: str) -> str:
    version = observed_version(project, name)
    if version is None and is_reported(project, name):
        raise PlatformError(
            f"{name} is reported by the device itself, so there is nothing to look at from here",
            needed="a report from the device",
            fix=f"on the device: robot-assets platform report {name.partition('/')[2]}",
        )
    if version is None and is_on_nodes(project, name):
        raise PlatformError(
            f"{name} is told by the nodes of the cluster, on which a step has no rights",
            needed="the sensor `platforms`, which may read them",
            fix="switch the sensor `platforms` on; it looks by itself",
        )
    if version is None:
        raise RuntimeError(f"{name} is produced, not observed")
    require_available(project, name, version)
    return version
