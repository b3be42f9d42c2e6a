"""What has become of a pod: in Kubernetes' own words, with the limit, the node and what to do."""

from datetime import UTC, datetime

import pytest

from robot_assets.cluster.diagnose import examine
from robot_assets.cluster.diagnosis import LOST, REFUSED, WAITING, Finding, Trouble
from tests.cluster.pods_of_a_cluster import (
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


def look(*pods: dict, of: dict | None = None, events: tuple = (), began_on: str | None = None) -> Finding | None:
    return examine(of or job(), list(pods), lambda name: list(events), NOW, began_on)


def found(*pods: dict, **more) -> Finding:
    finding = look(*pods, **more)
    assert finding is not None
    assert finding.found
    assert finding.needed
    assert finding.fix
    return finding


# the pod has ended


def test_a_pod_that_ran_out_of_memory_names_its_limit_its_node_and_the_field_to_raise():
    finding = found(pod("Failed", containerStatuses=ended(137, "OOMKilled")), of=job(failed=1))
    assert finding.trouble is Trouble.OUT_OF_MEMORY
    assert finding.found == (
        "pod dagster-step-1f0c-x7k2p on gpu-1 ran out of memory and was killed (OOMKilled) at its limit of 24Gi"
    )
    assert "pools.training.memory" in finding.fix
    assert finding.facts == {"pod": "dagster-step-1f0c-x7k2p", "node": "gpu-1", "memory": "24Gi", "exit_code": "137"}
    assert finding.is_over
    assert not finding.is_lost


def test_memory_counts_before_the_deletion_that_came_after_it():
    late = pod(
        "Failed", containerStatuses=ended(137, "OOMKilled"), metadata={"deletionTimestamp": "2026-11-22T10:40:00Z"}
    )
    assert found(late).trouble is Trouble.OUT_OF_MEMORY


def test_an_eviction_says_what_the_node_was_short_of():
    message = "The node was low on resource: memory. Threshold quantity: 100Mi, available: 61Mi. "
    finding = found(pod("Failed", reason="Evicted", message=message))
    assert finding.trouble is Trouble.EVICTED
    assert "The node was low on resource: memory" in finding.found
    assert finding.is_lost


@pytest.mark.parametrize(
    "message",
    [
        "Pod ephemeral local storage usage exceeds the total limit of containers 40Gi. ",
        'Container dagster exceeded its local ephemeral storage limit "40Gi". ',
    ],
)
def test_an_eviction_for_its_own_storage_limit_is_no_fault_of_the_node(message):
    finding = found(pod("Failed", reason="Evicted", message=message))
    assert finding.trouble is Trouble.OUT_OF_STORAGE
    assert not finding.is_lost
    assert "pools.training.ephemeral_storage" in finding.fix


def test_a_deadline_names_the_field_to_raise():
    message = "Pod was active on the node longer than the specified deadline"
    finding = found(pod("Failed", reason="DeadlineExceeded", message=message, containerStatuses=ended(143)))
    assert finding.trouble is Trouble.DEADLINE
    assert "86400 s" in finding.found
    assert "pools.training.active_deadline_s" in finding.fix


@pytest.mark.parametrize(
    ("reason", "message", "trouble"),
    [
        ("PreemptionByScheduler", "default-scheduler: preempting to accommodate a higher priority pod", "Preempted"),
        ("DeletionByTaintManager", "Taint manager: deleting due to NoExecute taint", "NodeLost"),
        ("DeletionByPodGC", "PodGC: node no longer exists", "NodeLost"),
        ("EvictionByEvictionAPI", "Eviction API: evicting", "Evicted"),
    ],
)
def test_a_disruption_is_named_by_who_caused_it(reason, message, trouble):
    finding = found(pod("Failed", conditions=disrupted(reason, message), containerStatuses=ended(143)))
    assert finding.trouble == trouble
    assert message in finding.found
    assert finding.is_lost


@pytest.mark.parametrize(
    ("reason", "message", "trouble"),
    [
        ("NodeLost", "Node gpu-1 which was running pod x7k2p is unresponsive", Trouble.NODE_LOST),
        ("Terminated", "Pod was terminated in response to imminent node shutdown.", Trouble.NODE_SHUTDOWN),
        ("NodeShutdown", "Pod was rejected as the node is shutting down.", Trouble.NODE_SHUTDOWN),
        ("Preempting", "Preempted in order to admit critical pod", Trouble.PREEMPTED),
    ],
)
def test_what_the_kubelet_did_to_a_pod_is_said_in_its_words(reason, message, trouble):
    finding = found(pod("Failed", reason=reason, message=message))
    assert finding.trouble is trouble
    assert message in finding.found
    assert finding.is_lost


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
def test_a_node_that_refuses_a_pod_is_worth_another_attempt(reason, message):
    finding = found(pod("Failed", reason=reason, message=message))
    assert finding.trouble is Trouble.NODE_REFUSED
    assert f"{reason}: {message}" in finding.found
    assert finding.is_lost


@pytest.mark.parametrize(("code", "reason"), [(137, "ContainerStatusUnknown"), (255, "Unknown")])
def test_a_container_that_nobody_saw_end_went_with_its_node(code, reason):
    finding = found(pod("Failed", containerStatuses=ended(code, reason)))
    assert finding.trouble is Trouble.NODE_LOST


def test_a_process_that_ends_badly_is_named_with_its_code_and_its_log():
    finding = found(pod("Failed", containerStatuses=ended(1)))
    assert finding.trouble is Trouble.EXITED
    assert "exit code 1" in finding.found
    assert "kubectl logs dagster-step-1f0c-x7k2p -n robots" in finding.fix
    assert not finding.is_lost


def test_a_program_that_the_image_does_not_have_is_named():
    said = 'exec: "dagster": executable file not found in $PATH: unknown'
    finding = found(pod("Failed", containerStatuses=ended(128, "StartError", said)))
    assert "exit code 128 (StartError)" in finding.found
    assert said in finding.found


def test_a_process_killed_without_a_reason_is_not_called_out_of_memory():
    finding = found(pod("Failed", containerStatuses=ended(137)))
    assert finding.trouble is Trouble.EXITED
    assert "signal 9" in finding.found


def test_an_init_container_that_fails_is_the_one_that_is_named():
    failing = pod(
        "Failed", initContainerStatuses=ended(3), containerStatuses=container(waiting={"reason": "PodInitializing"})
    )
    failing["spec"]["initContainers"] = [{"name": "dagster", "image": "registry.example/init:1"}]
    assert "exit code 3" in found(failing).found


def test_a_pod_that_ends_well_without_a_result_is_no_success():
    finding = found(pod("Succeeded", containerStatuses=ended(0, "Completed")), of=job(succeeded=1))
    assert finding.trouble is Trouble.SILENT


def test_a_job_that_is_gone_was_deleted():
    finding = examine(None, [], lambda name: [], NOW)
    assert finding.trouble is Trouble.JOB_DELETED
    assert not finding.is_lost


# the pod was taken away


def test_a_pod_on_a_lost_node_is_known_by_the_event_of_its_eviction():
    """Kubernetes before 1.26 sets no condition; the pod stays in deletion as long as its node is away."""
    going = pod("Running", containerStatuses=RUNNING, metadata={"deletionTimestamp": "2026-11-22T10:50:30Z"})
    said = event("TaintManagerEviction", "Marking for deletion Pod robots/dagster-step-1f0c-x7k2p", kind="Normal")
    finding = found(going, events=(said,))
    assert finding.trouble is Trouble.NODE_LOST
    assert "Marking for deletion" in finding.found


def test_a_pod_in_its_grace_period_may_still_say_how_its_step_ended():
    going = pod("Running", containerStatuses=RUNNING, metadata={"deletionTimestamp": "2026-11-22T11:00:30Z"})
    assert look(going) is None


def test_a_pod_that_somebody_deleted_is_gone_for_no_reason_that_kubernetes_knows():
    gone = job(failed=1, conditions=[{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded"}])
    finding = found(of=gone, began_on="dagster-step-1f0c-x7k2p")
    assert finding.trouble is Trouble.POD_DELETED
    assert "pod dagster-step-1f0c-x7k2p is gone" in finding.found


def test_a_pod_that_took_the_place_of_another_is_not_taken_for_it():
    other = pod("Running", name="dagster-step-1f0c-9zzzz", containerStatuses=RUNNING)
    finding = found(other, began_on="dagster-step-1f0c-x7k2p")
    assert finding.trouble is Trouble.POD_DELETED
    assert look(other, began_on="dagster-step-1f0c-9zzzz") is None


def test_a_pod_that_took_the_place_of_another_before_anybody_looked_is_known_by_the_events_of_the_job():
    other = pod("Succeeded", name="dagster-step-1f0c-9zzzz", containerStatuses=ended(0, "Completed"))
    events = (
        event("SuccessfulCreate", "Created pod: dagster-step-1f0c-9zzzz", "10:20:00", kind="Normal"),
        event("SuccessfulCreate", "Created pod: dagster-step-1f0c-x7k2p", "10:00:00", kind="Normal"),
    )
    finding = found(other, events=events)
    assert finding.trouble is Trouble.POD_DELETED
    assert "pod dagster-step-1f0c-x7k2p is gone" in finding.found


def test_the_first_of_two_pods_is_the_one_that_counts():
    first = pod("Failed", reason="Evicted", message="The node was low on resource: memory.")
    second = pod(
        "Running", name="second", containerStatuses=RUNNING, metadata={"creationTimestamp": "2026-11-22T10:30:00Z"}
    )
    assert found(second, first).trouble is Trouble.EVICTED


def test_the_deadline_of_a_job_is_its_own_reason():
    over = job(failed=1, conditions=[{"type": "Failed", "status": "True", "reason": "DeadlineExceeded"}])
    assert found(of=over).trouble is Trouble.DEADLINE


# the pod does not run yet

BUSY = (
    "0/4 nodes are available: 1 Insufficient nvidia.com/gpu, 3 node(s) didn't match Pod's node affinity/selector. "
    "preemption: 0/4 nodes are available: 1 No preemption victims found for incoming pod, 3 Preemption is not helpful "
    "for scheduling."
)
NOWHERE = (
    "0/4 nodes are available: 1 node(s) had untolerated taint {robot-assets/edge: true}, 3 node(s) didn't match Pod's "
    "node affinity/selector."
)


def test_a_pod_that_no_node_takes_shows_the_schedulers_words_and_the_labels_that_are_wanted():
    finding = found(unschedulable(NOWHERE))
    assert finding.trouble is Trouble.UNSCHEDULABLE
    assert NOWHERE in finding.found
    assert finding.needed.startswith("a node with kubernetes.io/arch=amd64, robot-assets/role=train, cpu 7500m")
    assert not finding.is_over


def test_a_pod_that_fits_a_busy_node_waits_for_room():
    finding = found(unschedulable(BUSY))
    assert finding.trouble is Trouble.NO_ROOM
    assert finding.found.endswith("3 node(s) didn't match Pod's node affinity/selector.")
    assert "nvidia.com/gpu 1" in finding.needed


@pytest.mark.parametrize(
    "message",
    [
        "0/1 nodes are available: 1 node(s) had taint {node.kubernetes.io/unreachable: }, that the pod didn't tolerate",
        "0/1 nodes are available: 1 node(s) were unschedulable.",
        "0/2 nodes are available: pod has unbound immediate PersistentVolumeClaims.",
        "no nodes available to schedule pods",
    ],
)
def test_a_node_that_is_down_is_no_busy_node(message):
    assert found(unschedulable(message)).trouble is Trouble.UNSCHEDULABLE


def test_an_image_that_cannot_be_pulled_is_told_by_what_the_registry_said():
    """In ImagePullBackOff the pod itself only says that it waits; the cause is in an earlier event."""
    waiting = container(waiting={"reason": "ImagePullBackOff", "message": 'Back-off pulling image "x:2"'})
    said = 'Failed to pull image "x:2": rpc error: code = NotFound desc = failed to resolve reference "x:2": not found'
    events = (event("Failed", said), event("Failed", "Error: ErrImagePull"), event("BackOff", "Back-off pulling image"))
    finding = found(pod("Pending", containerStatuses=waiting), events=events)
    assert finding.trouble is Trouble.IMAGE
    assert said in finding.found
    assert "pools.training.image" in finding.fix
    assert finding.facts["image"] == "registry.example/train:1"


@pytest.mark.parametrize("reason", ["ErrImagePull", "InvalidImageName", "ErrImageNeverPull"])
def test_what_else_is_wrong_with_an_image_is_told_by_the_pod(reason):
    waiting = container(waiting={"reason": reason, "message": "what is wrong"})
    finding = found(pod("Pending", containerStatuses=waiting))
    assert f"{reason}: what is wrong" in finding.found


def test_a_missing_secret_is_named():
    waiting = container(
        waiting={"reason": "CreateContainerConfigError", "message": 'secret "s3-credentials" not found'}
    )
    finding = found(pod("Pending", containerStatuses=waiting))
    assert finding.trouble is Trouble.NOT_STARTED
    assert 'secret "s3-credentials" not found' in finding.found


def test_a_volume_that_cannot_be_mounted_is_known_by_its_event_alone():
    creating = pod("Pending", containerStatuses=container(waiting={"reason": "ContainerCreating"}))
    events = (
        event("FailedMount", 'MountVolume.SetUp failed for volume "home": configmap "dagster" not found', "10:00:09"),
        event("Scheduled", "Successfully assigned", "10:00:01", kind="Normal"),
        scheduler_event("0/4 nodes are available", "10:00:00"),
    )
    finding = found(creating, events=events)
    assert finding.trouble is Trouble.NOT_STARTED
    assert 'configmap "dagster" not found' in finding.found


def test_a_mount_that_failed_and_then_went_on_is_nothing():
    creating = pod("Pending", containerStatuses=container(waiting={"reason": "ContainerCreating"}))
    events = (
        event("FailedMount", "timed out waiting for the condition", "10:00:02"),
        event("Pulling", 'Pulling image "registry.example/train:1"', "10:00:09", kind="Normal"),
    )
    finding = found(creating, events=events)
    assert finding.trouble is Trouble.PREPARING
    assert "Pulling image" in finding.found


def test_a_pod_that_the_api_server_does_not_take_is_known_by_an_event_of_its_job():
    said = 'Error creating: pods "x" is forbidden: exceeded quota: robots, requested: requests.nvidia.com/gpu=1'
    finding = found(events=(event("FailedCreate", said),))
    assert finding.trouble is Trouble.POD_REFUSED
    assert "exceeded quota" in finding.found


def test_a_job_whose_pod_is_still_to_come_is_fine():
    assert look() is None


def test_a_running_pod_is_fine_until_its_node_is_silent():
    ready = {"type": "Ready", "status": "True"}
    assert look(pod("Running", containerStatuses=RUNNING, conditions=[SCHEDULED, ready])) is None
    finding = found(pod("Running", containerStatuses=RUNNING, conditions=[SCHEDULED, {**ready, "status": "False"}]))
    assert finding.trouble is Trouble.NODE_SILENT
    assert not finding.is_over


def test_every_trouble_is_over_or_refused_or_waits():
    assert not REFUSED & WAITING
    assert not LOST & (REFUSED | WAITING)
    over = {trouble for trouble in Trouble if Finding(trouble, "", "", "").is_over}
    assert over == set(Trouble) - REFUSED - WAITING
