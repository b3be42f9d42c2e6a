"""Observed assets: recorded data by its DVC pointer, devices by their fingerprint. No bytes are made here."""

import warnings

import dagster as dg

from dagster_project.names import asset_key, group_name
from dagster_project.observed import observed_version
from dagster_project.resources.workshop import Workshop, failing_readably
from robot_assets.lineage.graph import Stage


def observed_asset(stage: Stage) -> dg.AssetsDefinition | dg.SourceAsset:
    with warnings.catch_warnings():
        # Observable source assets are marked beta in the pinned version.
        warnings.simplefilter("ignore", dg.BetaWarning)
        return _observed_asset(stage)


def _observed_asset(stage: Stage) -> dg.AssetsDefinition | dg.SourceAsset:
    is_platform = stage.asset.startswith("platform/")

    @dg.observable_source_asset(
        key=asset_key(stage.asset),
        group_name=group_name(stage.asset),
        description=(
            "What the device is: runtime version and the processor features that its kernels use. A change makes "
            "exactly the engines of this target stale."
            if is_platform
            else "Recorded images and labels. The version is the hash in the .dvc pointer in git."
        ),
        tags={"dagster/kind/cpu" if is_platform else "dagster/kind/dvc": ""},
    )
    def observed(workshop: Workshop) -> dg.DataVersion:
        with failing_readably():
            version = observed_version(workshop.project, stage.asset)
        if version is None:
            raise RuntimeError(f"{stage.asset} is produced, not observed")
        return dg.DataVersion(version)

    return observed
