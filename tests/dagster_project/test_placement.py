"""Each step has the Kubernetes configuration of its pool, and no other layer changes it."""

import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest
import yaml
from dagster_k8s import K8sRunLauncher
from dagster_k8s.container_context import K8sContainerContext
from dagster_k8s.job import UserDefinedDagsterK8sConfig, construct_dagster_k8s_job, get_user_defined_k8s_config
from hypothesis import given, settings
from hypothesis import strategies as some

from dagster_project.definitions import build_definitions
from robot_assets.core.errors import ParamsError
from robot_assets.pipeline.params import Params, parse_params
from robot_assets.pipeline.placement import (
    CONFIG_TAG,
    POOL_TAG,
    anywhere,
    concurrency_limits,
    edge_affinity,
    image_name,
    train_affinity,
)
from robot_assets.pipeline.project import Project
from tests.cluster.sample_params import cluster_document

ROOT = Path(__file__).parents[2]

KUBECONFIG = {
    "apiVersion": "v1",
    "kind": "Config",
    "current-context": "none",
    "contexts": [{"name": "none", "context": {"cluster": "none", "user": "none"}}],
    "clusters": [{"name": "none", "cluster": {"server": "https://127.0.0.1:1"}}],
    "users": [{"name": "none", "user": {"token": "none"}}],
}


@pytest.fixture
def params(monkeypatch: pytest.MonkeyPatch) -> Params:
    monkeypatch.setenv("ROBOT_ASSETS_EDGE_IMAGE", "registry.example/edge:1")
    return parse_params(cluster_document())


def ops_of(root: Path, document: dict) -> dict[str, dg.OpDefinition]:
    """The op of every asset and check of a project, by name."""
    (root / "params.yaml").write_text(yaml.safe_dump(document))
    definitions = build_definitions(Project(root), executor=dg.in_process_executor)
    definitions_of_ops = [asset.op for asset in definitions.assets if isinstance(asset, dg.AssetsDefinition)]
    definitions_of_ops += [asset.op for asset in definitions.assets if isinstance(asset, dg.SourceAsset)]
    definitions_of_ops += [check.op for check in definitions.asset_checks]
    return {op.name: op for op in definitions_of_ops}


def affinity_terms(pod_spec: object) -> list:
    return pod_spec.affinity.node_affinity.required_during_scheduling_ignored_during_execution.node_selector_terms


def as_job(tags: dict, launcher: K8sRunLauncher, location: dict | None = None, executor: dict | None = None):
    """The Job that dagster_k8s creates from a step's tags and the other layers, merged in its own order."""
    launched = K8sContainerContext.create_for_run(_run(), launcher, include_run_tags=False)
    context = (
        launched.merge(K8sContainerContext.create_from_config({"k8s": {"run_k8s_config": location or {}}}))
        .merge(K8sContainerContext(run_k8s_config=UserDefinedDagsterK8sConfig.from_dict(executor or {})))
        .merge(K8sContainerContext(run_k8s_config=get_user_defined_k8s_config(tags)))
        .merge(K8sContainerContext(run_k8s_config=UserDefinedDagsterK8sConfig.from_dict({})))
    )
    config = context.get_k8s_job_config(None, launcher)
    return construct_dagster_k8s_job(config, ["dagster"], "step", user_defined_k8s_config=context.run_k8s_config)


def _run() -> dg.DagsterRun:
    return dg.DagsterRun(job_name="all")


@pytest.fixture(scope="module")
def launcher_with(tmp_path_factory: pytest.TempPathFactory):
    kubeconfig = tmp_path_factory.mktemp("kube") / "config"
    kubeconfig.write_text(yaml.safe_dump(KUBECONFIG))

    def launcher(run_k8s_config: dict, **settings: object) -> K8sRunLauncher:
        return K8sRunLauncher(
            service_account_name="dagster",
            instance_config_map="dagster-instance",
            dagster_home="/opt/dagster/home",
            job_image="registry.example/code:1",
            load_incluster_config=False,
            kubeconfig_file=str(kubeconfig),
            run_k8s_config=run_k8s_config,
            **settings,
        )

    return launcher


def tags(config: dict) -> dict[str, str]:
    """Op tags as Dagster stores them."""

    @dg.op(tags={CONFIG_TAG: config})
    def step():
        pass

    return dict(step.tags)


