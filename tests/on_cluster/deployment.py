"""The deployment of k8s/ on the cluster of KUBECONFIG, with PostgreSQL and an S3 server outside of it.

The objects are those of the overlay ``external-postgres`` as built by kustomize, without what needs a container engine:

- images: pods see the files of this machine, so this checkout replaces the image, through PYTHONPATH; the project is
  mounted at its path in the image;
- a separate /tmp, where a checkout and its environment may be;
- a pod network: names of Services become 127.0.0.1, with free ports;
- devices: the files of a Jetson that are mounted read-only, TensorRT, CUDA and NVIDIA's device plugin. Instead,
  ``site/sitecustomize.py`` simulates the device of each node with the stand-in for TensorRT.
"""

from __future__ import annotations

import copy
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
import yaml

from dagster_project.instance.status import read
from dagster_project.keys import BUILDS_CHECK, asset_key, asset_name
from robot_assets.pipeline.project import Project
from tests.dagster_project.conftest import SMALL_PARAMS
from tests.k8s.manifests import Manifests, Object
from tests.synthetic.postgres import running_postgres

NAMESPACE = "robot-assets"
NODES = "robot-assets-nodes"
IN_IMAGE = "/opt/robot-assets"
SITE = Path(__file__).parent / "site"
_PORTS = {"4000": "code location", "3000": "webserver"}
_LAUNCH = """
mutation Launch($executionParams: ExecutionParams!) {
  launchPipelineExecution(executionParams: $executionParams) {
    __typename
    ... on LaunchRunSuccess { run { id } }
    ... on PythonError { message stack }
    ... on RunConfigValidationInvalid { errors { message } }
  }
}
"""
_LOADED = (
    "{ workspaceOrError { ... on Workspace { locationEntries { loadStatus locationOrLoadError { __typename } } } } }"
)


_EDGE = {
    "architecture": "arm64",
    "runtime_class": "nvidia",
    "tolerations": [{"key": "robot-assets/edge"}],
    "gpus": 1,
    "cpu": 1,
    "memory": "2Gi",
}
JETSONS = {"orin-agx-1": "NVIDIA Jetson AGX Orin", "orin-nano-1": "NVIDIA Jetson Orin Nano"}
TENSORRT = {"orin-agx-1": "10.3.0", "orin-nano-1": "8.6.1"}
_GATE = SMALL_PARAMS["targets"]["cpu"]["gate"]
DEPLOYED_PARAMS: dict[str, Any] = {
    **SMALL_PARAMS,
    "store": {"url": "s3://robot-assets/store"},
    "models": {
        "small_detector": {**SMALL_PARAMS["models"]["small_detector"], "targets": ["cpu", "orin_agx", "orin_nano"]}
    },
    "targets": {
        "cpu": {"kind": "onnxruntime", "platform": "node", "gate": _GATE},
        "orin_agx": {"kind": "tensorrt", "platform": "node", "gate": _GATE},
        "orin_nano": {"kind": "tensorrt", "platform": "node", "gate": _GATE},
    },
    "rebuild": {"policy": {"checkpoint": "manual", "qat": "auto"}, "interval_s": 5},
    "execution": {
        "kind": "kubernetes",
        "service_account": "robot-assets-step",
        "signing_key": "robot-assets-signing-key",
        "images": {"amd64": {"env": "ROBOT_ASSETS_TRAIN_IMAGE"}, "arm64": {"env": "ROBOT_ASSETS_EDGE_IMAGE"}},
    },
    "pools": {
        "training": {
            "node_labels": {"robot-assets/role": "train"},
            "runtime_class": "nvidia",
            "gpus": 1,
            "cpu": 2,
            "memory": "4Gi",
        },
        "general": {"cpu": 1, "memory": "2Gi"},
        "cpu": {"node_labels": {"robot-assets/target": "cpu"}, "cpu": 1, "memory": "2Gi"},
        "orin_agx": {**_EDGE, "node_labels": {"robot-assets/target": "orin_agx"}, "memory": "3Gi"},
        "orin_nano": {**_EDGE, "node_labels": {"robot-assets/target": "orin_nano"}},
    },
}
"""As in docs/kubernetes.md, but small, and with two kinds of Jetson."""


def within(seconds: float, what: Callable[[], Any], meaning: str | Callable[[], str]) -> Any:
    """Wait until ``what`` returns a true value, and return it."""
    deadline = time.monotonic() + seconds
    while not (value := what()):
        assert time.monotonic() < deadline, (
            f"not within {seconds} s: {meaning if isinstance(meaning, str) else meaning()}"
        )
        time.sleep(0.3)
    return value


