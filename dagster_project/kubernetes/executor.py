"""The executor of a cluster: each step is a Kubernetes Job, and a failed step has the diagnosis of its pod.

Nothing of Kubernetes is imported before a run starts its steps: the code location and the steps create an executor
too, and neither connects to the API server.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg

# Dagster has no public names for step delegation; tests/dagster_project/test_step_pods.py pins the range.
from dagster._core.events import DagsterEvent, EngineEventData
from dagster._core.execution.plan.objects import StepFailureData, StepRetryData, UserFailureData
from dagster._core.execution.retries import RetryMode
from dagster._core.executor.step_delegating import StepDelegatingExecutor
from dagster._utils.error import SerializableErrorInfo

from robot_assets.cluster.diagnosis import Diagnosis
from robot_assets.cluster.retry import Retry, retry_after
from robot_assets.cluster.spec import PoolSpec, pool_of
from robot_assets.pipeline.params import Params
from robot_assets.pipeline.placement import POOL_TAG, concurrency_limits

_HEALTH_CHECK_S = 5
"""Interval of the health checks of a run's pods: one short request for each running step."""

_INTERRUPTED = frozenset({"DagsterExecutionInterruptedError", "KeyboardInterrupt"})


def kubernetes_executor(params: Params) -> dg.ExecutorDefinition:
    """The executor of a project whose ``execution.kind`` is kubernetes."""

    @dg.executor(
        name="kubernetes",
        config_schema={
            "load_incluster_config": dg.Field(
                bool, is_required=False, description="Whether this runs in the cluster; default: as the run launcher"
            ),
            "kubeconfig_file": dg.Field(
                dg.Noneable(str), is_required=False, description="From outside the cluster; default: the run launcher's"
            ),
            "max_concurrent": dg.Field(
                int, is_required=False, description="Concurrent steps of one run in all pools together"
            ),
        },
        requirements=dg.multiple_process_executor_requirements(),
    )
    def kubernetes(init_context: dg.InitExecutorContext) -> KubernetesExecutor:
        return KubernetesExecutor(params, init_context.executor_config)

    return kubernetes


class KubernetesExecutor(StepDelegatingExecutor):
    """Runs steps as pods, retries those that may succeed, and adds the diagnosis of its pod to a failed step."""

    def __init__(self, params: Params, config: Mapping[str, Any]) -> None:
        super().__init__(
            None,
            retries=RetryMode.ENABLED,
            check_step_health_interval_seconds=_HEALTH_CHECK_S,
            max_concurrent=config.get("max_concurrent"),
            should_verify_step=True,
        )
        self._params = params
        self._config = config

    def execute(self, plan_context: Any, execution_plan: Any) -> Iterator[DagsterEvent]:
        from dagster_project.kubernetes.step_pods import StepPods

        launcher = plan_context.instance.run_launcher
        settings = {
            "load_incluster_config": getattr(launcher, "load_incluster_config", True),
            "kubeconfig_file": getattr(launcher, "kubeconfig_file", None),
        }
        given = {key: self._config[key] for key in settings if key in self._config}
        self._step_handler = StepPods(self._params, **{**settings, **given})
        set_concurrency_limits(plan_context.instance, concurrency_limits(self._params))
        try:
            yield from super().execute(plan_context, execution_plan)
        finally:  # an interruption is raised as an exception
            self._delete_jobs_of_a_canceled_run(plan_context)

    def _delete_jobs_of_a_canceled_run(self, plan_context: Any) -> None:
        from dagster_k8s.client import DagsterKubernetesClient

        from dagster_project.kubernetes.canceling import delete_step_jobs, is_canceled

        instance, run_id = plan_context.instance, plan_context.run_id
        if not is_canceled(instance, run_id):
            return
        namespace = self._params.execution.namespace or instance.run_launcher.job_namespace
        jobs = delete_step_jobs(DagsterKubernetesClient.production_client(), namespace, run_id)
        if jobs:
            text = f"Deleted the step jobs of the canceled run: {', '.join(jobs)}"
            DagsterEvent.engine_event(plan_context, text, EngineEventData())

    def log_failure_or_retry_event_after_error(
        self, step_context: Any, err_info: SerializableErrorInfo, known_state: Any
    ) -> DagsterEvent:
        diagnosis = self._step_handler.verdict(step_context.step.key)
        if diagnosis is None:
            return super().log_failure_or_retry_event_after_error(step_context, err_info, known_state)
        # later attempts read the trouble of this one from the class name
        error = SerializableErrorInfo(diagnosis.text, stack=[], cls_name=str(diagnosis.trouble))
        retry = self._retry(step_context, diagnosis)
        if retry is not None:
            return DagsterEvent.step_retry_event(step_context, StepRetryData(error, retry.wait_s or None))
        message = f'Step "{step_context.step.key}": {diagnosis.found}'
        return DagsterEvent.step_failure_event(step_context, StepFailureData(error, _shown(diagnosis)), message)

    def _retry(self, step_context: Any, diagnosis: Diagnosis) -> Retry | None:
        from dagster_project.kubernetes.step_pods import earlier_troubles

        if step_context.retry_mode.disabled:
            return None
        earlier = earlier_troubles(step_context.instance, step_context.run_id, step_context.step.key)
        return retry_after(diagnosis, earlier, self._params.execution, self._pool(step_context))

    def _pool(self, step_context: Any) -> PoolSpec:
        return pool_of(self._params.pools, step_context.step.tags.get(POOL_TAG, ""))

    def _pop_events(self, instance: dg.DagsterInstance, run_id: str, seen_storage_ids: set[int]) -> Any:
        """Adds the diagnosis of interrupted steps: a pod that is deleted logs the interruption, but not its cause."""
        events = super()._pop_events(instance, run_id, seen_storage_ids)
        for event in events:
            if event.is_step_failure and _is_interruption(event):
                self._step_handler.explain(instance, instance.get_run_by_id(run_id), event.step_key)
        return events


def set_concurrency_limits(instance: dg.DagsterInstance, limits: Mapping[str, int]) -> None:
    """Apply the limits of params.yaml to the concurrency pools of the instance."""
    storage = instance.event_log_storage
    if not storage.supports_global_concurrency_limits:
        return
    present = {pool.name: pool.limit for pool in storage.get_pool_limits() if not pool.from_default}
    for name, limit in limits.items():
        if present.get(name) != limit:
            storage.set_concurrency_slots(name, limit)


def _is_interruption(event: DagsterEvent) -> bool:
    error = event.step_failure_data.error
    return error is not None and error.cls_name in _INTERRUPTED


def _shown(diagnosis: Diagnosis) -> UserFailureData:
    return UserFailureData(str(diagnosis.trouble), description=diagnosis.found, metadata=dict(diagnosis.metadata))