POOLS = {
    "datasets__yard": "general",
    "raw__yard": "general",
    "platform__orin_agx": "general",
    "yard_detector__checkpoint": "training",
    "yard_detector__ptq": "training",
    "yard_detector__qat": "training",
    "yard_detector__onnx": "general",
    "yard_detector__onnx_gates": "general",
    "yard_detector__engine__orin_agx": "orin_agx",
    "yard_detector__engine__orin_agx_gates": "orin_agx",
    "yard_detector__engine__orin_agx_lineage_intact": "general",
    "yard_detector__engine__cpu": "cpu",
    "yard_detector__engine__cpu_gates": "cpu",
}


def test_every_step_has_a_pool_and_gates_have_that_of_their_asset(tmp_path):
    ops = ops_of(tmp_path, cluster_document())
    assert {name: ops[name].tags.get(POOL_TAG) for name in POOLS} == POOLS
    assert all(op.tags[POOL_TAG] and CONFIG_TAG in op.tags for op in ops.values())


def test_a_profile_and_its_gates_run_on_the_profiled_device(tmp_path):
    document = cluster_document()
    document["targets"]["orin_agx"]["profile"] = {"models": {"yard_detector": {"rate_hz": 15}}}
    ops = ops_of(tmp_path, document)
    assert {ops[name].tags[POOL_TAG] for name in ("profile__orin_agx", "profile__orin_agx_gates")} == {"orin_agx"}
    assert "profile__cpu" not in ops


def test_the_concurrency_pool_of_a_step_is_its_node_pool_where_that_has_a_limit(tmp_path, params):
    limits = concurrency_limits(params)
    assert limits == {"training": 2, "orin_agx": 1, "cpu": 1}
    for op in ops_of(tmp_path, cluster_document()).values():
        assert op.pool == (op.tags[POOL_TAG] if op.tags[POOL_TAG] in limits else None)


def test_local_steps_have_no_placement(tmp_path):
    document = cluster_document()
    document["execution"]["kind"] = "local"
    for op in ops_of(tmp_path, document).values():
        assert not {CONFIG_TAG, POOL_TAG} & set(op.tags)
        assert op.pool is None


def test_a_training_step_requires_all_labels_and_whole_gpus(params, launcher_with):
    pod = as_job(tags(train_affinity(params)), launcher_with({})).spec.template.spec
    (term,) = affinity_terms(pod)
    wanted = {each.key: (each.operator, each.values) for each in term.match_expressions}
    assert wanted == {
        "kubernetes.io/arch": ("In", ["amd64"]),
        "robot-assets/role": ("In", ["train"]),
        "nvidia.com/gpu.product": ("In", ["A100", "H100"]),
    }
    resources = pod.containers[0].resources
    assert resources.limits == {"memory": "24Gi", "ephemeral-storage": "40Gi", "nvidia.com/gpu": "1"}
    assert resources.requests == {**resources.limits, "cpu": "7500m"}
    assert pod.containers[0].image == "registry.example/train:1"
    assert (pod.runtime_class_name, pod.termination_grace_period_seconds) == ("nvidia", 120)


def test_an_engine_is_built_on_its_device_with_the_image_of_its_architecture(params, launcher_with):
    job = as_job(tags(edge_affinity(params, "orin_agx")), launcher_with({}))
    pod = job.spec.template.spec
    (term,) = affinity_terms(pod)
    wanted = {each.key: each.values for each in term.match_expressions}
    assert wanted == {"kubernetes.io/arch": ["arm64"], "robot-assets/target": ["orin_agx"]}
    (toleration,) = pod.tolerations
    assert (toleration.key, toleration.operator, toleration.effect) == ("robot-assets/edge", "Exists", "NoSchedule")
    assert pod.containers[0].image == "registry.example/edge:1"
    assert pod.active_deadline_seconds == 7200
    assert (pod.restart_policy, job.spec.backoff_limit) == ("Never", 0)


def test_other_steps_run_on_any_node_of_the_images_architecture(params, launcher_with):
    pod = as_job(tags(anywhere(params)), launcher_with({})).spec.template.spec
    (term,) = affinity_terms(pod)
    assert [(each.key, each.values) for each in term.match_expressions] == [("kubernetes.io/arch", ["amd64"])]
    assert "nvidia.com/gpu" not in pod.containers[0].resources.limits
    assert not pod.tolerations


