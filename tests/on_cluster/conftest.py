"""A namespace of a real cluster, a Dagster instance outside of it, and faults.

KUBECONFIG names the cluster. Its nodes are those of nodes.yaml, and all share the files of this machine. Faults need a
minicluster. ``make test-cluster`` sets CLUSTER_TESTS, with which a test that cannot run fails; otherwise it is skipped
with its reason.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster._grpc.types import ResumeRunArgs

from tests.conftest import cannot_run
from tests.k8s.manifests import Manifests
from tests.on_cluster.deployment import Deployment, kubectl, namespaces, running_deployment, within

HERE = Path(__file__).parent
RUN = """\
import sys
import dagster as dg
from project import get_job

selection = [dg.AssetKey(name) for name in sys.argv[1:]]
with dg.DagsterInstance.get() as instance:
    job = dg.reconstructable(get_job)
    sys.exit(not dg.execute_job(job, instance=instance, asset_selection=selection, raise_on_error=False).success)
"""
MINICLUSTER = os.environ.get("MINICLUSTER") or shutil.which("minicluster")
PARAMS: dict[str, Any] = {
    "store": {"url": "store"},
    "datasets": {},
    "models": {},
    "targets": {"orin_nano": {"kind": "onnxruntime", "platform": "reported", "gate": {"latency_ms_p95_max": 20}}},
    "execution": {
        "kind": "kubernetes",
        "images": {"amd64": "any:1", "arm64": "any:1"},
        "refused_max_s": 10,
        "memory_factor": 2,
    },
    "pools": {
        "training": {
            "node_labels": {"robot-assets/role": "train"},
            "gpus": 1,
            "cpu": 0.5,
            "memory": "512Mi",
            "memory_max": "1Gi",
            "grace_s": 2,
        },
        "orin_nano": {
            "node_labels": {"robot-assets/target": "orin_nano"},
            "architecture": "arm64",
            "tolerations": [{"key": "robot-assets/edge"}],
            "cpu": 0.5,
            "memory": "512Mi",
            "grace_s": 2,
        },
        "general": {"cpu": 0.1, "memory": "256Mi", "grace_s": 2},
    },
}


def need_a_cluster() -> None:
    if not os.environ.get("KUBECONFIG"):
        cannot_run("no cluster: KUBECONFIG is not set; see make test-cluster")
    if not shutil.which("kubectl"):
        cannot_run("no kubectl on PATH")


@dataclass
class Run:
    """A run in its own process."""

    sandbox: Sandbox
    process: subprocess.Popen

    def end(self, seconds: float = 150) -> bool:
        """Wait for the end; whether the run succeeded."""
        try:
            return self.process.wait(timeout=seconds) == 0
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise AssertionError(f"the run has not ended within {seconds} s:\n{self.sandbox.log()}") from None


@dataclass
class Sandbox:
    """A namespace with a code location and an instance.

    Attributes:
        namespace: Of the pods.
        folder: The folder with the code location and the instance, mounted into each pod.
    """

    namespace: str
    folder: Path
    processes: list[subprocess.Popen] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "DAGSTER_HOME": str(self.folder / "home"), "PYTHONPATH": str(self.folder)}

    def change(self, edit: Callable[[dict], None]) -> None:
        params = yaml.safe_load((self.folder / "params.yaml").read_text())
        edit(params)
        (self.folder / "params.yaml").write_text(yaml.safe_dump(params))

    def run(self, **commands: list[str]) -> Run:
        """Run steps by name, with one shell command per attempt; the last one applies to all further attempts."""
        (self.folder / "commands.json").write_text(json.dumps(commands))
        return self._start(str(self.folder / "run.py"), *commands)

    def launch(self, in_cluster: bool = True, **commands: list[str]) -> None:
        """As ``run``, but as a pod of the cluster, with the rights of its service account.

        With ``in_cluster`` false, with those of the kubeconfig.
        """
        (self.folder / "commands.json").write_text(json.dumps(commands))
        settings = {"load_incluster_config": True, "kubeconfig_file": None} if in_cluster else {}
        config = {"execution": {"config": settings}}
        location = ["-f", str(self.folder / "project.py"), "-d", str(self.folder), "-a", "defs"]
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "dagster",
                "job",
                "launch",
                *location,
                "-j",
                "steps",
                "--config-json",
                json.dumps(config),
            ],
            env=self.environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr

    def resume(self) -> Run:
        """Resume the latest run in a new run worker, like run monitoring after the death of the previous one."""
        with self.instance as instance:
            run = instance.get_runs()[0]
            arguments = ResumeRunArgs(run.job_code_origin, run.run_id, instance.get_ref(), True).get_command_args()
        return self._start("-m", *arguments)

    def _start(self, *arguments: str) -> Run:
        command = [sys.executable, *arguments]
        with open(self.folder / "run.log", "a") as log:
            process = subprocess.Popen(command, env=self.environment, cwd=self.folder, stdout=log, stderr=log)
        self.processes.append(process)
        return Run(self, process)

    def kubectl(self, *arguments: str) -> str:
        return kubectl("--namespace", self.namespace, *arguments)

    def objects(self, kind: str) -> list[dict]:
        return json.loads(self.kubectl("get", *kind.split(), "-o", "json"))["items"]

    def pods_of(self, step: str) -> list[dict]:
        """Oldest first, without those that are being deleted."""
        pods = json.loads(self.kubectl("get", "pods", "-l", f"dagster/op={step}", "-o", "json"))["items"]
        alive = [pod for pod in pods if not pod["metadata"].get("deletionTimestamp")]
        return sorted(alive, key=lambda pod: pod["metadata"]["creationTimestamp"])

    def running(self, step: str) -> dict:
        """The pod of a step, after its command has started."""
        within(90, lambda: f"attempt {len(self.retries(step))}:" in self.log(), f"{step} starts\n{self.log()}")
        return self.pods_of(step)[-1]

    @property
    def instance(self) -> dg.DagsterInstance:
        return dg.DagsterInstance.from_config(str(self.folder / "home"))

    def entries(self) -> list[dg.EventLogEntry]:
        with self.instance as instance:
            return [entry for run in instance.get_runs() for entry in instance.all_logs(run.run_id)]

    def events(self, kind: dg.DagsterEventType, step: str) -> list[dg.DagsterEvent]:
        found = [entry.dagster_event for entry in self.entries() if entry.is_dagster_event and entry.step_key == step]
        return [event for event in found if event.event_type is kind]

    def failure(self, step: str) -> dg.DagsterEvent:
        (event,) = self.events(dg.DagsterEventType.STEP_FAILURE, step)
        return event

    def retries(self, step: str) -> list[str]:
        """Kind of trouble of each attempt but the last."""
        events = self.events(dg.DagsterEventType.STEP_UP_FOR_RETRY, step)
        return [event.step_retry_data.error.cls_name for event in events]

    def notes(self, step: str) -> list[str]:
        return [event.message for event in self.events(dg.DagsterEventType.ENGINE_EVENT, step)]

    def log(self) -> str:
        """All messages, for a failed assertion."""
        return "\n".join(entry.message for entry in self.entries())


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    need_a_cluster()
    sandbox = Sandbox(f"test-{uuid.uuid4().hex[:8]}", tmp_path)
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "dagster.yaml").write_text(json.dumps(_instance(sandbox)))
    (tmp_path / "run.py").write_text(RUN)
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(PARAMS))
    shutil.copy(HERE / "project.py", tmp_path)
    sandbox.kubectl("create", "namespace", sandbox.namespace)
    sandbox.kubectl("create", "serviceaccount", "runs")
    yield sandbox
    for process in sandbox.processes:
        process.kill()
        process.wait()
    sandbox.kubectl("delete", "namespace", sandbox.namespace, "--wait=false")


def _instance(sandbox: Sandbox) -> dict:
    folder = str(sandbox.folder)
    launcher = {
        "job_namespace": sandbox.namespace,
        "service_account_name": "runs",
        "job_image": "any:1",
        "dagster_home": f"{folder}/home",
        "instance_config_map": "unused",
        "env_vars": [f"DAGSTER_HOME={folder}/home", f"PYTHONPATH={folder}"],
        "load_incluster_config": False,
        "kubeconfig_file": os.environ["KUBECONFIG"],
        "volumes": [{"name": "work", "hostPath": {"path": folder}}],
        "volume_mounts": [{"name": "work", "mountPath": folder}],
    }
    return {
        "telemetry": {"enabled": False},
        "run_coordinator": {"module": "dagster.core.run_coordinator", "class": "DefaultRunCoordinator"},
        "run_launcher": {"module": "dagster_k8s", "class": "K8sRunLauncher", "config": launcher},
    }


@pytest.fixture
def minicluster() -> Callable[..., None]:
    """The command that injects faults into nodes and pods of a minicluster."""
    if not MINICLUSTER:
        cannot_run("faults need a minicluster: neither is its command on PATH, nor is MINICLUSTER set")

    def call(*arguments: str) -> None:
        subprocess.run([MINICLUSTER, *arguments], check=True, capture_output=True, text=True)

    return call


# the deployment


@pytest.fixture(scope="session")
def deployed(manifests: Manifests) -> Iterator[None]:
    """The objects of the k3s overlay that create no pods, in the namespaces of the deployment."""
    need_a_cluster()
    with namespaces(manifests):
        yield


@pytest.fixture(scope="session")
def deployment(
    deployed: None, manifests: Manifests, s3_server: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    """Webserver, daemon, code location and publishers in the cluster; nothing is built yet."""
    with running_deployment(manifests, tmp_path_factory.mktemp("deployment"), s3_server) as deployment:
        yield deployment
