"""A run that somebody ends takes its steps with it, also where an interrupted run would go on."""

import json
import signal

from tests.on_cluster.conftest import Place
from tests.on_cluster.deployment import within

FOREVER = "sleep 1000"


def resumed_when_interrupted(place: Place) -> None:
    """As in the deployed instance: its launcher, and its monitoring of runs."""
    home = place.folder / "home/dagster.yaml"
    instance = json.loads(home.read_text())
    instance["run_launcher"] |= {"module": "dagster_project.kubernetes.run_launcher", "class": "ClusterRunLauncher"}
    instance["run_monitoring"] = {"enabled": True, "max_resume_run_attempts": 3}
    home.write_text(json.dumps(instance))


def working(place: Place) -> list[str]:
    return [pod["metadata"]["name"] for pod in place.pods_of("trained") if pod["status"]["phase"] == "Running"]


def test_a_canceled_run_leaves_no_step_behind(place):
    resumed_when_interrupted(place)
    run = place.run(trained=[FOREVER])
    place.running("trained")
    with place.instance as instance:
        instance.report_run_canceling(instance.get_runs()[0])
    run.process.send_signal(signal.SIGINT)
    assert not run.end()
    within(60, lambda: not working(place), "the step ends")
    within(30, lambda: not any(job["status"].get("active") for job in place.objects("jobs")), "its Job ends")
    assert "Ended the steps of the canceled run: dagster-step-" in place.log()
    with place.instance as instance:
        assert instance.get_runs()[0].status.value == "CANCELED", place.log()


def test_an_interrupted_run_leaves_its_steps_to_the_run_worker_after_it(place):
    resumed_when_interrupted(place)
    run = place.run(trained=[FOREVER])
    place.running("trained")
    run.process.send_signal(signal.SIGINT)
    run.end()
    assert working(place)
    assert "because run will be resumed" in place.log()
