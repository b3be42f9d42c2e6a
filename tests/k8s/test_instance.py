"""The deployed instance with a real database and a stand-in object store, and the pods of its runs and steps."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from copy import deepcopy

import boto3
import dagster as dg
import kubernetes
import kubernetes_validate
import pytest
import yaml
from dagster._core.launcher.base import RunLauncher, WorkerStatus
from dagster._serdes import ConfigurableClassData
from dagster_k8s import K8sRunLauncher
from dagster_k8s.container_context import K8sContainerContext
from dagster_k8s.job import UserDefinedDagsterK8sConfig, construct_dagster_k8s_job
from moto.server import ThreadedMotoServer

from dagster_project.kubernetes.mounts import mounts_of
from robot_assets.pipeline.params import parse_params
from robot_assets.pipeline.placement import edge_affinity, train_affinity
from tests.k8s.node_api import Cluster

BUCKET = "robot-logs"
MODULE = "dagster_project.kubernetes.run_launcher"
OWN_VARIABLES = {"DAGSTER_PG_PASSWORD", "ROBOT_ASSETS_NAMESPACE"}


@pytest.fixture
def object_store(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An S3 server, configured by environment variables as in a pod."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "robot",
        "AWS_SECRET_ACCESS_KEY": "not-a-secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "ROBOT_ASSETS_LOG_BUCKET": BUCKET,
    }.items():
        monkeypatch.setenv(name, value)
    boto3.client("s3").create_bucket(Bucket=BUCKET)
    yield
    server.stop()


@pytest.fixture
def instance(manifests, cluster, postgres, object_store, tmp_path, monkeypatch) -> Iterator[dg.DagsterInstance]:
    """The instance of the k3s overlay, unchanged except for the address of the cluster."""
    postgres.new_database("dagster_deployed")
    for name, value in {
        "DAGSTER_PG_HOST": "127.0.0.1",
        "DAGSTER_PG_PORT": str(postgres.port),
        "DAGSTER_PG_DB": "dagster_deployed",
        "DAGSTER_PG_USERNAME": "dagster",
        "DAGSTER_PG_PASSWORD": "",
        "ROBOT_ASSETS_NAMESPACE": "robot-assets",
    }.items():
        monkeypatch.setenv(name, value)
    home = tmp_path / "home"
    home.mkdir()
    (home / "dagster.yaml").write_text(yaml.safe_dump(reaching(cluster, manifests.instance())))
    with dg.DagsterInstance.from_config(str(home)) as instance:
        yield instance


def test_runs_are_stored_in_postgresql_and_output_in_the_object_store(instance):
    @dg.asset
    def engine() -> None:
        print("built")

    result = dg.materialize([engine], instance=instance)
    assert result.success
    assert instance.get_run_by_id(result.run_id).status is dg.DagsterRunStatus.SUCCESS
    keys = [item["Key"] for item in boto3.client("s3").list_objects_v2(Bucket=BUCKET)["Contents"]]
    assert any(key.startswith("compute-logs/") and result.run_id in key for key in keys)


def test_runs_are_queued_monitored_and_limited(instance):
    assert type(instance.run_coordinator).__name__ == "QueuedRunCoordinator"
    assert instance.run_monitoring_enabled
    assert instance.run_monitoring_max_resume_run_attempts == 3
    assert instance.run_retries_enabled
    assert not instance.run_retries_retry_on_asset_or_op_failure
    pools = instance.get_concurrency_config().pool_config
    assert (pools.default_pool_limit, pools.pool_granularity.value) == (1, "op")
    assert not instance.telemetry_enabled


def reaching(cluster: Cluster, document: dict) -> dict:
    """The configuration with a launcher that uses ``cluster``."""
    document = deepcopy(document)
    document["run_launcher"]["config"] |= {
        "load_incluster_config": False,
        "kubeconfig_file": str(cluster.kubeconfig),
    }
    return document


OPEN = """\
import sys
import dagster as dg
with dg.DagsterInstance.from_config(sys.argv[1]) as instance:
    print(instance.run_monitoring_max_resume_run_attempts, "kubernetes" in sys.modules)
