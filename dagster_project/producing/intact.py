"""``lineage_intact``: a check on each signed asset that its provenance can still be verified.

It does not block: an engine without verifiable provenance still works, but the failed check reports it. Run it from the
UI or on a schedule of your own; it reads the bytes of the artifact again.
"""

from collections.abc import Mapping

import dagster as dg

from dagster_project.instance.signing import chain_below
from dagster_project.keys import INTACT_CHECK, asset_key
from dagster_project.producing.stage_runner import StageRunner, failing_readably
from robot_assets.lineage.graph import GENERAL, Stage
from robot_assets.pipeline.params import Params
from robot_assets.pipeline.placement import placed
from robot_assets.pipeline.registry import with_kinds
from robot_assets.store.pins import released


def intact_checks(params: Params, graph: Mapping[str, Stage]) -> list[dg.AssetChecksDefinition]:
    signed = (stage for stage, kind, _ in with_kinds(graph) if kind.production and kind.production.is_signed)
    return [_check(params, stage) for stage in signed]


def _check(params: Params, stage: Stage) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=asset_key(stage.asset),
        name=INTACT_CHECK,
        description=(
            "All its ancestors are still in the store, its own bytes are unaltered, its code was committed, and a "
            "trusted key has signed its provenance."
        ),
        **placed(params, GENERAL),
    )
    def lineage_intact(context: dg.AssetCheckExecutionContext, stage_runner: StageRunner) -> dg.AssetCheckResult:
        from robot_assets.lineage.report.summary import summary
        from robot_assets.provenance.intact import intact

        with failing_readably(), released():
            project = stage_runner.project
            version = stage_runner.version(context.instance, stage.asset)
            chain = chain_below(project, context.instance, stage.asset, version)
            verdict = intact(chain, project.store, project.trust())
        is_grave = bool(verdict.facts["altered"] or verdict.facts["missing"] or verdict.facts["unsigned"])
        return dg.AssetCheckResult(
            passed=verdict.passed,
            severity=dg.AssetCheckSeverity.ERROR if is_grave else dg.AssetCheckSeverity.WARN,
            description=verdict.summary if verdict.passed else f"{verdict.summary}\n\nfix: {verdict.fix}",
            metadata={"audit": dg.MetadataValue.md(summary(chain)), "facts": dg.MetadataValue.json(verdict.facts)},
        )

    return lineage_intact
