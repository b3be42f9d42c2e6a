"""On a cluster, a step has the private keys of the repository that it signs with, and no other step has any."""

from __future__ import annotations

from typing import Any

import kubernetes.client
import kubernetes_validate
import pytest
from dagster_k8s.container_context import K8sContainerContext
from dagster_k8s.job import DagsterK8sJobConfig, UserDefinedDagsterK8sConfig, construct_dagster_k8s_job

from dagster_project.definitions import build_definitions
from dagster_project.kubernetes.mounts import mounts_of
from robot_assets.core.errors import ParamsError
from robot_assets.fleet.desired import KEYS_VARIABLE
from robot_assets.fleet.layout import ONLINE_ROLES
from robot_assets.pipeline.kind import StageKind
from robot_assets.pipeline.params import Params, parse_params
from robot_assets.pipeline.placement import CONFIG_TAG, KEYS_TAG, POOL_TAG, placed
from robot_assets.pipeline.project import Project
from robot_assets.pipeline.registry import stage_kinds
from tests.cluster.sample_params import cluster_document

SECRETS = {"releases": "robot-assets-releases-key", "rollout": "robot-assets-rollout-keys"}
SIGNING = {"release": ("releases",), "rollout": ("assignments", "snapshot", "timestamp")}


def document(**fleet_keys: str) -> dict[str, Any]:
    params = cluster_document()
    params["execution"]["fleet_keys"] = fleet_keys or SECRETS
    params["execution"]["signing_key"] = "robot-assets-signing-key"
    params["fleet"] = {
        "url": "s3://robots/fleet",
        "groups": {"yard": {"robots": ["mower_*"], "target": "orin_agx", "models": ["yard_detector"]}},
    }
    return params


@pytest.fixture
def params(monkeypatch: pytest.MonkeyPatch) -> Params:
    monkeypatch.setenv("ROBOT_ASSETS_EDGE_IMAGE", "registry.example/edge:1")
    return parse_params(document())


def pod(params: Params, roles: tuple[str, ...], pool: str = "general") -> dict[str, Any]:
    """The pod of a step that signs with the keys of some roles; its Job is valid for the API server."""
    context = K8sContainerContext()
    for layer in mounts_of(params, pool, roles):
        context = context.merge(K8sContainerContext(run_k8s_config=UserDefinedDagsterK8sConfig.from_dict(layer)))
    config = DagsterK8sJobConfig(job_image="registry.example/train:1", dagster_home="/opt/dagster")
    job = construct_dagster_k8s_job(config, ["dagster"], "step", user_defined_k8s_config=context.run_k8s_config)
    built = kubernetes.client.ApiClient().sanitize_for_serialization(job)
    kubernetes_validate.validate(built, "1.37", strict=True)
    return built["spec"]["template"]["spec"]


def keys_in(pod: dict[str, Any]) -> dict[str, str]:
    """File -> Secret, of the keys in a pod."""
    volumes = [volume["projected"] for volume in pod.get("volumes", ()) if volume["name"] == "fleet-keys"]
    secrets = [source["secret"] for volume in volumes for source in volume["sources"]]
    return {item["path"]: secret["name"] for secret in secrets for item in secret["items"]}


@pytest.mark.parametrize("kind", SIGNING)
def test_a_step_has_the_keys_of_its_roles_and_can_only_read_them(params, kind):
    found = pod(params, SIGNING[kind])
    (container,) = found["containers"]
    assert {"name": KEYS_VARIABLE, "value": "/run/robot-assets-fleet"} in container["env"]
    assert {"name": "fleet-keys", "mountPath": "/run/robot-assets-fleet", "readOnly": True} in container["volumeMounts"]
    secret = SECRETS["releases" if kind == "release" else "rollout"]
    assert keys_in(found) == {f"{role}.pem": secret for role in SIGNING[kind]}
    # without a group, only root could read the Secrets; load_key refuses what others can read
    assert found["securityContext"]["fsGroup"] == 10001
    (volume,) = [volume for volume in found["volumes"] if volume["name"] == "fleet-keys"]
    assert volume["projected"]["defaultMode"] == 0o400


def test_every_role_is_signed_by_one_kind_of_step():
    assert sorted(role for roles in SIGNING.values() for role in roles) == sorted(ONLINE_ROLES)


def test_a_secret_with_all_keys_gives_a_step_those_of_its_roles_alone(params):
    one = parse_params(document(releases="all-keys", rollout="all-keys"))
    assert keys_in(pod(one, SIGNING["release"])) == {"releases.pem": "all-keys"}


@pytest.mark.parametrize("pool", ["general", "training", "orin_agx", "cpu"])
def test_no_other_step_has_any(params, pool):
    found = pod(params, (), pool)
    assert "fleet-keys" not in str(found)
    assert KEYS_VARIABLE not in str(found)


def test_the_key_that_signs_engines_is_not_in_steps_that_sign_for_the_fleet(params):
    for roles in SIGNING.values():
        assert "signing-key" not in str(pod(params, roles))


def test_without_secrets_nothing_is_mounted(monkeypatch, params):
    other = cluster_document()
    assert "fleet-keys" not in str(pod(parse_params(other), SIGNING["rollout"]))


def test_steps_that_sign_run_on_general_and_name_their_roles(params, tmp_path):
    definitions = build_definitions(Project(written(tmp_path, document())))
    tags = {op.name: op.tags for op in ops_of(definitions)}
    assert tags["rollout__yard"][KEYS_TAG] == "assignments,snapshot,timestamp"
    assert tags["release__yard"][KEYS_TAG] == "releases"
    assert {tags[name][POOL_TAG] for name in ("rollout__yard", "release__yard")} == {"general"}
    signing = {name for name, found in tags.items() if KEYS_TAG in found}
    assert signing == {"rollout__yard", "release__yard"}  # neither their gates nor the fleet that is observed


def test_the_kinds_that_sign_are_those_with_keys():
    kinds: dict[str, StageKind] = dict(stage_kinds())
    signing = {name: kind.production.fleet_keys for name, kind in kinds.items() if kind.production}
    assert {name: roles for name, roles in signing.items() if roles} == SIGNING


def test_a_local_step_has_no_tags(params):
    local = parse_params({**document(), "execution": {"kind": "local"}})
    assert placed(local, "general", ("releases",))["op_tags"] == {}
    assert set(placed(params, "general", ("releases",))["op_tags"]) == {CONFIG_TAG, POOL_TAG, KEYS_TAG}


@pytest.mark.parametrize("section", [{"root": "secret"}, {"releases": "Not_A_Name"}, {"rollout": ["a"]}])
def test_a_secret_that_cannot_be_is_refused(section):
    params = document()
    params["execution"]["fleet_keys"] = section
    with pytest.raises(ParamsError, match=f"execution.fleet_keys.{next(iter(section))}"):
        parse_params(params)


def written(folder, document):
    import yaml

    (folder / "params.yaml").write_text(yaml.safe_dump(document))
    return folder


def ops_of(definitions):
    found = [asset.op for asset in definitions.assets]
    return found + [check.op for check in definitions.asset_checks]
