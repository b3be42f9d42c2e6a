"""Observed assets, such as recorded data and devices: read their version, and produce no bytes."""

import warnings
from collections.abc import Mapping
from typing import Any

import dagster as dg

from dagster_project.keys import asset_key
from dagster_project.producing.stage_runner import StageRunner, failing_readably
from robot_assets.lineage.graph import GENERAL, Stage
from robot_assets.pipeline.kind import Observer, StageKind
from robot_assets.pipeline.names import AssetName
from robot_assets.pipeline.observing import observe, require_available, why_unseen
from robot_assets.pipeline.params import Params
from robot_assets.pipeline.placement import tags_of
from robot_assets.pipeline.project import Project
from robot_assets.pipeline.registry import with_kinds


def observed_assets(params: Params, graph: Mapping[str, Stage]) -> list[dg.SourceAsset | dg.AssetsDefinition]:
    """One asset for every stage whose version is observed."""
    tags = tags_of(params, GENERAL)
    with warnings.catch_warnings():
        # Observable source assets are marked beta in the pinned version.
        warnings.simplefilter("ignore", dg.BetaWarning)
        return [observed_asset(*one, tags) for one in with_kinds(graph) if one[0].is_observed]


def observed_asset(
    stage: Stage, kind: StageKind, name: AssetName, op_tags: Mapping[str, Any]
) -> dg.SourceAsset | dg.AssetsDefinition:
    tools = kind.observation.tools if kind.observation else ()

    @dg.observable_source_asset(
        key=asset_key(stage.asset),
        group_name=kind.group_of(name),
        description=kind.description_of(stage, name),
        tags={f"dagster/kind/{tool}": "" for tool in tools},
        op_tags=op_tags,
    )
    def observed(stage_runner: StageRunner) -> dg.DataVersion:
        with failing_readably():
            return dg.DataVersion(_present_version(stage_runner.project, stage.asset))

    return observed


def _present_version(project: Project, asset: str) -> str:
    sighting = observe(Observer(project), asset)
    if sighting is None:
        raise why_unseen(project, asset)
    require_available(project, asset, sighting.version)
    return sighting.version
