"""Diagnoses of pods: the message of Kubernetes, the limit, the node, and a fix."""

from datetime import UTC, datetime

import pytest

from robot_assets.cluster.diagnose import diagnose
from robot_assets.cluster.diagnosis import LOST, REFUSED, WAITING, Diagnosis, Trouble
from tests.cluster.kubernetes_objects import (
    SCHEDULED,
    container,
    disrupted,
    ended,
    event,
    job,
    pod,
    scheduler_event,
    unschedulable,
)

NOW = datetime(2026, 11, 22, 11, 0, tzinfo=UTC)
RUNNING = container(running={"startedAt": "2026-11-22T10:01:00Z"})


def diagnosis_of(
    *pods: dict, of: dict | None = None, events: tuple = (), step_pod: str | None = None
) -> Diagnosis | None:
    return diagnose(of or job(), list(pods), lambda name: list(events), NOW, step_pod)


def found(*pods: dict, **more) -> Diagnosis:
    diagnosis = diagnosis_of(*pods, **more)
    assert diagnosis is not None
    assert diagnosis.found
    assert diagnosis.needed
    assert diagnosis.fix
    return diagnosis


# pods that have ended


def test_a_pod_that_ran_out_of_memory_has_its_limit_its_node_and_the_key_to_raise():
    diagnosis = found(pod("Failed", containerStatuses=ended(137, "OOMKilled")), of=job(failed=1))
    assert diagnosis.trouble is Trouble.OUT_OF_MEMORY
    assert diagnosis.found == (
        "pod dagster-step-1f0c-x7k2p on gpu-1 ran out of memory and was killed (OOMKilled) at its limit of 24Gi"
    )
    assert "pools.training.memory" in diagnosis.fix
    assert diagnosis.facts == {"pod": "dagster-step-1f0c-x7k2p", "node": "gpu-1", "memory": "24Gi", "exit_code": "137"}
    assert diagnosis.is_over
    assert not diagnosis.is_lost


def test_out_of_memory_takes_precedence_over_a_later_deletion():
    late = pod(
        "Failed", containerStatuses=ended(137, "OOMKilled"), metadata={"deletionTimestamp": "2026-11-22T10:40:00Z"}
    )
    assert found(late).trouble is Trouble.OUT_OF_MEMORY


def test_an_eviction_has_the_resource_that_the_node_was_short_of():
    message = "The node was low on resource: memory. Threshold quantity: 100Mi, available: 61Mi. "
    diagnosis = found(pod("Failed", reason="Evicted", message=message))
    assert diagnosis.trouble is Trouble.EVICTED
    assert "The node was low on resource: memory" in diagnosis.found
    assert diagnosis.is_lost


@pytest.mark.parametrize(
    "message",
    [
        "Pod ephemeral local storage usage exceeds the total limit of containers 40Gi. ",
        'Container dagster exceeded its local ephemeral storage limit "40Gi". ',
    ],
)
def test_an_eviction_for_its_own_storage_limit_is_not_retried(message):
    diagnosis = found(pod("Failed", reason="Evicted", message=message))
    assert diagnosis.trouble is Trouble.OUT_OF_STORAGE
    assert not diagnosis.is_lost
    assert "pools.training.ephemeral_storage" in diagnosis.fix


def test_a_deadline_has_the_key_to_raise():
    message = "Pod was active on the node longer than the specified deadline"
    diagnosis = found(pod("Failed", reason="DeadlineExceeded", message=message, containerStatuses=ended(143)))
    assert diagnosis.trouble is Trouble.DEADLINE
    assert "86400 s" in diagnosis.found
    assert "pools.training.active_deadline_s" in diagnosis.fix


@pytest.mark.parametrize(
    ("reason", "message", "trouble"),
    [
        ("PreemptionByScheduler", "default-scheduler: preempting to accommodate a higher priority pod", "Preempted"),
        ("DeletionByTaintManager", "Taint manager: deleting due to NoExecute taint", "NodeLost"),
        ("DeletionByPodGC", "PodGC: node no longer exists", "NodeLost"),
        ("EvictionByEvictionAPI", "Eviction API: evicting", "Evicted"),
    ],
)
def test_a_disruption_is_classified_by_its_reason(reason, message, trouble):
    diagnosis = found(pod("Failed", conditions=disrupted(reason, message), containerStatuses=ended(143)))
    assert diagnosis.trouble == trouble
    assert message in diagnosis.found
    assert diagnosis.is_lost


