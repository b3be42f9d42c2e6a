"""The code location: every asset and check that params.yaml describes, and the resources they use.

``build_definitions`` assembles them; Dagster loads ``defs``. Nothing heavy is imported here: torch, onnx and the rest
are imported inside the functions that use them.
"""

import dagster as dg

from dagster_project.local.home import require_own_home
from dagster_project.observing.asset import observed_assets
from dagster_project.observing.sensor import observing_sensors
from dagster_project.producing.asset import produced_assets
from dagster_project.producing.gates import gate_checks
from dagster_project.producing.intact import intact_checks
from dagster_project.producing.stage_runner import StageRunner
from dagster_project.rebuilding.sensor import rebuild_sensor
from robot_assets.pipeline.graph import build_graph
from robot_assets.pipeline.params import Params
from robot_assets.pipeline.project import Project, find_project


def build_definitions(project: Project, executor: dg.ExecutorDefinition | None = None) -> dg.Definitions:
    """All definitions of a project.

    Args:
        project: Its params.yaml describes the assets, and where steps run.
        executor: Replaces the executor that ``execution`` in params.yaml selects.
    """
    params = project.params
    graph = build_graph(params)
    produced = [stage.asset for stage in graph.values() if not stage.is_observed]
    return dg.Definitions(
        assets=[*observed_assets(params, graph), *produced_assets(params, graph)],
        asset_checks=[*gate_checks(params, graph), *intact_checks(params, graph)],
        sensors=[*observing_sensors(project.root), rebuild_sensor(project, produced)],
        resources={"stage_runner": StageRunner(root=str(project.root))},
        executor=executor or _executor(params),
    )


def _executor(params: Params) -> dg.ExecutorDefinition:
    if params.execution.kind == "local":
        return dg.in_process_executor
    from dagster_project.kubernetes.executor import kubernetes_executor

    return kubernetes_executor(params)


def _loaded() -> dg.Definitions:
    """The definitions of the project that $ROBOT_ASSETS_PROJECT or the working directory names.

    Raises:
        InstanceError: DAGSTER_HOME names the instance of another checkout, as in a ``dagster dev`` started by hand.
    """
    project = find_project()
    require_own_home(project.root)
    return build_definitions(project)


defs = _loaded()
