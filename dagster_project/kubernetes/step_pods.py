"""Steps as pods: dagster_k8s's step handler with diagnoses of failed pods, pending limits and more memory on retries.

dagster_k8s reports that a Job has failed without a cause (dagster issues 13593, 34207), and waits without limit for a
pod that never starts. Here the state of a pod is read from the API server, and diagnosed in ``robot_assets.cluster``.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg

# Neither Dagster nor dagster_k8s has public names for these; tests/dagster_project/test_step_pods.py pins the range.
from dagster._core.events import DagsterEvent, DagsterEventType, EngineEventData
from dagster._core.executor.step_delegating import CheckStepHealthResult, StepHandlerContext
from dagster_k8s.container_context import K8sContainerContext
from dagster_k8s.executor import K8sStepHandler
from dagster_k8s.job import UserDefinedDagsterK8sConfig

from dagster_project.kubernetes.mounts import mounts_of
from dagster_project.kubernetes.pod_reader import PodReader, Unreachable, api_client
from dagster_project.kubernetes.retrying_client import retrying_client
from robot_assets.cluster.diagnose import diagnose, first_pod
from robot_assets.cluster.diagnosis import Diagnosis, Trouble
from robot_assets.cluster.pending_limits import PendingLimits
from robot_assets.cluster.pod import POOL_LABEL
from robot_assets.cluster.retry import requested_memory
from robot_assets.cluster.spec import pool_of
from robot_assets.pipeline.params import Params
from robot_assets.pipeline.placement import KEYS_TAG, POOL_TAG, image_name

_QUIET_S = 60
"""An image pull is logged only after this time."""

_BEYOND_GRACE = timedelta(days=1)
"""A pod that is being deleted may still succeed within its grace period, but not once its step was interrupted."""

_ENDS = {DagsterEventType.STEP_SUCCESS, DagsterEventType.STEP_FAILURE}


@dataclass
class _Watch:
    """The pod of one attempt of a step.

    Attributes:
        job: Name of its Job.
        reader: Reads its namespace.
        limits: Pending limits of the attempt.
        pod: Name of the first pod of the Job.
        logged: The last line in the log of the run.
        verdict: Final diagnosis of the attempt.
    """

    job: str
    reader: PodReader
    limits: PendingLimits
    pod: str | None = None
    logged: str | None = None
    verdict: Diagnosis | None = None

    def diagnose(self, grace: timedelta = timedelta()) -> Diagnosis | None:
        """The diagnosis of the pod, as of ``grace`` from now. Raises Unreachable."""
        job = self.reader.job(self.job)
        pods = self.reader.pods(self.job) if job else []
        if self.pod is None and job:
            self.pod = first_pod(job, pods, self.reader.events)
        return diagnose(job, pods, self.reader.events, datetime.now(UTC) + grace, self.pod)


class StepPods(K8sStepHandler):
    """The step handler of one run. Tags place a step; this adds configuration that differs between its attempts."""

    def __init__(self, params: Params, load_incluster_config: bool, kubeconfig_file: str | None) -> None:
        execution = params.execution
        context = K8sContainerContext(
            namespace=execution.namespace,
            service_account_name=execution.service_account,
            image_pull_secrets=[{"name": name} for name in execution.image_pull_secrets],
            env_secrets=execution.env_secrets,
            env_config_maps=execution.env_config_maps,
        )
        super().__init__(
            image=None,
            container_context=context,
            load_incluster_config=load_incluster_config,
            kubeconfig_file=kubeconfig_file,
        )
        self._api_client = retrying_client()
        self._reading = api_client()
        self._params = params
        self._watches: dict[str, _Watch] = {}

    @property
    def name(self) -> str:
        return "StepPods"

    def launch_step(self, step_handler_context: StepHandlerContext) -> Iterator[DagsterEvent]:
        self._watch(step_handler_context)
        yield from super().launch_step(step_handler_context)

    def check_step_health(self, step_handler_context: StepHandlerContext) -> CheckStepHealthResult:
        key = self._get_step_key(step_handler_context)
        watch = self._watches.get(key)
        try:
            if watch is None:
                return self._resume(step_handler_context)
            diagnosis = watch.diagnose()
        except Unreachable as error:
            if watch is not None:
                self._log(step_handler_context, watch, f"The API server is unreachable: {error}")
            return CheckStepHealthResult.healthy()
        if diagnosis is None or (diagnosis.is_over and has_ended(step_handler_context, key)):
            return CheckStepHealthResult.healthy()
        watch.verdict = self._judge(step_handler_context, watch, diagnosis)
        if watch.verdict is None:
            return CheckStepHealthResult.healthy()
        return CheckStepHealthResult.unhealthy(watch.verdict.found)

    def verdict(self, step_key: str) -> Diagnosis | None:
        """The final diagnosis of the unhealthy attempt of a step; None when there is none."""
        watch = self._watches.get(step_key)
        return watch.verdict if watch else None

    def explain(self, instance: dg.DagsterInstance, run: dg.DagsterRun, step_key: str) -> None:
        """Log why a step was interrupted, when the diagnosis of its pod explains it."""
        watch = self._watches.get(step_key)
        try:
            diagnosis = watch.diagnose(_BEYOND_GRACE) if watch else None
        except Unreachable:
            return
        if diagnosis is not None and diagnosis.is_lost:
            instance.report_engine_event(diagnosis.text, run, EngineEventData(_metadata(diagnosis)), step_key=step_key)

    def _watch(self, context: StepHandlerContext) -> _Watch:
        namespace = self._get_container_context(context).namespace
        reader = PodReader(self._reading, str(namespace))
        watch = _Watch(self._get_k8s_step_job_name(context), reader, PendingLimits.of(self._params.execution))
        self._watches[self._get_step_key(context)] = watch
        return watch

    def _resume(self, context: StepHandlerContext) -> CheckStepHealthResult:
        """Watch a step that an earlier run worker launched, or was about to launch."""
        watch = self._watch(context)
        if watch.reader.job(watch.job) is not None or _has_begun(context, self._get_step_key(context)):
            # left to the next health check, which can fail or retry the step; this one cannot
            return CheckStepHealthResult.healthy()
        return CheckStepHealthResult.unhealthy(f"an earlier run worker ended before it created the job {watch.job}")

    def _judge(self, context: StepHandlerContext, watch: _Watch, diagnosis: Diagnosis) -> Diagnosis | None:
        """The final diagnosis; None while the pod is within its pending limits."""
        if not diagnosis.is_over:
            left_s = watch.limits.remaining_s(diagnosis, time.monotonic())
            if left_s > 0:
                if diagnosis.trouble is not Trouble.PREPARING or watch.limits.waited_s(diagnosis) >= _QUIET_S:
                    self._log(context, watch, f"{diagnosis.found}\n\nfix: {diagnosis.fix}", diagnosis, left_s)
                return None
            diagnosis = watch.limits.failure(diagnosis)
        if diagnosis.trouble in (Trouble.EXITED, Trouble.ENDED_SILENTLY) and watch.pod:
            diagnosis = _with_log(diagnosis, watch.reader.log_tail(watch.pod))
        if diagnosis.is_lost or not diagnosis.is_over:
            # otherwise Kubernetes would create another pod, or start this one later
            self._api_client.delete_job(job_name=watch.job, namespace=watch.reader.namespace)
        DagsterEvent.engine_event(self._step(context), diagnosis.text, EngineEventData(_metadata(diagnosis)))
        return diagnosis

    def _log(
        self,
        context: StepHandlerContext,
        watch: _Watch,
        text: str,
        diagnosis: Diagnosis | None = None,
        left_s: float | None = None,
    ) -> None:
        """Log ``text`` in the run, unless it is the last line that was logged."""
        if text == watch.logged:
            return
        watch.logged = text
        metadata: dict[str, Any] = _metadata(diagnosis) if diagnosis else {}
        if diagnosis and left_s is not None:
            metadata["fails_in_s"] = round(left_s)
        DagsterEvent.engine_event(self._step(context), text, EngineEventData(metadata))

    def _step(self, context: StepHandlerContext) -> Any:
        return context.get_step_context(self._get_step_key(context))

    def _get_container_context(self, step_handler_context: StepHandlerContext) -> K8sContainerContext:
        """Adds image, memory of this attempt, label of the pool, and mounts of the pool."""
        context = super()._get_container_context(step_handler_context)
        key = self._get_step_key(step_handler_context)
        tags = step_handler_context.step_tags[key]
        pool = tags.get(POOL_TAG)
        if pool is None:
            return context
        run_id = step_handler_context.execute_step_args.run_id
        is_first = _earlier_attempts(step_handler_context, key) == 0
        earlier = [] if is_first else earlier_troubles(step_handler_context.instance, run_id, key)
        memory = requested_memory(earlier, self._params.execution, pool_of(self._params.pools, pool))
        # only scalars and mappings: merged DEEP, they replace equal keys and keep the others
        own = UserDefinedDagsterK8sConfig(
            container_config={
                "image": image_name(self._params, pool),
                "resources": {"requests": {"memory": memory}, "limits": {"memory": memory}},
            },
            pod_template_spec_metadata={"labels": {POOL_LABEL: pool}},
            job_metadata={"labels": {POOL_LABEL: pool}},
        )
        fleet_keys = tuple(filter(None, tags.get(KEYS_TAG, "").split(",")))
        mounts = mounts_of(self._params, pool, fleet_keys)
        layers = [own, *map(UserDefinedDagsterK8sConfig.from_dict, mounts)]
        for layer in layers:
            context = context.merge(K8sContainerContext(run_k8s_config=layer))
        return context


def earlier_troubles(instance: dg.DagsterInstance, run_id: str, step_key: str) -> list[str]:
    """Troubles of the earlier attempts of a step, from the event log: a run worker may die between two attempts."""
    events = _events(instance, run_id, {DagsterEventType.STEP_UP_FOR_RETRY}, step_key)
    return [event.step_retry_data.error.cls_name or "" for event in events if event.step_retry_data.error]


def has_ended(context: StepHandlerContext, step_key: str) -> bool:
    """Whether the present attempt of a step has logged its own result; the state of its pod no longer matters then."""
    retry = DagsterEventType.STEP_UP_FOR_RETRY
    events = _events(context.instance, context.execute_step_args.run_id, _ENDS | {retry}, step_key)
    kinds = [event.event_type for event in events]
    return bool(_ENDS & set(kinds)) or kinds.count(retry) > _earlier_attempts(context, step_key)


def _earlier_attempts(context: StepHandlerContext, step_key: str) -> int:
    known = context.execute_step_args.known_state
    return known.get_retry_state().get_attempt_count(step_key) if known else 0


def _has_begun(context: StepHandlerContext, step_key: str) -> bool:
    run_id = context.execute_step_args.run_id
    return bool(_events(context.instance, run_id, {DagsterEventType.STEP_START}, step_key))


def _events(
    instance: dg.DagsterInstance, run_id: str, kinds: set[DagsterEventType], step_key: str
) -> list[DagsterEvent]:
    records = instance.all_logs(run_id, of_type=kinds)
    return [entry.get_dagster_event() for entry in records if entry.is_dagster_event and entry.step_key == step_key]


def _metadata(diagnosis: Diagnosis) -> dict[str, Any]:
    return {"trouble": str(diagnosis.trouble), **diagnosis.metadata}


def _with_log(diagnosis: Diagnosis, log: str) -> Diagnosis:
    if not log:
        return diagnosis
    found = f"{diagnosis.found}\n\nThe end of its log:\n{log}"
    return replace(diagnosis, found=found, facts={**diagnosis.facts, "log": log})