@pytest.mark.parametrize(
    ("reason", "message", "trouble"),
    [
        ("NodeLost", "Node gpu-1 which was running pod x7k2p is unresponsive", Trouble.NODE_LOST),
        ("Terminated", "Pod was terminated in response to imminent node shutdown.", Trouble.NODE_SHUTDOWN),
        ("NodeShutdown", "Pod was rejected as the node is shutting down.", Trouble.NODE_SHUTDOWN),
        ("Preempting", "Preempted in order to admit critical pod", Trouble.PREEMPTED),
    ],
)
def test_the_status_reason_of_the_kubelet_is_classified_with_its_message(reason, message, trouble):
    diagnosis = found(pod("Failed", reason=reason, message=message))
    assert diagnosis.trouble is trouble
    assert message in diagnosis.found
    assert diagnosis.is_lost


@pytest.mark.parametrize(
    ("reason", "message"),
    [
        (
            "UnexpectedAdmissionError",
            "Pod was rejected: Allocate failed due to no healthy devices present; cannot allocate unhealthy devices "
            "nvidia.com/gpu, which is unexpected",
        ),
        ("OutOfmemory", "Pod was rejected: Node didn't have enough resource: memory, requested: 1, used: 2"),
        ("NodeAffinity", "Pod was rejected: Predicate NodeAffinity failed"),
    ],
)
def test_a_pod_that_its_node_rejected_is_retried(reason, message):
    diagnosis = found(pod("Failed", reason=reason, message=message))
    assert diagnosis.trouble is Trouble.NODE_REFUSED
    assert f"{reason}: {message}" in diagnosis.found
    assert diagnosis.is_lost


@pytest.mark.parametrize(("code", "reason"), [(137, "ContainerStatusUnknown"), (255, "Unknown")])
def test_a_container_with_unknown_status_was_lost_with_its_node(code, reason):
    diagnosis = found(pod("Failed", containerStatuses=ended(code, reason)))
    assert diagnosis.trouble is Trouble.NODE_LOST


def test_a_failed_process_has_its_exit_code_and_the_command_for_its_log():
    diagnosis = found(pod("Failed", containerStatuses=ended(1)))
    assert diagnosis.trouble is Trouble.EXITED
    assert "exit code 1" in diagnosis.found
    assert "kubectl logs dagster-step-1f0c-x7k2p -n robots" in diagnosis.fix
    assert not diagnosis.is_lost


def test_a_program_that_the_image_lacks_is_named():
    said = 'exec: "dagster": executable file not found in $PATH: unknown'
    diagnosis = found(pod("Failed", containerStatuses=ended(128, "StartError", said)))
    assert "exit code 128 (StartError)" in diagnosis.found
    assert said in diagnosis.found


def test_a_process_killed_without_a_reason_is_not_out_of_memory():
    diagnosis = found(pod("Failed", containerStatuses=ended(137)))
    assert diagnosis.trouble is Trouble.EXITED
    assert "signal 9" in diagnosis.found


def test_a_failed_init_container_is_diagnosed():
    failing = pod(
        "Failed", initContainerStatuses=ended(3), containerStatuses=container(waiting={"reason": "PodInitializing"})
    )
    failing["spec"]["initContainers"] = [{"name": "dagster", "image": "registry.example/init:1"}]
    assert "exit code 3" in found(failing).found


def test_a_pod_that_exits_with_0_without_a_result_has_failed():
    diagnosis = found(pod("Succeeded", containerStatuses=ended(0, "Completed")), of=job(succeeded=1))
    assert diagnosis.trouble is Trouble.ENDED_SILENTLY


def test_a_missing_job_was_deleted():
    diagnosis = diagnose(None, [], lambda name: [], NOW)
    assert diagnosis.trouble is Trouble.JOB_DELETED
    assert not diagnosis.is_lost


# pods that were removed


def test_a_pod_on_a_lost_node_is_recognized_by_its_eviction_event():
    """Kubernetes before 1.26 sets no condition; the pod stays in deletion while its node is unreachable."""
    leaving = pod("Running", containerStatuses=RUNNING, metadata={"deletionTimestamp": "2026-11-22T10:50:30Z"})
    said = event("TaintManagerEviction", "Marking for deletion Pod robots/dagster-step-1f0c-x7k2p", kind="Normal")
    diagnosis = found(leaving, events=(said,))
    assert diagnosis.trouble is Trouble.NODE_LOST
    assert "Marking for deletion" in diagnosis.found


