"""Canceling a run ends its steps, also where an interrupted run would be resumed."""

import json
import signal

from tests.on_cluster.conftest import Sandbox
from tests.on_cluster.deployment import within

FOREVER = "sleep 1000"


def resume_interrupted_runs(sandbox: Sandbox) -> None:
    """Use the launcher and the run monitoring of the deployed instance."""
    home = sandbox.folder / "home/dagster.yaml"
    instance = json.loads(home.read_text())
    instance["run_launcher"] |= {"module": "dagster_project.kubernetes.run_launcher", "class": "ClusterRunLauncher"}
    instance["run_monitoring"] = {"enabled": True, "max_resume_run_attempts": 3}
    home.write_text(json.dumps(instance))


def running_pods(sandbox: Sandbox) -> list[str]:
    return [pod["metadata"]["name"] for pod in sandbox.pods_of("trained") if pod["status"]["phase"] == "Running"]


def test_a_canceled_run_leaves_no_step_behind(sandbox):
    resume_interrupted_runs(sandbox)
    run = sandbox.run(trained=[FOREVER])
    sandbox.running("trained")
    with sandbox.instance as instance:
        instance.report_run_canceling(instance.get_runs()[0])
    run.process.send_signal(signal.SIGINT)
    assert not run.end()
    within(60, lambda: not running_pods(sandbox), "the step ends")
    within(30, lambda: not any(job["status"].get("active") for job in sandbox.objects("jobs")), "its Job ends")
    assert "Deleted the step jobs of the canceled run: dagster-step-" in sandbox.log()
    with sandbox.instance as instance:
        assert instance.get_runs()[0].status.value == "CANCELED", sandbox.log()


def test_an_interrupted_run_leaves_its_steps_to_the_next_run_worker(sandbox):
    resume_interrupted_runs(sandbox)
    run = sandbox.run(trained=[FOREVER])
    sandbox.running("trained")
    run.process.send_signal(signal.SIGINT)
    run.end()
    assert running_pods(sandbox)
    assert "because run will be resumed" in sandbox.log()
