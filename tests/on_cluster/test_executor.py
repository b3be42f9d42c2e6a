"""Steps as pods of a real cluster: what becomes of a pod is on its step, and what is worth it is tried again."""

import os
import signal
from pathlib import Path

import pytest
import yaml
from dagster import DagsterEventType

from tests.on_cluster.conftest import Place
from tests.on_cluster.deployment import within

FOREVER = "sleep 1000"
AT_ONCE = "true"


def memory_asked(place: Place) -> list[str]:
    jobs = sorted(place.objects("jobs"), key=lambda job: len(job["metadata"]["name"]))
    containers = [job["spec"]["template"]["spec"]["containers"][0] for job in jobs]
    assert all(each["resources"]["requests"]["memory"] == each["resources"]["limits"]["memory"] for each in containers)
    return [each["resources"]["limits"]["memory"] for each in containers]


def test_each_step_runs_on_a_node_of_its_pool(place):
    run = place.run(trained=[AT_ONCE], built=[AT_ONCE], checked=[AT_ONCE])
    assert run.end(), place.log()
    nodes = {step: place.pods_of(step)[0]["spec"]["nodeName"] for step in ("trained", "built", "checked")}
    assert nodes["trained"] == "gpu-1"
    assert nodes["built"] == "orin-nano-1"
    pod = place.pods_of("trained")[0]
    assert pod["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert pod["metadata"]["labels"]["robot-assets/pool"] == "training"
    assert pod["spec"]["automountServiceAccountToken"] is False


def test_a_step_that_ran_out_of_memory_is_tried_again_with_more(place, minicluster):
    run = place.run(trained=[FOREVER, AT_ONCE])
    pod = place.running("trained")
    minicluster("pod-kill", pod["metadata"]["name"], "-n", place.namespace, "--oom")
    assert run.end(), place.log()
    assert place.retries("trained") == ["OOMKilled"]
    assert memory_asked(place) == ["512Mi", "1Gi"]
    assert any("ran out of memory" in note and "limit of 512Mi" in note for note in place.notes("trained"))


def test_a_step_that_ran_out_of_all_the_memory_it_may_have_fails_with_its_limit(place, minicluster):
    place.change(lambda params: params["pools"]["training"].pop("memory_max"))
    run = place.run(trained=[FOREVER])
    pod = place.running("trained")
    minicluster("pod-kill", pod["metadata"]["name"], "-n", place.namespace, "--oom")
    assert not run.end()
    failure = place.failure("trained").step_failure_data
    assert failure.error.cls_name == "OOMKilled"
    assert f"pod {pod['metadata']['name']} on gpu-1 ran out of memory" in failure.error.message
    assert "its limit of 512Mi" in failure.error.message
    assert "pools.training.memory" in failure.user_failure_data.metadata["fix"].value


def test_a_step_that_no_node_takes_fails_with_the_schedulers_words(place):
    place.change(lambda params: params["pools"]["orin_nano"]["node_labels"].update({"robot-assets/target": "orin-nx"}))
    assert not place.run(built=[AT_ONCE]).end()
    failure = place.failure("built").step_failure_data
    assert failure.error.cls_name == "Unschedulable"
    assert "0/4 nodes are available" in failure.error.message
    assert "robot-assets/target=orin-nx" in failure.error.message
    within(20, lambda: not place.objects("jobs"), "the Job that never ran is removed")


def test_an_image_that_cannot_be_pulled_is_named_at_once_and_fails_the_step_in_the_end(place):
    missing = "minicluster.invalid/train:1"
    place.change(lambda params: params["pools"]["training"].update(image=missing))
    assert not place.run(trained=[AT_ONCE]).end()
    failure = place.failure("trained").step_failure_data
    assert failure.error.cls_name == "ImagePull"
    assert missing in failure.error.message
    assert "not found" in failure.error.message
    told = [note for note in place.notes("trained") if "has no image" in note]
    assert len(told) >= 2, "told when it was first seen, and as the reason of the failure"


def test_a_missing_secret_fails_the_step_with_its_name(place):
    place.change(lambda params: params["execution"].update(env_secrets=["s3-credentials"]))
    assert not place.run(checked=[AT_ONCE]).end()
    failure = place.failure("checked").step_failure_data
    assert failure.error.cls_name == "NotStarted"
    assert 'secret "s3-credentials" not found' in failure.error.message


def test_a_step_whose_pod_is_deleted_is_tried_again(place):
    run = place.run(trained=[FOREVER, AT_ONCE])
    pod = place.running("trained")
    place.kubectl("delete", "pod", pod["metadata"]["name"], "--grace-period=0", "--force", "--wait=false")
    assert run.end(), place.log()
    assert place.retries("trained") == ["PodDeleted"]


def test_a_step_whose_node_is_lost_is_tried_again_once_there_is_a_node(place, minicluster):
    place.change(lambda params: params["execution"].update(refused_max_s=60))
    run = place.run(trained=[FOREVER, AT_ONCE])
    place.running("trained")
    minicluster("node-fail", "gpu-1")
    try:
        within(180, lambda: place.retries("trained"), f"the node is given up\n{place.log()}")
    finally:
        minicluster("node-recover", "gpu-1")
    assert run.end(), place.log()
    assert place.retries("trained") == ["NodeLost"]
    assert any("does not answer" in note for note in place.notes("trained"))


def test_a_step_whose_job_is_deleted_has_been_ended_on_purpose(place):
    run = place.run(trained=[FOREVER])
    place.running("trained")
    place.kubectl("delete", "jobs", "--all", "--cascade=background")
    assert not run.end()
    events = place.events(DagsterEventType.STEP_FAILURE, "trained")
    assert len(events) == 1
    assert not place.retries("trained")


def test_a_process_that_dies_before_it_has_begun_shows_what_it_printed(place):
    (place.folder / "sitecustomize.py").write_text(
        "import sys\nif 'api' in sys.argv:\n    raise SystemExit('no module named robot_assets in this image')\n"
    )
    assert not place.run(checked=[AT_ONCE]).end()
    failure = place.failure("checked").step_failure_data
    assert failure.error.cls_name == "Exited"
    assert "no module named robot_assets in this image" in failure.error.message


def test_a_step_that_fails_by_itself_keeps_its_own_words(place):
    assert not place.run(checked=["false"]).end()
    failure = place.failure("checked").step_failure_data
    assert failure.error.cause.cls_name == "CalledProcessError"
    assert not place.retries("checked")


def test_a_second_step_waits_for_the_gpu_and_then_runs(place):
    place.change(lambda params: params["pools"]["training"].update(max_concurrent=2))
    first = place.run(trained=["sleep 12"])
    place.running("trained")
    second = place.run(trained=["sleep 12"])
    assert first.end(), place.log()
    assert second.end(), place.log()
    assert any("Insufficient nvidia.com/gpu" in note for note in place.notes("trained"))


def test_one_step_at_a_time_in_a_pool_of_one(place):
    first = place.run(built=["sleep 8"])
    place.running("built")
    second = place.run(built=["sleep 8"])
    within(20, lambda: len(place.instance.get_runs()) == 2, "the second run starts")
    assert len(place.pods_of("built")) == 1
    assert first.end(), place.log()
    assert second.end(), place.log()
    assert len(place.pods_of("built")) == 2


def test_a_step_that_is_interrupted_says_that_its_pod_was_taken_away(place):
    run = place.run(trained=[FOREVER])
    pod = place.running("trained")
    place.kubectl("delete", "pod", pod["metadata"]["name"], "--wait=false")
    assert not run.end()
    assert place.failure("trained").step_failure_data.error.cls_name == "DagsterExecutionInterruptedError"
    assert any("somebody or something deleted it" in note for note in place.notes("trained"))


def test_a_run_survives_an_api_server_that_hangs(place):
    server = Path(os.environ.get("MINICLUSTER_STATE", "/nowhere"), "pids", "kube-apiserver")
    if not server.exists():
        pytest.skip("only a minicluster's API server can be stopped: MINICLUSTER_STATE does not name one")
    run = place.run(trained=["sleep 40"])
    place.running("trained")
    process = int(server.read_text().split()[0])
    os.kill(process, signal.SIGSTOP)
    try:
        within(40, lambda: any("cannot be asked" in note for note in place.notes("trained")), "the outage is noticed")
    finally:
        os.kill(process, signal.SIGCONT)
    assert run.end(), place.log()
    assert not place.retries("trained")


def test_a_run_in_the_cluster_does_with_the_rights_of_its_role(place, repository):
    roles = yaml.safe_load_all((repository / "k8s" / "base" / "rbac.yaml").read_text())
    (role,) = (each for each in roles if each["kind"] == "Role" and each["metadata"]["name"] == "robot-assets-run")
    (place.folder / "role.yaml").write_text(yaml.safe_dump(role))
    place.kubectl("apply", "-f", str(place.folder / "role.yaml"))
    place.kubectl(
        "create", "rolebinding", "runs", "--role=robot-assets-run", f"--serviceaccount={place.namespace}:runs"
    )
    place.change(lambda params: params["pools"]["training"].update(image="minicluster.invalid/train:1"))
    place.launch(trained=[AT_ONCE], built=["false"], checked=[AT_ONCE])
    within(150, lambda: place.instance.get_runs()[0].is_finished, "the run ends")
    assert place.failure("trained").step_failure_data.error.cls_name == "ImagePull", place.log()
    assert "CalledProcessError" in str(place.failure("built").step_failure_data.error)
    assert place.events(DagsterEventType.STEP_SUCCESS, "checked")
    assert "Forbidden" not in place.log()
    # A run is finished a moment before its own pod has ended.
    within(30, lambda: not any(job["status"].get("active") for job in place.objects("jobs")), "no Job is left behind")


def test_a_run_whose_worker_was_killed_goes_on_with_the_pods_that_it_left(place, minicluster):
    place.launch(False, trained=["sleep 40"], built=[FOREVER, AT_ONCE], checked=[AT_ONCE])
    place.running("trained")
    lost = place.running("built")
    (worker,) = place.objects("pods -l dagster/op!=trained,dagster/op!=built,dagster/op!=checked")
    minicluster("pod-kill", worker["metadata"]["name"], "-n", place.namespace)
    place.kubectl("delete", "pod", lost["metadata"]["name"], "--grace-period=0", "--force", "--wait=false")
    assert place.resume().end(), place.log()
    assert place.instance.get_runs()[0].is_success
    assert len(place.events(DagsterEventType.STEP_START, "trained")) == 1
    assert place.retries("built") == ["PodDeleted"]
