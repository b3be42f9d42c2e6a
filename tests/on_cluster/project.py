"""A code location of two steps that do what a test tells them. Its folder is mounted into every pod.

Each step reads its orders at each attempt from ``orders.json``: a shell command, run by the process of the step.
"""

import json
import subprocess
import sys
from pathlib import Path

import dagster as dg

from dagster_project.kubernetes.executor import kubernetes_executor
from robot_assets.pipeline.params import load_params
from robot_assets.pipeline.placement import placed

HERE = Path(__file__).parent
params = load_params(HERE / "params.yaml")


def _step(name: str, pool: str) -> dg.AssetsDefinition:
    @dg.asset(name=name, **placed(params, pool))
    def step(context: dg.AssetExecutionContext) -> None:
        orders = json.loads((HERE / "orders.json").read_text())[name]
        order = orders[min(context.retry_number, len(orders) - 1)]
        if "kubernetes" in sys.modules:
            raise RuntimeError("a step has no business with the API server, and no token for it")
        context.log.info(f"attempt {context.retry_number}: {order}")
        subprocess.run(["sh", "-c", f"exec {order}"], cwd=HERE, check=True)

    return step


defs = dg.Definitions(
    assets=[_step("trained", "training"), _step("built", "orin_nano"), _step("checked", "general")],
    executor=kubernetes_executor(params),
    jobs=[dg.define_asset_job("steps")],
)


def get_job() -> dg.JobDefinition:
    return defs.resolve_job_def("steps")