def test_a_pod_in_its_grace_period_may_still_record_a_result():
    leaving = pod("Running", containerStatuses=RUNNING, metadata={"deletionTimestamp": "2026-11-22T11:00:30Z"})
    assert diagnosis_of(leaving) is None


def test_a_deleted_pod_without_an_event_is_reported_as_deleted():
    failed_job = job(failed=1, conditions=[{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded"}])
    diagnosis = found(of=failed_job, step_pod="dagster-step-1f0c-x7k2p")
    assert diagnosis.trouble is Trouble.POD_DELETED
    assert "pod dagster-step-1f0c-x7k2p no longer exists" in diagnosis.found


def test_a_replacement_pod_is_not_the_pod_of_the_step():
    replacement = pod("Running", name="dagster-step-1f0c-9zzzz", containerStatuses=RUNNING)
    diagnosis = found(replacement, step_pod="dagster-step-1f0c-x7k2p")
    assert diagnosis.trouble is Trouble.POD_DELETED
    assert diagnosis_of(replacement, step_pod="dagster-step-1f0c-9zzzz") is None


def test_a_pod_that_was_replaced_before_the_first_diagnosis_is_recognized_by_the_events_of_its_job():
    replacement = pod("Succeeded", name="dagster-step-1f0c-9zzzz", containerStatuses=ended(0, "Completed"))
    events = (
        event("SuccessfulCreate", "Created pod: dagster-step-1f0c-9zzzz", "10:20:00", kind="Normal"),
        event("SuccessfulCreate", "Created pod: dagster-step-1f0c-x7k2p", "10:00:00", kind="Normal"),
    )
    diagnosis = found(replacement, events=events)
    assert diagnosis.trouble is Trouble.POD_DELETED
    assert "pod dagster-step-1f0c-x7k2p no longer exists" in diagnosis.found


def test_the_oldest_of_two_pods_is_diagnosed():
    first = pod("Failed", reason="Evicted", message="The node was low on resource: memory.")
    second = pod(
        "Running", name="second", containerStatuses=RUNNING, metadata={"creationTimestamp": "2026-11-22T10:30:00Z"}
    )
    assert found(second, first).trouble is Trouble.EVICTED


def test_the_deadline_of_a_job_is_recognized():
    over = job(failed=1, conditions=[{"type": "Failed", "status": "True", "reason": "DeadlineExceeded"}])
    assert found(of=over).trouble is Trouble.DEADLINE


# pods that do not run yet

BUSY = (
    "0/4 nodes are available: 1 Insufficient nvidia.com/gpu, 3 node(s) didn't match Pod's node affinity/selector. "
    "preemption: 0/4 nodes are available: 1 No preemption victims found for incoming pod, 3 Preemption is not helpful "
    "for scheduling."
)
NOWHERE = (
    "0/4 nodes are available: 1 node(s) had untolerated taint {robot-assets/edge: true}, 3 node(s) didn't match Pod's "
    "node affinity/selector."
)


def test_an_unschedulable_pod_has_the_message_of_the_scheduler_and_the_required_labels():
    diagnosis = found(unschedulable(NOWHERE))
    assert diagnosis.trouble is Trouble.UNSCHEDULABLE
    assert NOWHERE in diagnosis.found
    assert diagnosis.needed.startswith("a node with kubernetes.io/arch=amd64, robot-assets/role=train, cpu 7500m")
    assert not diagnosis.is_over


def test_a_pod_that_fits_a_busy_node_waits_for_resources():
    diagnosis = found(unschedulable(BUSY))
    assert diagnosis.trouble is Trouble.NO_ROOM
    assert diagnosis.found.endswith("3 node(s) didn't match Pod's node affinity/selector.")
    assert "nvidia.com/gpu 1" in diagnosis.needed


@pytest.mark.parametrize(
    "message",
    [
        "0/1 nodes are available: 1 node(s) had taint {node.kubernetes.io/unreachable: }, that the pod didn't tolerate",
        "0/1 nodes are available: 1 node(s) were unschedulable.",
        "0/2 nodes are available: pod has unbound immediate PersistentVolumeClaims.",
        "no nodes available to schedule pods",
    ],
)
def test_a_node_that_is_down_is_not_busy(message):
    assert found(unschedulable(message)).trouble is Trouble.UNSCHEDULABLE


def test_an_image_that_cannot_be_pulled_has_the_message_of_the_registry():
    """In ImagePullBackOff the status only says that the pod waits; the cause is in an earlier event."""
    waiting = container(waiting={"reason": "ImagePullBackOff", "message": 'Back-off pulling image "x:2"'})
    said = 'Failed to pull image "x:2": rpc error: code = NotFound desc = failed to resolve reference "x:2": not found'
    events = (event("Failed", said), event("Failed", "Error: ErrImagePull"), event("BackOff", "Back-off pulling image"))
    diagnosis = found(pod("Pending", containerStatuses=waiting), events=events)
    assert diagnosis.trouble is Trouble.IMAGE_PULL
    assert said in diagnosis.found
    assert "pools.training.image" in diagnosis.fix
    assert diagnosis.facts["image"] == "registry.example/train:1"


@pytest.mark.parametrize("reason", ["ErrImagePull", "InvalidImageName", "ErrImageNeverPull"])
def test_other_image_errors_are_read_from_the_status_of_the_pod(reason):
    waiting = container(waiting={"reason": reason, "message": "what is wrong"})
    diagnosis = found(pod("Pending", containerStatuses=waiting))
    assert f"{reason}: what is wrong" in diagnosis.found


def test_a_missing_secret_is_named():
    waiting = container(
        waiting={"reason": "CreateContainerConfigError", "message": 'secret "s3-credentials" not found'}
    )
    diagnosis = found(pod("Pending", containerStatuses=waiting))
    assert diagnosis.trouble is Trouble.NOT_STARTED
    assert 'secret "s3-credentials" not found' in diagnosis.found


def test_a_failed_mount_is_recognized_by_its_event():
    creating = pod("Pending", containerStatuses=container(waiting={"reason": "ContainerCreating"}))
    events = (
        event("FailedMount", 'MountVolume.SetUp failed for volume "home": configmap "dagster" not found', "10:00:09"),
        event("Scheduled", "Successfully assigned", "10:00:01", kind="Normal"),
        scheduler_event("0/4 nodes are available", "10:00:00"),
    )
    diagnosis = found(creating, events=events)
    assert diagnosis.trouble is Trouble.NOT_STARTED
    assert 'configmap "dagster" not found' in diagnosis.found


def test_a_mount_that_failed_once_and_then_succeeded_is_no_trouble():
    creating = pod("Pending", containerStatuses=container(waiting={"reason": "ContainerCreating"}))
    events = (
        event("FailedMount", "timed out waiting for the condition", "10:00:02"),
        event("Pulling", 'Pulling image "registry.example/train:1"', "10:00:09", kind="Normal"),
    )
    diagnosis = found(creating, events=events)
    assert diagnosis.trouble is Trouble.PREPARING
    assert "Pulling image" in diagnosis.found


def test_a_pod_that_the_api_server_rejected_is_recognized_by_an_event_of_its_job():
    said = 'Error creating: pods "x" is forbidden: exceeded quota: robots, requested: requests.nvidia.com/gpu=1'
    diagnosis = found(events=(event("FailedCreate", said),))
    assert diagnosis.trouble is Trouble.POD_REFUSED
    assert "exceeded quota" in diagnosis.found


def test_a_job_whose_pod_is_not_created_yet_is_healthy():
    assert diagnosis_of() is None


def test_a_running_pod_is_healthy_until_its_node_is_unreachable():
    ready = {"type": "Ready", "status": "True"}
    assert diagnosis_of(pod("Running", containerStatuses=RUNNING, conditions=[SCHEDULED, ready])) is None
    diagnosis = found(pod("Running", containerStatuses=RUNNING, conditions=[SCHEDULED, {**ready, "status": "False"}]))
    assert diagnosis.trouble is Trouble.NODE_NOT_READY
    assert not diagnosis.is_over


def test_every_trouble_is_over_or_refused_or_waiting():
    assert not REFUSED & WAITING
    assert not LOST & (REFUSED | WAITING)
    over = {trouble for trouble in Trouble if Diagnosis(trouble, "", "", "").is_over}
    assert over == set(Trouble) - REFUSED - WAITING
