"""Produced assets: one Dagster asset for each stage, whatever its kind.

A step stores its artifact and records the materialization first. After that the page is measured, drawn and recorded as
an observation of the asset: an error in a page is a warning, and costs no training.
"""

import traceback
from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg

from dagster_project.keys import BUILDS_CHECK, asset_key
from dagster_project.producing.pages import page_metadata, problem_metadata
from dagster_project.producing.stage_runner import StageRun, StageRunner
from robot_assets.lineage.code import running_code
from robot_assets.lineage.graph import Stage
from robot_assets.pipeline.kind import Production, StageKind
from robot_assets.pipeline.names import AssetName
from robot_assets.pipeline.params import Params
from robot_assets.pipeline.placement import placed
from robot_assets.pipeline.registry import with_kinds


def produced_assets(params: Params, graph: Mapping[str, Stage]) -> list[dg.AssetsDefinition]:
    """One asset for every stage that is not observed."""
    return [
        produced_asset(stage, kind, name, placed(params, stage.pool, _fleet_keys(kind)))
        for stage, kind, name in with_kinds(graph)
        if not stage.is_observed
    ]


def _fleet_keys(kind: StageKind) -> tuple[str, ...]:
    return kind.production.fleet_keys if kind.production else ()


def produced_asset(stage: Stage, kind: StageKind, name: AssetName, place: Mapping[str, Any]) -> dg.AssetsDefinition:
    production = kind.production
    if production is None:
        raise ValueError(f"{stage.asset} is observed, not produced")
    builds = dg.AssetCheckSpec(
        BUILDS_CHECK,
        asset=asset_key(stage.asset),
        description="It builds from its present code and inputs. Fails after the last attempt of the rebuild sensor.",
    )

    @dg.asset(
        key=asset_key(stage.asset),
        deps=[asset_key(one) for one in stage.inputs],
        group_name=kind.group_of(name),
        code_version=running_code().version(stage.code, stage.params),
        check_specs=[builds],
        description=kind.description_of(stage, name),
        kinds=set(production.tools),
        **place,
    )
    def produced(context: dg.AssetExecutionContext, stage_runner: StageRunner) -> Iterator[object]:
        with stage_runner.step(context, stage, name) as run:
            yield from _produce(run, production)

    return produced


def _produce(run: StageRun, production: Production) -> Iterator[object]:
    if production.precheck is not None:
        production.precheck(run.step)
    summary = production.run(run.step)
    yield run.materialized(production, summary)
    yield _page(run, production, summary)
    run.clean_up()


def _page(run: StageRun, production: Production, summary: object) -> dg.AssetObservation:
    """The page as an observation, which the UI shows with the preceding materialization."""
    key = asset_key(run.stage.asset)
    try:
        return dg.AssetObservation(key, metadata=page_metadata(production.page(run.step, summary)))
    except Exception as error:  # whatever drawing raises: the asset itself is stored and recorded
        run.context.log.warning(f"the page of {run.stage.asset} cannot be shown:\n{traceback.format_exc()}")
        return dg.AssetObservation(key, metadata=problem_metadata("drawing the page", error))
