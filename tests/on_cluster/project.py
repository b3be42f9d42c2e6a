"""A code location with three steps that run the shell commands of a test. Its folder is mounted into every pod.

At each attempt, a step reads its command from ``commands.json`` and runs it in its process.
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
        commands = json.loads((HERE / "commands.json").read_text())[name]
        command = commands[min(context.retry_number, len(commands) - 1)]
        if "kubernetes" in sys.modules:
            raise RuntimeError("a step must not import the Kubernetes client: it has no token for the API server")
        context.log.info(f"attempt {context.retry_number}: {command}")
        subprocess.run(["sh", "-c", f"exec {command}"], cwd=HERE, check=True)

    return step


defs = dg.Definitions(
    assets=[_step("trained", "training"), _step("built", "orin_nano"), _step("checked", "general")],
    executor=kubernetes_executor(params),
    jobs=[dg.define_asset_job("steps")],
)


def get_job() -> dg.JobDefinition:
    return defs.resolve_job_def("steps")