def kubectl(*arguments: str, text: str | None = None) -> str:
    done = subprocess.run(["kubectl", *arguments], input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr}"
    return done.stdout


def apply(objects: list[Object], *options: str) -> str:
    return kubectl("apply", *options, "-f", "-", text=yaml.safe_dump_all(objects))


def get(*arguments: str) -> Any:
    return json.loads(kubectl("get", *arguments, "-o", "json"))


def known_to_server(objects: list[Object]) -> tuple[list[Object], list[str]]:
    """The objects in versions that this server supports, and the kinds that it does not support."""
    served = set(kubectl("api-versions").split())
    supported, newer = [], []
    for thing in objects:
        if thing["apiVersion"] == "policy/v1" and thing["apiVersion"] not in served:
            thing = {**thing, "apiVersion": "policy/v1beta1"}
        if thing["kind"].startswith("ValidatingAdmissionPolicy"):  # the group exists in older releases without the kind
            newer.append(thing["kind"])
            continue
        supported.append(_without_grpc(thing) if "policy/v1" not in served else thing)
    return supported, newer


def _without_grpc(thing: Object) -> Object:
    """Replace probes over gRPC, which need Kubernetes 1.24."""
    thing = copy.deepcopy(thing)
    for container in thing.get("spec", {}).get("template", {}).get("spec", {}).get("containers", []):
        for check in (container.get(key, {}) for key in ("startupProbe", "readinessProbe", "livenessProbe")):
            if "grpc" in check:
                check["tcpSocket"] = {"port": check.pop("grpc")["port"]}
    return thing