"""


def test_a_step_opens_the_instance_without_a_token_and_without_the_kubernetes_client(manifests, instance, tmp_path):
    """Unchanged, as in a pod: this process is in no cluster, so reading the token would fail."""
    folder = tmp_path / "step"
    folder.mkdir()
    (folder / "dagster.yaml").write_text(yaml.safe_dump(manifests.instance()))
    command = [sys.executable, "-c", OPEN, str(folder)]
    step = subprocess.run(
        command, env={**os.environ, "DAGSTER_RUN_STEP_KEY": "engine"}, capture_output=True, text=True, check=False
    )
    assert step.stdout == "3 False\n", step.stderr
    other = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "ConfigException: Service host/port is not set" in other.stderr


# references between objects


def variables(document: object) -> set[str]:
    """Every ``{env: NAME}`` of a document."""
    if isinstance(document, dict):
        if set(document) == {"env"} and isinstance(document["env"], str):
            return {document["env"]}
        return set().union(*map(variables, document.values())) if document else set()
    return set().union(*map(variables, document)) if isinstance(document, list) and document else set()


@pytest.mark.parametrize("overlay", ["k3s", "external-postgres"])
@pytest.mark.parametrize("name", ["webserver", "daemon", "code-location"])
def test_every_variable_of_the_instance_is_in_the_environment(manifests, overlay, name):
    pod = manifests.find(overlay, "Deployment", f"robot-assets-{name}")["spec"]["template"]["spec"]
    container = pod["containers"][0]
    given = {variable["name"] for variable in container["env"]}
    for source in container["envFrom"]:
        if "configMapRef" in source:
            given |= manifests.find(overlay, "ConfigMap", source["configMapRef"]["name"])["data"].keys()
    wanted = variables(manifests.instance(overlay))
    assert len(wanted) > 5
    assert wanted <= given


def test_the_objects_that_the_launcher_names_exist(manifests):
    config = manifests.instance()["run_launcher"]["config"]
    for name in config["env_config_maps"]:
        manifests.find("k3s", "ConfigMap", name, "robot-assets")
    manifests.find("k3s", "ServiceAccount", config["service_account_name"])
    webserver = manifests.find("k3s", "Deployment", "robot-assets-webserver")["spec"]["template"]["spec"]
    secrets = {source["secretRef"]["name"] for source in webserver["containers"][0]["envFrom"] if "secretRef" in source}
    assert secrets == set(config["env_secrets"])
    password = next(each for each in webserver["containers"][0]["env"] if each["name"] == "DAGSTER_PG_PASSWORD")
    assert password["valueFrom"]["secretKeyRef"] == {
        "name": config["postgres_password_secret"],
        "key": "postgresql-password",
    }


# pods of runs and steps


PARAMS = {
    "store": {"url": "s3://robot-assets/store"},
    "datasets": {},
    "models": {},
    "targets": {"orin": {"kind": "onnxruntime", "platform": "node", "gate": {"latency_ms_p95_max": 40}}},
    "execution": {
        "kind": "kubernetes",
        "signing_key": "robot-assets-signing-key",
        "cache": {"size": "100Gi"},
        "images": {"amd64": {"env": "ROBOT_ASSETS_TRAIN_IMAGE"}, "arm64": {"env": "ROBOT_ASSETS_EDGE_IMAGE"}},
    },
    "pools": {
        "training": {"node_labels": {"robot-assets/role": "train"}, "gpus": 1, "runtime_class": "nvidia"},
        "orin": {
            "architecture": "arm64",
            "jetson": True,
            "node_labels": {"robot-assets/target": "orin"},
            "tolerations": [{"key": "robot-assets/edge"}],
            "runtime_class": "nvidia",
            "gpus": 1,
            "cache": {"size": "8Gi"},
        },
    },
}


@pytest.fixture
def launcher(manifests, cluster, monkeypatch) -> K8sRunLauncher:
    """The launcher of the deployed instance, with the address of the stand-in cluster."""
    monkeypatch.setenv("ROBOT_ASSETS_NAMESPACE", "robot-assets")
    config = reaching(cluster, manifests.instance())["run_launcher"]["config"]
    data = ConfigurableClassData(MODULE, "ClusterRunLauncher", yaml.safe_dump(config))
    launcher = data.rehydrate(as_type=RunLauncher)
    assert isinstance(launcher, K8sRunLauncher)
    return launcher


def test_a_run_is_alive_while_the_api_server_cannot_be_asked(launcher, cluster):
    """A second worker beside one that is still alive would fail the run."""
    run = dg.DagsterRun("job", run_id="0e1c3a5e-0000-4000-8000-000000000000", status=dg.DagsterRunStatus.STARTED)
    with dg.DagsterInstance.ephemeral() as instance:
        launcher.register_instance(instance)
        gone = launcher.check_run_worker_health(run)
        cluster.forbidden = True
        unknown = launcher.check_run_worker_health(run)
    assert gone.status is WorkerStatus.UNKNOWN, "the server answered that there is no such Job"
    assert unknown.status is WorkerStatus.RUNNING
    assert "403" in unknown.msg


def job(launcher: K8sRunLauncher, *layers: dict) -> dict:
    """The Job that Dagster would create, with layers of configuration on top of the launcher's."""
    context = K8sContainerContext(
        image_pull_policy=launcher.image_pull_policy,
        service_account_name=launcher.service_account_name,
        env_config_maps=launcher.env_config_maps,
        env_secrets=launcher.env_secrets,
        volume_mounts=launcher.volume_mounts,
        volumes=launcher.volumes,
        namespace=launcher.job_namespace,
        resources=launcher.resources,
        security_context=launcher.security_context,
        run_k8s_config=UserDefinedDagsterK8sConfig.from_dict(launcher.run_k8s_config),
    )
    for layer in layers:
        context = context.merge(K8sContainerContext(run_k8s_config=UserDefinedDagsterK8sConfig.from_dict(layer)))
    built = construct_dagster_k8s_job(
        context.get_k8s_job_config("registry.lab/server:1", launcher),
        ["dagster", "api", "execute_run"],
        "dagster-run-1",
        user_defined_k8s_config=context.run_k8s_config,
        component="step_worker" if layers else "run_worker",
    )
    return kubernetes.client.ApiClient().sanitize_for_serialization(built)


