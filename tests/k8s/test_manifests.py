"""Rules for every overlay: valid objects, least privilege, no root, no Secrets, no public access."""

import re
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from tests.k8s.manifests import OVERLAYS, Manifests, containers, full_name, pods, read

RELEASES = ("1.32", "1.37")
"""The oldest supported release of Kubernetes, and the newest with published schemas."""

ROOT_ALLOWED = {"DaemonSet robot-assets-nodes/nvidia-device-plugin: nvidia-device-plugin"}
"""The socket of the kubelet belongs to root."""

DAGSTER = ("webserver", "daemon", "code-location")


@pytest.fixture(params=OVERLAYS)
def overlay(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def built(manifests: Manifests, overlay: str) -> list[dict]:
    return manifests.build(overlay)


@pytest.mark.parametrize("release", RELEASES)
def test_every_object_is_valid(built, release):
    for thing in built:
        kubernetes_validate.validate(thing, release, strict=True)


def test_names_are_unique_and_all_objects_have_their_namespace(built):
    names = [full_name(thing) for thing in built]
    assert len(names) == len(set(names))
    cluster_wide = {"Namespace", "ClusterRole", "ClusterRoleBinding", "ValidatingAdmissionPolicy"}
    for thing in built:
        is_cluster_wide = thing["kind"].removesuffix("Binding") in cluster_wide or thing["kind"] in cluster_wide
        assert ("namespace" in thing["metadata"]) != is_cluster_wide, full_name(thing)


# containers


def test_no_container_runs_as_root_or_may_become_root(built):
    assert_all(
        built,
        lambda pod, container: (
            pod["securityContext"].get("runAsNonRoot") is True
            and pod["securityContext"]["runAsUser"] > 0
            and container["securityContext"]["allowPrivilegeEscalation"] is False
            and container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
            and "runAsUser" not in container["securityContext"]
        ),
        exceptions=ROOT_ALLOWED,
    )


def test_no_container_has_capabilities_or_a_writable_root_file_system(built):
    assert_all(
        built,
        lambda pod, container: (
            container["securityContext"]["readOnlyRootFilesystem"] is True
            and container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
            and not container["securityContext"].get("privileged")
            and pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
            and not any(pod.get(key) for key in ("hostNetwork", "hostPID", "hostIPC"))
        ),
    )


def test_every_container_has_resources_and_probes(built):
    assert_all(
        built,
        lambda _, container: (
            container["resources"]["requests"].keys() >= {"cpu", "memory", "ephemeral-storage"}
            and "memory" in container["resources"]["limits"]
            and "livenessProbe" in container
            # a container without ports is ready when it has started
            and ("readinessProbe" if "ports" in container else "livenessProbe") in container
        ),
    )


def test_every_image_has_a_fixed_version(built):
    assert_all(built, lambda _, container: is_fixed(container["image"]))


@pytest.mark.parametrize("image", ["postgres", "postgres:latest", "registry:5000/train", "registry:5000/train:latest"])
def test_an_image_without_a_fixed_version_is_recognized(image):
    assert not is_fixed(image)


def is_fixed(image: str) -> bool:
    name, _, digest = image.partition("@")
    tag = name.rpartition("/")[2].partition(":")[2]
    return bool(digest) or (bool(tag) and tag != "latest")


def test_a_token_is_mounted_only_for_pods_that_use_the_api_server(built):
    with_token = {name for name, pod in pods(built) if pod["automountServiceAccountToken"]}
    assert with_token == {
        *(f"Deployment robot-assets/robot-assets-{name}" for name in DAGSTER),
        "DaemonSet robot-assets-nodes/platform-publisher",
        "DaemonSet robot-assets-nodes/platform-publisher-cpu",
    }
    accounts = [thing for thing in built if thing["kind"] == "ServiceAccount"]
    assert all(account["automountServiceAccountToken"] is False for account in accounts)


def test_only_daemon_sets_mount_files_of_their_node(built):
    found = {
        (name, volume["hostPath"]["path"])
        for name, pod in pods(built)
        for volume in pod.get("volumes", [])
        if "hostPath" in volume
    }
    publisher = "DaemonSet robot-assets-nodes/platform-publisher"
    assert found == {
        ("DaemonSet robot-assets-nodes/nvidia-device-plugin", "/var/lib/kubelet/device-plugins"),
        (publisher, "/sys/firmware/devicetree/base"),
        (publisher, "/proc/cpuinfo"),
        (publisher, "/etc/nv_tegra_release"),
    }
    for name, _, container in containers(built):
        for mount in container["volumeMounts"]:
            if mount["name"].startswith("device-") and name.startswith(publisher):
                assert mount["readOnly"] is True, name


def assert_all(built: list[dict], holds, exceptions: set[str] = frozenset()) -> None:
    broken = {name for name, pod, container in containers(built) if not holds(pod, container)}
    present = {name for name, _, _ in containers(built)}
    assert broken == exceptions & present


# secrets


SECRET_NAME = re.compile(r"PASSWORD|SECRET|TOKEN|ACCESS_KEY|PRIVATE|CREDENTIAL", re.IGNORECASE)


def test_no_secret_is_created_and_no_value_is_in_a_manifest(built):
    assert not [thing for thing in built if thing["kind"] == "Secret"]
    for name, _, container in containers(built):
        for variable in container.get("env", []):
            assert not (SECRET_NAME.search(variable["name"]) and "value" in variable), (name, variable)
    for thing in built:
        for key in thing.get("data", {}) if thing["kind"] == "ConfigMap" else ():
            assert not SECRET_NAME.search(key), full_name(thing)


def test_no_file_has_a_key_or_a_password(repository: Path):
    files = [path for path in (repository / "k8s").rglob("*") if path.is_file()]
    assert len(files) > 20
    for path in files:
        assert not re.search(r"-----BEGIN|AKIA[0-9A-Z]{16}|password: *[a-z0-9]", path.read_text()), path


# access


def test_services_are_reachable_within_the_cluster_only(built):
    services = [thing for thing in built if thing["kind"] == "Service"]
    assert services
    assert {service["spec"]["type"] for service in services} == {"ClusterIP"}
    assert not any("nodePort" in port for service in services for port in service["spec"]["ports"])


def test_the_only_ingress_is_that_of_the_login(manifests, overlay, built):
    ingresses = [thing for thing in built if thing["kind"] == "Ingress"]
    if overlay != "k3s-login":
        assert not ingresses
        return
    (rule,) = ingresses[0]["spec"]["rules"]
    assert [path["backend"]["service"]["name"] for path in rule["http"]["paths"]] == ["oauth2-proxy"]
    assert ingresses[0]["spec"]["tls"][0]["hosts"] == [rule["host"]]
    proxy = next(thing for thing in built if thing["metadata"]["name"].startswith("oauth2-proxy-"))["data"]
    service = manifests.find(overlay, "Service", "robot-assets-webserver")
    address = f"http://{service['metadata']['name']}.{service['metadata']['namespace']}.svc.cluster.local:3000"
    assert proxy["OAUTH2_PROXY_UPSTREAMS"] == address
    assert proxy["OAUTH2_PROXY_REDIRECT_URL"] == f"https://{rule['host']}/oauth2/callback"


# references between objects


def test_every_service_selects_pods_with_its_port(built):
    for service in (thing for thing in built if thing["kind"] == "Service"):
        wanted = service["spec"]["selector"].items()
        matching = [
            thing
            for thing in built
            if "template" in thing.get("spec", {})
            and thing["metadata"]["namespace"] == service["metadata"]["namespace"]
            and wanted <= thing["spec"]["template"]["metadata"]["labels"].items()
        ]
        assert len(matching) == 1, full_name(service)
        ports = matching[0]["spec"]["template"]["spec"]["containers"][0]["ports"]
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= {port["name"] for port in ports}


def test_every_account_and_config_map_that_a_pod_names_exists(built):
    present = {(thing["kind"], thing["metadata"].get("namespace"), thing["metadata"]["name"]) for thing in built}
    for thing in built:
        if "template" not in thing.get("spec", {}):
            continue
        namespace, pod = thing["metadata"]["namespace"], thing["spec"]["template"]["spec"]
        assert ("ServiceAccount", namespace, pod["serviceAccountName"]) in present
        named = [volume["configMap"]["name"] for volume in pod.get("volumes", []) if "configMap" in volume]
        for container in pod["containers"]:
            named += [
                source["configMapRef"]["name"] for source in container.get("envFrom", []) if "configMapRef" in source
            ]
        for name in named:
            assert ("ConfigMap", namespace, name) in present, (full_name(thing), name)


def test_a_drain_waits_for_runs_and_steps_only(built):
    budgets = {thing["metadata"]["name"]: thing["spec"] for thing in built if thing["kind"] == "PodDisruptionBudget"}
    (work,) = budgets["robot-assets-work"]["selector"]["matchExpressions"]
    assert set(work["values"]) == {"run_worker", "step_worker"}
    # pods of Jobs have no scale: Kubernetes accepts an absolute minAvailable only
    assert isinstance(budgets["robot-assets-work"]["minAvailable"], int)
    assert budgets["robot-assets-work"]["minAvailable"] > 1000
    assert not {f"robot-assets-{name}" for name in DAGSTER} & budgets.keys()


def test_the_publisher_of_a_jetson_has_the_mounts_of_a_step_on_it(manifests, overlay):
    from dagster_project.kubernetes.mounts import device_view

    pod = manifests.find(overlay, "DaemonSet", "platform-publisher")["spec"]["template"]["spec"]
    container = pod["containers"][0]
    view = device_view()
    for volume in view["pod_spec_config"]["volumes"]:
        assert volume in pod["volumes"]
    for mount in view["container_config"]["volume_mounts"]:
        assert mount in container["volumeMounts"]
    for variable in view["container_config"]["env"]:
        assert variable in container["env"]
    images = manifests.find(overlay, "ConfigMap", "robot-assets-images")["data"]
    assert container["image"] == images["ROBOT_ASSETS_EDGE_IMAGE"]
    assert pod["runtimeClassName"] == "nvidia"


def test_all_images_of_the_project_have_one_version(manifests, overlay):
    images = manifests.find(overlay, "ConfigMap", "robot-assets-images")["data"]
    for name in DAGSTER:
        pod = manifests.find(overlay, "Deployment", f"robot-assets-{name}")["spec"]["template"]["spec"]
        assert pod["containers"][0]["image"] == images["DAGSTER_CURRENT_IMAGE"]
    assert len({image.rpartition(":")[2] for image in images.values()}) == 1


def test_node_files_have_the_labels_that_the_manifests_select(repository, manifests):
    nodes = repository / "k8s/nodes/k3s"
    gpu, jetson, server = ({*read(nodes / f"{name}.yaml")[0]["node-label"]} for name in ("gpu", "jetson", "server"))
    assert "robot-assets/role=train" in gpu
    assert {"robot-assets/role=edge", "robot-assets/target=orin_agx"} <= jetson
    assert {"robot-assets/role=general", "robot-assets/target=cpu"} <= server
    assert read(nodes / "jetson.yaml")[0]["node-taint"] == ["robot-assets/edge=true:NoSchedule"]
    publisher = manifests.find("k3s", "DaemonSet", "platform-publisher")["spec"]["template"]["spec"]
    assert publisher["nodeSelector"]["robot-assets/role"] == "edge"
    assert publisher["tolerations"] == [{"key": "robot-assets/edge", "operator": "Exists", "effect": "NoSchedule"}]


def test_every_yaml_file_belongs_to_a_kustomization(repository, manifests):
    """A manifest outside of all kustomizations would never be applied."""
    for folder in sorted(path.parent for path in (repository / "k8s").rglob("kustomization.yaml")):
        document = yaml.safe_load((folder / "kustomization.yaml").read_text())
        named = {
            *document.get("resources", []),
            "kustomization.yaml",
            *(["values.yaml"] if folder.name == "helm" else []),
        }
        assert {path.name for path in folder.glob("*.yaml")} <= named, folder
