"""The code location: every asset and check that params.yaml describes, and the resources they use.

``build_definitions`` is the one place that puts them together; ``defs`` is what Dagster loads. Nothing heavy
is imported here: torch, onnx and the rest load inside the functions that use them.
"""

from pathlib import Path

import dagster as dg

from dagster_project.assets.observed import observed_asset
from dagster_project.assets.produced import produced_assets
from dagster_project.checks.gates import gate_checks
from dagster_project.checks.intact import intact_checks
from dagster_project.resources.workshop import Workshop
from dagster_project.sensors.observing import observing_sensors
from dagster_project.sensors.rebuilding import rebuild_sensor
from robot_assets.lineage.graph import build_graph
from robot_assets.project import Project, find_project


def build_definitions(project: Project, executor: dg.ExecutorDefinition | None = None) -> dg.Definitions:
    """All definitions of a project. ``executor`` decides where steps run; the assets stay the same."""
    params = project.params
    graph = build_graph(params)
    observed = [observed_asset(stage) for stage in graph.values() if stage.is_observed]
    produced = [stage.asset for stage in graph.values() if not stage.is_observed]
    return dg.Definitions(
        assets=[*observed, *produced_assets(params, graph)],
        asset_checks=[*gate_checks(params, graph), *intact_checks(graph)],
        sensors=[*observing_sensors(project.root), rebuild_sensor(project, produced)],
        resources={"workshop": Workshop(root=str(project.root))},
        executor=executor or dg.in_process_executor,
    )


defs = build_definitions(find_project(Path.cwd()))