def test_an_unset_image_variable_is_an_error_at_its_use(params, monkeypatch):
    assert image_name(params, "orin_agx") == "registry.example/edge:1"
    monkeypatch.delenv("ROBOT_ASSETS_EDGE_IMAGE")
    assert "image" not in edge_affinity(params, "orin_agx")["container_config"]
    with pytest.raises(ParamsError, match="pool orin_agx is in ROBOT_ASSETS_EDGE_IMAGE, which is not set"):
        image_name(params, "orin_agx")


def affinity_to(label: str, value: str) -> dict:
    term = {"matchExpressions": [{"key": label, "operator": "In", "values": [value]}]}
    return {
        "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}}
    }


def test_appended_affinities_would_be_an_or(launcher_with, params):
    """The reason for SHALLOW tags. If this fails, dagster_k8s merges differently, and the reason is gone."""
    deep = {**train_affinity(params), "merge_behavior": "DEEP"}
    launcher = launcher_with({"pod_spec_config": affinity_to("robot-assets/role", "general")})
    assert len(affinity_terms(as_job(tags(deep), launcher).spec.template.spec)) == 2
    assert len(affinity_terms(as_job(tags(train_affinity(params)), launcher).spec.template.spec)) == 1


LAYER = some.fixed_dictionaries(
    {
        "pod_spec_config": some.fixed_dictionaries(
            {},
            optional={
                "affinity": some.builds(affinity_to, some.sampled_from(["role", "zone"]), some.just("x")).map(
                    lambda config: config["affinity"]
                ),
                "nodeSelector": some.just({"robot-assets/role": "general"}),
                "tolerations": some.just([{"operator": "Exists"}]),
                "runtimeClassName": some.just("other"),
                "restartPolicy": some.just("OnFailure"),
                "activeDeadlineSeconds": some.just(5),
            },
        ),
        "container_config": some.fixed_dictionaries(
            {},
            optional={
                "resources": some.just({"limits": {"memory": "64Mi", "nvidia.com/gpu": "4"}}),
                "image": some.just("registry.example/other:1"),
            },
        ),
        "job_spec_config": some.fixed_dictionaries({}, optional={"backoffLimit": some.just(4)}),
        "merge_behavior": some.sampled_from(["SHALLOW", "DEEP"]),
    }
)


@settings(deadline=None, max_examples=40)
@given(
    of_launcher=LAYER, of_location=LAYER, of_executor=LAYER, pool=some.sampled_from(["training", "orin_agx", "general"])
)
def test_no_other_layer_changes_the_placement_of_a_step(launcher_with, of_launcher, of_location, of_executor, pool):
    document = cluster_document()
    document["execution"]["images"]["arm64"] = "registry.example/edge:1"
    params = parse_params(document)
    config = {"training": train_affinity(params), "general": anywhere(params)}.get(pool) or edge_affinity(params, pool)
    alone = as_job(tags(config), launcher_with({})).spec
    among = as_job(tags(config), launcher_with(of_launcher), of_location, of_executor).spec
    assert among.template.spec.to_dict() == alone.template.spec.to_dict()
    assert among.backoff_limit == alone.backoff_limit


def test_other_keys_come_from_the_other_layers(params, launcher_with):
    launcher = launcher_with(
        {"container_config": {"volumeMounts": [{"name": "cache", "mountPath": "/cache"}]}},
        volumes=[{"name": "cache", "hostPath": {"path": "/var/cache/robot-assets"}}],
        labels={"network": "store"},
        env_secrets=["s3-credentials"],
    )
    template = as_job(tags(train_affinity(params)), launcher).spec.template
    assert [volume.name for volume in template.spec.volumes] == ["cache"]
    assert [mount.mount_path for mount in template.spec.containers[0].volume_mounts] == ["/cache"]
    assert template.metadata.labels["network"] == "store"
    assert template.spec.containers[0].env_from[0].secret_ref.name == "s3-credentials"
    assert template.spec.service_account_name == "dagster"


def test_one_setting_selects_the_cluster_executor_which_imports_nothing_of_kubernetes(tmp_path):
    code = (
        "import sys, yaml; from pathlib import Path; from tests.cluster.sample_params import cluster_document;"
        "from robot_assets.pipeline.project import Project; from dagster_project.definitions import build_definitions;"
        "Path(sys.argv[1], 'params.yaml').write_text(yaml.safe_dump(cluster_document()));"
        "definitions = build_definitions(Project(Path(sys.argv[1])));"
        "print(definitions.executor.name, [name for name in ('kubernetes', 'dagster_k8s') if name in sys.modules])"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert (done.stdout.strip(), done.returncode) == ("kubernetes []", 0), done.stderr