@dataclass
class Deployment:
    """Dagster in the cluster, and its project.

    Attributes:
        folder: The project: a git repository with params.yaml, mounted into the pods at ``IN_IMAGE``.
        devices: One folder for each simulated Jetson.
        cache: The artifact cache of all nodes.
        database: URL of Dagster's storage.
        s3: Address of the S3 server.
        ports: Port in the manifests -> port on this machine.
    """

    folder: Path
    devices: Path
    cache: Path
    database: str
    s3: str
    ports: dict[str, int] = field(default_factory=lambda: {port: _free_port() for port in _PORTS})

    def objects(self, manifests: Manifests) -> list[Object]:
        """The objects to apply: the overlay, adapted to this machine."""
        objects, _ = known_to_server(copy.deepcopy(manifests.build("external-postgres")))
        kept = [thing for thing in objects if thing["metadata"]["name"] != "nvidia-device-plugin"]
        for thing in kept:
            if thing["kind"] == "ConfigMap":
                self._adapt_config(thing)
            if thing["kind"] in ("Deployment", "DaemonSet"):
                self._adapt_pod(thing)
        runtime = {"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": "nvidia"}}
        return [{**runtime, "handler": "nvidia"}, *kept, *self._secrets()]

    def _adapt_config(self, thing: Object) -> None:
        data = thing["data"]
        if "dagster.yaml" in data:
            instance = yaml.safe_load(data["dagster.yaml"])
            launcher = instance["run_launcher"]["config"]
            volume, mount = _mounted_project(self.folder)
            launcher["volumes"] = [*_without(launcher["volumes"], "tmp"), volume]
            launcher["volume_mounts"] = [*_without(launcher["volume_mounts"], "tmp"), mount]
            # shorter than deployed, so that the tests need not wait
            instance["run_monitoring"]["poll_interval_seconds"] = 3
            instance["run_coordinator"]["config"]["dequeue_interval_seconds"] = 1
            data["dagster.yaml"] = yaml.safe_dump(instance)
            workspace = yaml.safe_load(data["workspace.yaml"])
            workspace["load_from"][0]["grpc_server"].update(host="127.0.0.1", port=self.ports["4000"])
            data["workspace.yaml"] = yaml.safe_dump(workspace)
        elif "DAGSTER_PG_HOST" in data:
            address, _, name = self.database.partition("@")[2].partition("/")
            host, _, port = address.partition(":")
            data.update(DAGSTER_PG_HOST=host, DAGSTER_PG_PORT=port, DAGSTER_PG_DB=name, PGSSLMODE="disable")
            data.update(AWS_ENDPOINT_URL=self.s3, **self.image_environment)

    @property
    def image_environment(self) -> dict[str, str]:
        """Environment that replaces the image and its node."""
        repository = Path(__file__).parents[2]
        return {
            "PYTHONPATH": f"{SITE}:{repository}",
            "DEVICES": str(self.devices),
            "OMP_NUM_THREADS": "1",
        }

    def _adapt_pod(self, thing: Object) -> None:
        pod = thing["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        devices = [mount["name"] for mount in container["volumeMounts"] if mount["name"].startswith("device-")]
        container["volumeMounts"] = _without(container["volumeMounts"], "tmp", *devices)
        pod["volumes"] = _without(pod["volumes"], "tmp", *devices)
        container["env"] = _without(container["env"], "ROBOT_ASSETS_PROC")
        container["command"] = [str(self.ports.get(word, word)) for word in container["command"]]
        if thing["kind"] == "DaemonSet":
            container["env"] += [{"name": key, "value": value} for key, value in self.image_environment.items()]
            container["command"] = [word if word != "60" else "5" for word in container["command"]]
        elif thing["metadata"]["name"].endswith("code-location"):
            volume, mount = _mounted_project(self.folder)
            pod["volumes"].append(volume)
            container["volumeMounts"].append(mount)

    def _secrets(self) -> list[Object]:
        contents = {
            "robot-assets-postgres": {"postgresql-password": "not-asked-for"},
            "robot-assets-s3": {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"},
            "robot-assets-signing-key": {"signing.pem": (self.folder.parent / "signing.pem").read_text()},
        }
        return [
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": name, "namespace": NAMESPACE},
                "stringData": content,
            }
            for name, content in contents.items()
        ]

    # the UI

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.ports['3000']}"

    def graphql(self, query: str, **variables: Any) -> dict:
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(f"{self.address}/graphql", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)["data"]

    def is_up(self) -> bool:
        try:
            entries = self.graphql(_LOADED)["workspaceOrError"]["locationEntries"]
        except (urllib.error.URLError, OSError):
            return False
        return any(entry["locationOrLoadError"]["__typename"] == "RepositoryLocation" for entry in entries)

    def materialize(self, name: str, checks: bool = True) -> str:
        """Materialize an asset as the UI does, with or without its gates; returns the id of the run."""
        key = {"path": list(asset_key(name).path)}
        own = {"assetCheckSelection": [{"assetKey": key, "name": BUILDS_CHECK}]}
        return self._launch(assetSelection=[key], **({} if checks else own))

    def reflash(self, node: str, model: str) -> None:
        """Change the device of a node."""
        (self.devices / node / "proc" / "device-tree" / "model").write_text(f"{model}\0")

    def check(self, name: str, *assets: str) -> str:
        """Execute a check of these assets as the UI does; returns the id of the run."""
        checks = [{"assetKey": {"path": list(asset_key(asset).path)}, "name": name} for asset in assets]
        return self._launch(assetSelection=[], assetCheckSelection=checks)

    def _launch(self, **selection: Any) -> str:
        selector = {
            "repositoryLocationName": "robot_assets",
            "repositoryName": "__repository__",
            "pipelineName": "__ASSET_JOB",
            **selection,
        }
        done = self.graphql(_LAUNCH, executionParams={"mode": "default", "selector": selector, "runConfigData": {}})
        launched = done["launchPipelineExecution"]
        assert launched["__typename"] == "LaunchRunSuccess", launched
        return launched["run"]["id"]

    # results

    @property
    def project(self) -> Project:
        return Project(self.folder)

    @property
    def instance(self) -> dg.DagsterInstance:
        """The instance, opened outside of the cluster."""
        home = self.folder.parent / "home"
        home.mkdir(exist_ok=True)
        config = {"storage": {"postgres": {"postgres_url": self.database}}, "telemetry": {"enabled": False}}
        (home / "dagster.yaml").write_text(yaml.safe_dump(config))
        return dg.DagsterInstance.from_config(str(home))

    def runs(self) -> list[dg.DagsterRun]:
        """Newest first."""
        with self.instance as instance:
            return list(instance.get_runs())

    def run(self, run_id: str) -> dg.DagsterRun:
        with self.instance as instance:
            return instance.get_run_by_id(run_id)

    def end(self, run_id: str, seconds: float = 300) -> dg.DagsterRun:
        """Wait for the end of a run, and return it."""
        within(seconds, lambda: self.run(run_id).is_finished, lambda: f"the run ends\n{self.log(run_id)}")
        return self.run(run_id)

    def log(self, run_id: str) -> str:
        """All messages, for a failed assertion."""
        with self.instance as instance:
            logs = [f"{entry.step_key or ''}: {_message(entry)}" for entry in instance.all_logs(run_id)]
        pods = kubectl("get", "pods", "-A", "-o", "wide")
        return "\n".join([*logs, pods])

    def versions(self) -> dict[str, str]:
        """Current data version of each asset that has one."""
        from dagster_project.instance.reader import latest_versions

        with self.instance as instance:
            names = [asset_name(key) for key in instance.get_asset_keys()]
            found = latest_versions(instance, dg.DagsterEventType.ASSET_MATERIALIZATION)
        return {name: found[name].data_version for name in names if name in found}

    def evaluations(self, run_id: str) -> list[dg.AssetCheckEvaluation]:
        """Evaluations of the checks of a run."""
        with self.instance as instance:
            logs = instance.all_logs(run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION)
        return [entry.dagster_event.event_specific_data for entry in logs]

    def pods(self, run_id: str) -> dict[str, list[Object]]:
        """Pods of the steps of a run by step, oldest first."""
        found: dict[str, list[Object]] = {}
        pods = get("pods", "-n", NAMESPACE, "-l", f"dagster/run-id={run_id},dagster/op")["items"]
        for pod in sorted(pods, key=lambda pod: pod["metadata"]["creationTimestamp"]):
            found.setdefault(pod["metadata"]["labels"]["dagster/op"], []).append(pod)
        return found

    def active_jobs(self) -> list[str]:
        jobs = get("jobs", "-n", NAMESPACE)["items"]
        return [job["metadata"]["name"] for job in jobs if job["status"].get("active")]


