"""Steps as pods of a real cluster: the diagnosis of a pod is recorded for its step, and lost pods are retried."""

import os
import signal
from pathlib import Path

import pytest
import yaml
from dagster import DagsterEventType

from tests.on_cluster.conftest import Sandbox
from tests.on_cluster.deployment import within

FOREVER = "sleep 1000"
AT_ONCE = "true"


def requested_memory(sandbox: Sandbox) -> list[str]:
    jobs = sorted(sandbox.objects("jobs"), key=lambda job: len(job["metadata"]["name"]))
    containers = [job["spec"]["template"]["spec"]["containers"][0] for job in jobs]
    assert all(each["resources"]["requests"]["memory"] == each["resources"]["limits"]["memory"] for each in containers)
    return [each["resources"]["limits"]["memory"] for each in containers]


def test_each_step_runs_on_a_node_of_its_pool(sandbox):
    run = sandbox.run(trained=[AT_ONCE], built=[AT_ONCE], checked=[AT_ONCE])
    assert run.end(), sandbox.log()
    nodes = {step: sandbox.pods_of(step)[0]["spec"]["nodeName"] for step in ("trained", "built", "checked")}
    assert nodes["trained"] == "gpu-1"
    assert nodes["built"] == "orin-nano-1"
    pod = sandbox.pods_of("trained")[0]
    assert pod["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert pod["metadata"]["labels"]["robot-assets/pool"] == "training"
    assert pod["spec"]["automountServiceAccountToken"] is False


def test_a_step_that_ran_out_of_memory_is_retried_with_more(sandbox, minicluster):
    run = sandbox.run(trained=[FOREVER, AT_ONCE])
    pod = sandbox.running("trained")
    minicluster("pod-kill", pod["metadata"]["name"], "-n", sandbox.namespace, "--oom")
    assert run.end(), sandbox.log()
    assert sandbox.retries("trained") == ["OOMKilled"]
    assert requested_memory(sandbox) == ["512Mi", "1Gi"]
    assert any("ran out of memory" in note and "limit of 512Mi" in note for note in sandbox.notes("trained"))


def test_a_step_that_ran_out_of_its_maximum_memory_fails_with_its_limit(sandbox, minicluster):
    sandbox.change(lambda params: params["pools"]["training"].pop("memory_max"))
    run = sandbox.run(trained=[FOREVER])
    pod = sandbox.running("trained")
    minicluster("pod-kill", pod["metadata"]["name"], "-n", sandbox.namespace, "--oom")
    assert not run.end()
    failure = sandbox.failure("trained").step_failure_data
    assert failure.error.cls_name == "OOMKilled"
    assert f"pod {pod['metadata']['name']} on gpu-1 ran out of memory" in failure.error.message
    assert "its limit of 512Mi" in failure.error.message
    assert "pools.training.memory" in failure.user_failure_data.metadata["fix"].value


def test_an_unschedulable_step_fails_with_the_message_of_the_scheduler(sandbox):
    sandbox.change(
        lambda params: params["pools"]["orin_nano"]["node_labels"].update({"robot-assets/target": "orin-nx"})
    )
    assert not sandbox.run(built=[AT_ONCE]).end()
    failure = sandbox.failure("built").step_failure_data
    assert failure.error.cls_name == "Unschedulable"
    assert "0/4 nodes are available" in failure.error.message
    assert "robot-assets/target=orin-nx" in failure.error.message
    within(20, lambda: not sandbox.objects("jobs"), "the Job that never ran is removed")


def test_an_image_that_cannot_be_pulled_is_reported_at_once_and_fails_the_step_later(sandbox):
    missing = "minicluster.invalid/train:1"
    sandbox.change(lambda params: params["pools"]["training"].update(image=missing))
    assert not sandbox.run(trained=[AT_ONCE]).end()
    failure = sandbox.failure("trained").step_failure_data
    assert failure.error.cls_name == "ImagePull"
    assert missing in failure.error.message
    assert "not found" in failure.error.message
    reports = [note for note in sandbox.notes("trained") if "cannot be pulled" in note]
    assert len(reports) >= 2, "when it was found, and as the reason of the failure"


def test_a_missing_secret_fails_the_step_with_its_name(sandbox):
    sandbox.change(lambda params: params["execution"].update(env_secrets=["s3-credentials"]))
    assert not sandbox.run(checked=[AT_ONCE]).end()
    failure = sandbox.failure("checked").step_failure_data
    assert failure.error.cls_name == "NotStarted"
    assert 'secret "s3-credentials" not found' in failure.error.message


def test_a_step_whose_pod_is_deleted_is_retried(sandbox):
    run = sandbox.run(trained=[FOREVER, AT_ONCE])
    pod = sandbox.running("trained")
    sandbox.kubectl("delete", "pod", pod["metadata"]["name"], "--grace-period=0", "--force", "--wait=false")
    assert run.end(), sandbox.log()
    assert sandbox.retries("trained") == ["PodDeleted"]


def test_a_step_whose_node_is_lost_is_retried_when_there_is_a_node(sandbox, minicluster):
    sandbox.change(lambda params: params["execution"].update(refused_max_s=60))
    run = sandbox.run(trained=[FOREVER, AT_ONCE])
    sandbox.running("trained")
    minicluster("node-fail", "gpu-1")
    try:
        within(180, lambda: sandbox.retries("trained"), f"the node is lost\n{sandbox.log()}")
    finally:
        minicluster("node-recover", "gpu-1")
    assert run.end(), sandbox.log()
    assert sandbox.retries("trained") == ["NodeLost"]
    assert any("is unreachable" in note for note in sandbox.notes("trained"))


def test_a_step_whose_job_is_deleted_is_not_retried(sandbox):
    run = sandbox.run(trained=[FOREVER])
    sandbox.running("trained")
    sandbox.kubectl("delete", "jobs", "--all", "--cascade=background")
    assert not run.end()
    events = sandbox.events(DagsterEventType.STEP_FAILURE, "trained")
    assert len(events) == 1
    assert not sandbox.retries("trained")


def test_the_output_of_a_process_that_dies_at_its_start_is_shown(sandbox):
    (sandbox.folder / "sitecustomize.py").write_text(
        "import sys\nif 'api' in sys.argv:\n    raise SystemExit('no module named robot_assets in this image')\n"
    )
    assert not sandbox.run(checked=[AT_ONCE]).end()
    failure = sandbox.failure("checked").step_failure_data
    assert failure.error.cls_name == "Exited"
    assert "no module named robot_assets in this image" in failure.error.message


def test_a_step_that_fails_by_itself_keeps_its_own_error(sandbox):
    assert not sandbox.run(checked=["false"]).end()
    failure = sandbox.failure("checked").step_failure_data
    assert failure.error.cause.cls_name == "CalledProcessError"
    assert not sandbox.retries("checked")


def test_a_second_step_waits_for_the_gpu(sandbox):
    sandbox.change(lambda params: params["pools"]["training"].update(max_concurrent=2))
    first = sandbox.run(trained=["sleep 12"])
    sandbox.running("trained")
    second = sandbox.run(trained=["sleep 12"])
    assert first.end(), sandbox.log()
    assert second.end(), sandbox.log()
    assert any("Insufficient nvidia.com/gpu" in note for note in sandbox.notes("trained"))


def test_a_pool_with_a_limit_of_1_runs_one_step_at_a_time(sandbox):
    first = sandbox.run(built=["sleep 8"])
    sandbox.running("built")
    second = sandbox.run(built=["sleep 8"])
    within(20, lambda: len(sandbox.instance.get_runs()) == 2, "the second run starts")
    assert len(sandbox.pods_of("built")) == 1
    assert first.end(), sandbox.log()
    assert second.end(), sandbox.log()
    assert len(sandbox.pods_of("built")) == 2


def test_an_interrupted_step_reports_that_its_pod_was_removed(sandbox):
    run = sandbox.run(trained=[FOREVER])
    pod = sandbox.running("trained")
    sandbox.kubectl("delete", "pod", pod["metadata"]["name"], "--wait=false")
    assert not run.end()
    assert sandbox.failure("trained").step_failure_data.error.cls_name == "DagsterExecutionInterruptedError"
    assert any("a user or a controller deleted it" in note for note in sandbox.notes("trained"))


def test_a_run_survives_an_api_server_that_hangs(sandbox):
    server = Path(os.environ.get("MINICLUSTER_STATE", "/nowhere"), "pids", "kube-apiserver")
    if not server.exists():
        pytest.skip("only the API server of a minicluster can be stopped: MINICLUSTER_STATE is not set")
    run = sandbox.run(trained=["sleep 40"])
    sandbox.running("trained")
    process = int(server.read_text().split()[0])
    os.kill(process, signal.SIGSTOP)
    try:
        within(40, lambda: any("is unreachable" in note for note in sandbox.notes("trained")), "the outage is noticed")
    finally:
        os.kill(process, signal.SIGCONT)
    assert run.end(), sandbox.log()
    assert not sandbox.retries("trained")


def test_a_run_in_the_cluster_needs_only_the_rights_of_its_role(sandbox, repository):
    roles = yaml.safe_load_all((repository / "k8s" / "base" / "rbac.yaml").read_text())
    (role,) = (each for each in roles if each["kind"] == "Role" and each["metadata"]["name"] == "robot-assets-run")
    (sandbox.folder / "role.yaml").write_text(yaml.safe_dump(role))
    sandbox.kubectl("apply", "-f", str(sandbox.folder / "role.yaml"))
    sandbox.kubectl(
        "create", "rolebinding", "runs", "--role=robot-assets-run", f"--serviceaccount={sandbox.namespace}:runs"
    )
    sandbox.change(lambda params: params["pools"]["training"].update(image="minicluster.invalid/train:1"))
    sandbox.launch(trained=[AT_ONCE], built=["false"], checked=[AT_ONCE])
    within(150, lambda: sandbox.instance.get_runs()[0].is_finished, "the run ends")
    assert sandbox.failure("trained").step_failure_data.error.cls_name == "ImagePull", sandbox.log()
    assert "CalledProcessError" in str(sandbox.failure("built").step_failure_data.error)
    assert sandbox.events(DagsterEventType.STEP_SUCCESS, "checked")
    assert "Forbidden" not in sandbox.log()
    # A run is finished shortly before its own pod has ended.
    within(30, lambda: not any(job["status"].get("active") for job in sandbox.objects("jobs")), "no Job is left")


def test_a_run_whose_worker_was_killed_resumes_with_its_existing_pods(sandbox, minicluster):
    sandbox.launch(False, trained=["sleep 40"], built=[FOREVER, AT_ONCE], checked=[AT_ONCE])
    sandbox.running("trained")
    lost = sandbox.running("built")
    (worker,) = sandbox.objects("pods -l dagster/op!=trained,dagster/op!=built,dagster/op!=checked")
    minicluster("pod-kill", worker["metadata"]["name"], "-n", sandbox.namespace)
    sandbox.kubectl("delete", "pod", lost["metadata"]["name"], "--grace-period=0", "--force", "--wait=false")
    assert sandbox.resume().end(), sandbox.log()
    assert sandbox.instance.get_runs()[0].is_success
    assert len(sandbox.events(DagsterEventType.STEP_START, "trained")) == 1
    assert sandbox.retries("built") == ["PodDeleted"]
