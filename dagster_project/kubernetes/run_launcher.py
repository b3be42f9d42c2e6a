"""The run launcher of a cluster: ``RunPods``, or one without functions in the pods of steps.

Where interrupted runs are resumed, Dagster opens the launcher together with the instance, in the pods of steps too.
There it would need a token of the API server, which steps do not have, and import the Kubernetes client, which takes
longer than many steps. A step launches no runs, so its launcher does nothing.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import dagster as dg

# Dagster has no public names for these; tests/k8s/test_instance.py opens the deployed instance with them.
from dagster._core.launcher.base import LaunchRunContext, RunLauncher
from dagster._serdes import ConfigurableClass, ConfigurableClassData

_STEP_VARIABLE = "DAGSTER_RUN_STEP_KEY"
"""Set by dagster_k8s in the pods of steps, and in no others."""


class ClusterRunLauncher(RunLauncher, ConfigurableClass):
    """Opens as ``RunPods``, configured as ``K8sRunLauncher``; in a step, as this class, which launches nothing."""

    def __init__(self, inst_data: ConfigurableClassData | None = None) -> None:
        self._inst_data = inst_data
        super().__init__()

    @property
    def inst_data(self) -> ConfigurableClassData | None:
        return self._inst_data

    @classmethod
    def config_type(cls) -> Any:
        if _is_step():
            return dg.Permissive()
        from dagster_k8s import K8sRunLauncher

        return K8sRunLauncher.config_type()

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]) -> RunLauncher:
        if _is_step():
            return cls(inst_data)
        from dagster_project.kubernetes.run_pods import RunPods

        return RunPods.from_config_value(inst_data, config_value)

    @property
    def supports_resume_run(self) -> bool:
        return True

    def launch_run(self, context: LaunchRunContext) -> None:
        raise RuntimeError("a step launches no runs")

    def terminate(self, run_id: str) -> bool:
        raise RuntimeError("a step ends no runs")


def _is_step() -> bool:
    return _STEP_VARIABLE in os.environ