@contextmanager
def namespaces(manifests: Manifests) -> Iterator[None]:
    """The namespaces of the deployment with accounts and rights, without pods; deleted at the end."""
    names = (NAMESPACE, NODES, "robot-assets-login")
    _wait_until_gone(names)
    quiet = {"Namespace", "ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"}
    apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in names])
    apply([thing for thing in manifests.build("k3s") if thing["kind"] in quiet])
    try:
        yield
    finally:
        kubectl("delete", "namespace", *names, "--wait=false")


@contextmanager
def running_deployment(manifests: Manifests, folder: Path, s3: str) -> Iterator[Deployment]:
    """The deployment with its code location loaded; its pods are deleted at the end."""
    cache = folder / "cache"
    cache.mkdir()
    execution = {**DEPLOYED_PARAMS["execution"], "cache": {"path": str(cache), "size": "1Gi"}}
    new_project(folder / "project", {**DEPLOYED_PARAMS, "execution": execution})
    for node, model in JETSONS.items():
        new_device(folder / "devices" / node, model, TENSORRT[node])
    _new_bucket(s3)
    with running_postgres() as server:
        deployment = Deployment(folder / "project", folder / "devices", cache, server.new_database("dagster"), s3)
        apply(deployment.objects(manifests))
        try:
            within(120, deployment.is_up, lambda: kubectl("get", "pods", "-A", "-o", "wide"))
            yield deployment
        finally:
            kubectl("delete", "-n", NAMESPACE, "deployments,jobs", "--all", "--cascade=foreground")
            kubectl("delete", "-n", NODES, "daemonsets", "--all", "--cascade=foreground")


def _new_bucket(address: str) -> None:
    os.environ.update(AWS_ENDPOINT_URL=address, AWS_ACCESS_KEY_ID="test", AWS_SECRET_ACCESS_KEY="test")
    import fsspec

    fsspec.filesystem("s3", skip_instance_cache=True).mkdir("robot-assets")


def build_everything(deployment: Deployment) -> None:
    """Start the training when there is data; the sensors build the rest."""
    within(240, lambda: "datasets/small" in deployment.versions(), lambda: states(deployment))
    run = deployment.end(deployment.materialize("small_detector/checkpoint"))
    if not run.is_success:
        raise AssertionError(deployment.log(run.run_id))
    within(600, lambda: is_fresh(deployment), lambda: states(deployment))


def is_fresh(deployment: Deployment) -> bool:
    """Whether every asset is built and all its gates have passed."""
    with deployment.instance as instance:
        return all(status.is_fresh for status in read(deployment.project, instance).found.values())


