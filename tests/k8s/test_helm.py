"""The values for Dagster's Helm chart agree with the kustomize base.

``rendered`` maps values to dagster.yaml like the templates of the chart (helm/dagster/templates/helpers/instance of
Dagster 1.13). The chart itself is not needed, and not in this repository.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import dagster
import pytest

from tests.k8s.manifests import read

SAME = (
    "run_launcher",
    "run_coordinator",
    "concurrency",
    "run_monitoring",
    "run_retries",
    "compute_logs",
    "retention",
    "sensors",
    "telemetry",
    "nux",
)


@pytest.fixture(scope="module")
def values(repository: Path) -> dict:
    return read(repository / "k8s/helm/values.yaml")[0]


def snake(document: Any) -> Any:
    """Keys in snake_case, as the chart writes them into dagster.yaml."""
    if isinstance(document, dict):
        return {re.sub(r"(?<!^)([A-Z])", r"_\1", key).lower(): snake(value) for key, value in document.items()}
    return document


def without_nulls(document: dict) -> dict:
    return {key: value for key, value in document.items() if value is not None}


def rendered(values: dict) -> dict:
    """The chart's dagster.yaml, as far as these values determine it."""
    daemon = values["dagsterDaemon"]
    assert values["runLauncher"]["type"] == "CustomRunLauncher"
    concurrency = {key: value for key, value in values["concurrency"].items() if key != "enabled"}
    assert values["concurrency"]["enabled"]
    return {
        "run_launcher": values["runLauncher"]["config"]["customRunLauncher"],
        "run_coordinator": {
            "module": "dagster._core.run_coordinator",
            "class": daemon["runCoordinator"]["type"],
            "config": without_nulls(snake(daemon["runCoordinator"]["config"]["queuedRunCoordinator"])),
        },
        "concurrency": snake(concurrency),
        "run_monitoring": snake(daemon["runMonitoring"]),
        "run_retries": snake(daemon["runRetries"]),
        "compute_logs": {
            "module": "dagster_aws.s3.compute_log_manager",
            "class": values["computeLogManager"]["type"],
            "config": snake(values["computeLogManager"]["config"]["s3ComputeLogManager"]),
        },
        "retention": snake({key: value for key, value in values["retention"].items() if key != "enabled"}),
        "sensors": snake(daemon["sensors"]),
        "telemetry": values["telemetry"],
        **values["additionalInstanceConfig"],
    }


@pytest.mark.parametrize("section", SAME)
def test_a_section_of_the_instance_is_equal(manifests, values, section):
    assert rendered(values)[section] == manifests.instance()[section]


def test_all_sections_of_the_instance_are_compared(manifests):
    assert manifests.instance().keys() == {*SAME, "storage"}


def test_settings_that_the_chart_inserts_are_equal(manifests, values):
    config = manifests.instance()["run_launcher"]["config"]
    assert values["global"]["dagsterHome"] == config["dagster_home"]
    assert values["global"]["postgresqlSecretName"] == config["postgres_password_secret"]
    environment = manifests.find("k3s", "ConfigMap", "robot-assets-environment")["data"]
    postgresql = values["postgresql"]
    assert not postgresql["enabled"]
    assert {
        "DAGSTER_PG_HOST": postgresql["postgresqlHost"],
        "DAGSTER_PG_USERNAME": postgresql["postgresqlUsername"],
        "DAGSTER_PG_DB": postgresql["postgresqlDatabase"],
        "DAGSTER_PG_PORT": str(postgresql["service"]["port"]),
    }.items() <= environment.items()


PARTS = {
    "webserver": ("dagsterWebserver",),
    "daemon": ("dagsterDaemon",),
    "code-location": ("dagster-user-deployments", "deployments", 0),
}


@pytest.mark.parametrize("name", PARTS)
def test_a_deployment_has_the_same_image_environment_node_and_resources(manifests, values, name):
    part: Any = values
    for step in PARTS[name]:
        part = part[step]
    pod = manifests.find("k3s", "Deployment", f"robot-assets-{name}")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert f"{part['image']['repository']}:{part['image']['tag']}" == container["image"]
    sources = [
        *({"configMapRef": each} for each in part["envConfigMaps"]),
        *({"secretRef": each} for each in part["envSecrets"]),
    ]
    assert sources == container["envFrom"]
    given = [each for each in container["env"] if each["name"] not in ("DAGSTER_HOME", "DAGSTER_PG_PASSWORD")]
    assert part["env"] == given
    assert part["nodeSelector"] == pod["nodeSelector"]
    assert part["podSecurityContext"] == pod["securityContext"]
    assert part["resources"] == container["resources"]
    assert part["securityContext"] == container["securityContext"]
    # the chart mounts the instance itself
    assert part["volumes"] == [each for each in pod["volumes"] if each["name"] != "instance"]
    assert part["volumeMounts"] == [each for each in container["volumeMounts"] if each["name"] != "instance"]


def test_the_code_location_is_served_in_the_same_way(manifests, values):
    deployment = values["dagster-user-deployments"]["deployments"][0]
    pod = manifests.find("k3s", "Deployment", "robot-assets-code-location")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["command"][-2:] == deployment["dagsterApiGrpcArgs"]
    assert container["ports"][0]["containerPort"] == deployment["port"]
    service = manifests.find("k3s", "Service", "robot-assets-code-location")["metadata"]["name"]
    assert service == deployment["name"]


def test_the_ui_is_reachable_within_the_cluster_only(values):
    assert values["dagsterWebserver"]["service"]["type"] == "ClusterIP"
    assert "ingress" not in values


def test_every_block_of_values_has_a_comment(repository):
    lines = (repository / "k8s/helm/values.yaml").read_text().splitlines()
    blocks = [number for number, line in enumerate(lines) if re.match(r"[a-zA-Z-]+:", line)]
    assert len(blocks) > 10
    assert [lines[number] for number in blocks if not lines[number - 1].startswith("# ")] == []


def test_the_chart_has_the_version_of_dagster(repository):
    text = (repository / "k8s/helm/values.yaml").read_text()
    assert re.findall(r"--version (\S+)", text) == [dagster.__version__]


def test_the_companion_has_what_the_chart_lacks(manifests):
    companion = manifests.build("../helm")
    kinds = {(thing["kind"], thing["metadata"]["name"]) for thing in companion}
    assert {
        ("Namespace", "robot-assets"),
        ("StatefulSet", "robot-assets-postgres"),
        ("Service", "robot-assets-postgres"),
        ("ConfigMap", "robot-assets-environment"),
        ("ConfigMap", "robot-assets-images"),
        ("ServiceAccount", "robot-assets-step"),
        ("DaemonSet", "platform-publisher"),
        ("ClusterRoleBinding", "robot-assets-helm"),
    } <= kinds
    of_the_chart = {"Deployment", "NetworkPolicy"}
    assert not [
        thing
        for thing in companion
        if thing["kind"] in of_the_chart and thing["metadata"]["namespace"] == "robot-assets"
    ]
    assert ("Service", "robot-assets-code-location") not in kinds