@pytest.fixture
def step(launcher, monkeypatch) -> dict:
    """The Job of an engine's step, with its placement and mounts."""
    monkeypatch.setenv("ROBOT_ASSETS_EDGE_IMAGE", "registry.lab/edge:1")
    params = parse_params(PARAMS)
    return job(launcher, edge_affinity(params, "orin"), *mounts_of(params, "orin"))


def test_run_and_step_are_valid_jobs(launcher, step):
    for each in (job(launcher), step):
        kubernetes_validate.validate(each, "1.37", strict=True)


def test_placement_keeps_the_security_context_of_a_step(launcher, step):
    for each in (job(launcher), step):
        pod = each["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] == 10001
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["enableServiceLinks"] is False
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


def test_a_step_has_its_writable_folders_and_the_environment_of_the_instance(step):
    pod = step["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["workingDir"] == "/opt/robot-assets"
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    writable = {mount["mountPath"] for mount in container["volumeMounts"] if "emptyDir" in volumes[mount["name"]]}
    assert writable == {"/opt/dagster/dagster_home", "/tmp", "/opt/robot-assets/.robot_assets"}
    assert {variable["name"] for variable in container["env"]} >= {*OWN_VARIABLES, "DAGSTER_HOME"}
    sources = [next(iter(source.values()))["name"] for source in container["envFrom"]]
    assert sources == ["robot-assets-environment", "robot-assets-images", "robot-assets-s3"]


def test_a_step_mounts_the_cache_of_its_node_beside_its_own_volumes(launcher, step, monkeypatch):
    pod = step["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert {"name": "ROBOT_ASSETS_CACHE", "value": "/var/lib/robot-assets/cache"} in container["env"]
    assert {"name": "ROBOT_ASSETS_CACHE_LIMIT", "value": "8Gi"} in container["env"]
    volume = next(volume for volume in pod["volumes"] if volume["name"] == "artifact-cache")
    # a folder created by the kubelet would belong to root, and no step could write to it
    assert volume["hostPath"] == {"path": "/var/lib/robot-assets/cache", "type": "Directory"}
    assert {"name": "artifact-cache", "mountPath": "/var/lib/robot-assets/cache"} in container["volumeMounts"]
    names = [volume["name"] for volume in pod["volumes"]]
    assert len(names) == len(set(names))
    monkeypatch.setenv("ROBOT_ASSETS_TRAIN_IMAGE", "registry.lab/train:1")
    params = parse_params(PARAMS)
    training = str(job(launcher, train_affinity(params), *mounts_of(params, "training")))
    assert "100Gi" in training
    assert "ROBOT_ASSETS_CACHE" not in str(job(launcher))


def test_a_step_may_write_to_no_host_path_but_its_cache(step):
    pod = step["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    of_the_node = {volume["name"] for volume in pod["volumes"] if "hostPath" in volume}
    writable = {mount["name"] for mount in container["volumeMounts"] if not mount.get("readOnly")}
    assert of_the_node & writable == {"artifact-cache"}


def test_a_step_on_a_jetson_mounts_the_device_files_and_requests_the_resources_of_its_pool(step):
    pod = step["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["image"] == "registry.lab/edge:1"
    assert container["resources"]["limits"] == {"memory": "4Gi", "nvidia.com/gpu": "1"}
    mounted = {mount["mountPath"] for mount in container["volumeMounts"] if mount.get("readOnly")}
    assert mounted >= {"/device/proc/device-tree", "/device/proc/cpuinfo", "/etc/nv_tegra_release"}
    assert {"name": "ROBOT_ASSETS_PROC", "value": "/device/proc"} in container["env"]
    # for the record of the engine
    assert {"name": "ROBOT_ASSETS_IMAGE", "value": "registry.lab/edge:1"} in container["env"]
    assert any(variable["name"] == "ROBOT_ASSETS_NODE" for variable in container["env"])
    assert pod["runtimeClassName"] == "nvidia"


def test_a_run_has_a_token_and_a_step_has_none(launcher, step):
    assert job(launcher)["spec"]["template"]["spec"]["automountServiceAccountToken"] is True
    assert step["spec"]["template"]["spec"]["automountServiceAccountToken"] is False


def test_a_step_inherits_no_node_selector_and_no_cpu_limit(step):
    pod = step["spec"]["template"]["spec"]
    assert not pod.get("nodeSelector")
    assert "cpu" not in pod["containers"][0]["resources"]["limits"]


def test_only_steps_of_targets_have_the_signing_key_and_their_user_can_read_it(launcher, step, monkeypatch):
    pod = step["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert {"name": "ROBOT_ASSETS_SIGNING_KEY", "value": "/run/robot-assets/signing.pem"} in container["env"]
    assert {"name": "signing-key", "mountPath": "/run/robot-assets", "readOnly": True} in container["volumeMounts"]
    volume = next(volume for volume in pod["volumes"] if volume["name"] == "signing-key")
    assert volume["secret"] == {"secretName": "robot-assets-signing-key", "defaultMode": 0o400}
    # without a group, only root could read the Secret
    assert pod["securityContext"]["fsGroup"] == pod["securityContext"]["runAsGroup"]
    params = parse_params(PARAMS)
    monkeypatch.setenv("ROBOT_ASSETS_TRAIN_IMAGE", "registry.lab/train:1")
    for other in (job(launcher), job(launcher, train_affinity(params), *mounts_of(params, "training"))):
        assert "signing" not in str(other)