def states(deployment: Deployment) -> str:
    with deployment.instance as instance:
        found = {name: str(status.state) for name, status in read(deployment.project, instance).found.items()}
    runs = [(run.status.value, run.tags.get("robot_assets/asset")) for run in deployment.runs()]
    failed = [deployment.log(run.run_id) for run in deployment.runs() if run.status.value == "FAILURE"][:1]
    return "\n".join([json.dumps(found, indent=1), str(runs), *failed, kubectl("get", "pods", "-A")])


def new_project(folder: Path, params: dict[str, Any]) -> None:
    """Create a project as a git repository, with a trusted signing key in its parent folder."""
    folder.mkdir(parents=True)
    (folder / ".robot_assets").mkdir()
    command = [shutil.which("robot-assets", path=str(Path(sys.executable).parent)), "key", "create"]
    created = subprocess.run(
        [*command, "--out", str(folder.parent / "signing.pem"), "--json"], capture_output=True, text=True, check=True
    )
    trusted = json.loads(created.stdout)["public_key"]
    (folder / "params.yaml").write_text(yaml.safe_dump({**params, "provenance": {"trusted_keys": [trusted]}}))
    (folder / ".gitignore").write_text(".robot_assets\n")
    for arguments in (
        ["init", "-q"],
        ["add", "."],
        ["-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "project"],
    ):
        subprocess.run(["git", "-C", str(folder), *arguments], check=True)


def new_device(folder: Path, model: str, tensorrt: str) -> None:
    """Create the folder of a simulated Jetson: the part of the procfs that a probe reads, and its TensorRT version."""
    tree = folder / "proc" / "device-tree"
    tree.mkdir(parents=True)
    shutil.copy("/proc/cpuinfo", folder / "proc" / "cpuinfo")
    (folder / "tensorrt").write_text(tensorrt)
    (tree / "model").write_text(f"{model}\0")
    (tree / "compatible").write_text("nvidia,p3768-0000+p3767-0005\0nvidia,p3767-0005\0nvidia,tegra234\0")


def _message(entry: dg.EventLogEntry) -> str:
    """The message of an entry with its error."""
    event = entry.dagster_event
    error = getattr(event.event_specific_data, "error", None) if event else None
    return f"{entry.user_message or entry.message} {error.to_string() if error else ''}"


def _without(named: list[Object], *names: str) -> list[Object]:
    return [each for each in named if each["name"] not in names]


def _mounted_project(folder: Path) -> tuple[Object, Object]:
    volume = {"name": "project", "hostPath": {"path": str(folder)}}
    return volume, {"name": "project", "mountPath": IN_IMAGE}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_gone(namespaces: tuple[str, ...]) -> None:
    """An earlier deployment may still be terminating."""

    def present() -> set[str]:
        return set(namespaces) & {each["metadata"]["name"] for each in get("namespaces")["items"]}

    within(120, lambda: not present(), lambda: f"{', '.join(present())} deleted")


def as_account(folder: Path, namespace: str, account: str) -> Path:
    """Write a kubeconfig like the current one, for another account."""
    from kubernetes import client, config

    api = client.CoreV1Api(config.new_client_from_config())
    request = client.AuthenticationV1TokenRequest(spec=client.V1TokenRequestSpec(audiences=[]))
    token = api.create_namespaced_service_account_token(account, namespace, request).status.token
    current: dict[str, Any] = yaml.safe_load(Path(os.environ["KUBECONFIG"]).read_text())
    current["users"] = [{"name": "account", "user": {"token": token}}]
    for context in current["contexts"]:
        context["context"]["user"] = "account"
    path = folder / f"kubeconfig-{uuid.uuid4().hex[:8]}"
    path.write_text(yaml.safe_dump(current))
    return path


def restart_api_server(down_s: float) -> None:
    """Kill the API server of a minicluster, and start it again with the same command."""
    pids = Path(os.environ["MINICLUSTER_STATE"], "pids", "kube-apiserver")
    pid = int(pids.read_text().split()[0])
    command = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")[:-1]
    os.kill(pid, signal.SIGKILL)
    time.sleep(down_s)
    log = str(pids.parents[1] / "logs" / "kube-apiserver.log")
    outputs = [(os.POSIX_SPAWN_OPEN, number, log, os.O_WRONLY | os.O_APPEND, 0) for number in (1, 2)]
    new = os.posix_spawn(command[0], command, os.environ, file_actions=outputs, setsid=True)
    started = Path(f"/proc/{new}/stat").read_text().rpartition(")")[2].split()[19]
    pids.write_text(f"{new} {started}\n")
