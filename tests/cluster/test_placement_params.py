"""The sections ``execution`` and ``pools``: defaults, and contradictions that are refused with their key."""

import pytest

from robot_assets.cluster.spec import cache_of, concurrency_limit, image_of, pool_of
from robot_assets.core.errors import ParamsError
from robot_assets.lineage.code import Code
from robot_assets.pipeline.graph import build_graph
from robot_assets.pipeline.params import parse_params

GONE = object()


def changed(document: dict, path: str, value: object) -> dict:
    place = document
    *above, last = path.split(".")
    for step in above:
        place = place.setdefault(step, {})
    if value is GONE:
        del place[last]
    else:
        place[last] = value
    return document


def test_execution_is_local_by_default(document):
    del document["execution"], document["pools"]
    params = parse_params(document)
    assert params.execution.kind == "local"
    assert params.pools == {}


def test_the_pools_of_a_cluster_are_read(document):
    params = parse_params(document)
    training = params.pools["training"]
    assert training.node_labels == {"robot-assets/role": ("train",), "nvidia.com/gpu.product": ("A100", "H100")}
    assert image_of(params.execution, training).name == "registry.example/train:1"
    assert image_of(params.execution, params.pools["orin_agx"]).env == "ROBOT_ASSETS_EDGE_IMAGE"
    assert pool_of(params.pools, "general").memory == "4Gi"


def test_a_device_builds_one_engine_at_a_time_and_the_gpu_pool_up_to_its_limit(document):
    pools = parse_params(document).pools
    assert concurrency_limit(pools, "orin_agx") == 1
    assert concurrency_limit(pools, "training") == 2
    assert concurrency_limit(pools, "general") is None


def test_the_image_of_a_pool_takes_precedence_over_that_of_its_architecture(document):
    params = parse_params(changed(document, "pools.cpu.image", "registry.example/edge-cpu@sha256:" + "0" * 64))
    assert image_of(params.execution, params.pools["cpu"]).name.startswith("registry.example/edge-cpu@")


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("pools.training.memmory", "1Gi", r"pools\.training\.memmory: unknown key; did you mean 'memory'"),
        ("execution.namspace", "x", r"execution\.namspace: unknown key; did you mean 'namespace'"),
        ("execution.kind", "k8s", r"execution\.kind: .*'kubernetes'"),
        ("execution.namespace", "My_Space", r"execution\.namespace: needed the name of a Kubernetes object"),
        ("execution.images.riscv", "x:1", r"execution\.images\.riscv"),
        ("execution.images.amd64", "", r"execution\.images\.amd64: needed an image"),
        ("execution.images.amd64", {"name": "x", "env": "Y"}, r"execution\.images\.amd64: needed an image"),
        ("pools.training.memory", "16G", r"pools\.training\.memory: needed a whole number with a unit"),
        ("pools.training.memory_max", "24Gi", r"pools\.training: memory_max is 24Gi and memory is 24Gi"),
        ("pools.training.gpus", -1, r"pools\.training\.gpus"),
        ("pools.training.gpus", 0.5, r"pools\.training\.gpus"),
        ("pools.training.active_deadline_s", 5, r"pools\.training\.active_deadline_s"),
        ("pools.training.tolerations", [{"operator": "Exists"}], r"pools\.training\.tolerations\.0\.key: missing"),
        ("pools.training.runtime_class", "NVIDIA", r"pools\.training\.runtime_class"),
        ("execution.cache.size", "20G", r"execution\.cache\.size: needed a whole number with a unit"),
        ("execution.cache.path", "cache", r"execution\.cache\.path: needed an absolute path"),
        ("execution.cache.path", "/", r"execution\.cache\.path: needed an absolute path"),
        ("pools.orin_agx.cache.path", "/var/../etc", r"pools\.orin_agx\.cache\.path: needed an absolute path"),
        ("pools.orin_agx.cache", {"sise": "8Gi"}, r"pools\.orin_agx\.cache\.sise: unknown key; did you mean 'size'"),
        ("pools.training.node_labels", {"no good": "x"}, "'no good' is not a label key"),
        ("pools.training.node_labels", {"role": "no good"}, "'no good' is not a label value"),
        ("pools.training.node_labels", {"role": []}, "role: needed at least one value"),
        ("pools.training.node_labels", {"role": True}, r"pools\.training\.node_labels\.role.*needed a string"),
    ],
)
def test_an_invalid_value_is_refused_with_its_key(document, path, value, message):
    with pytest.raises(ParamsError, match=message):
        parse_params(changed(document, path, value))


def test_a_pool_may_have_a_smaller_cache_than_the_others(document):
    assert cache_of(parse_params(document).execution, parse_params(document).pools["training"]) is None
    params = parse_params(changed(changed(document, "execution.cache", {}), "pools.orin_agx.cache", {"size": "8Gi"}))
    sizes = {name: cache_of(params.execution, pool_of(params.pools, name)).size for name in ("general", "orin_agx")}
    assert sizes == {"general": "20Gi", "orin_agx": "8Gi"}


@pytest.mark.parametrize("field", ["execution.cache", "pools.training.cache"])
def test_a_cache_without_a_remote_is_refused(document, field):
    changed(changed(document, "store.url", ".robot_assets/store"), field, {})
    with pytest.raises(ParamsError, match=rf"{field}: store\.url is a folder of the project"):
        parse_params(document)


@pytest.mark.parametrize("label", ["kubernetes.io/hostname", "k3s.io/hostname"])
def test_a_node_is_never_named_by_its_hostname(document, label):
    with pytest.raises(ParamsError, match=rf"pools\.training\.node_labels: {label} names one machine"):
        parse_params(changed(document, "pools.training.node_labels", {label: "gpu-1"}))


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("pools.orin_nano", {}, r"pools\.orin_nano: no such pool; needed one of training, general, orin_agx, cpu"),
        ("pools.training", GONE, r"pools\.training: missing"),
        ("pools.orin_agx", GONE, r"pools\.orin_agx: missing"),
        ("pools.orin_agx.node_labels", GONE, r"pools\.orin_agx\.node_labels is empty.*robot-assets/target=orin_agx"),
        ("pools.cpu.max_concurrent", 2, r"pools\.cpu\.max_concurrent is 2 and gpus is 0"),
        ("pools.training.node_labels", {"kubernetes.io/arch": "arm64"}, r"kubernetes\.io/arch is set by architecture"),
        ("execution.images.arm64", GONE, r"pools\.orin_agx has no image; needed .* or execution\.images\.arm64"),
        ("execution.images", GONE, r"has no image"),
        ("targets.cpu.platform", "here", r"targets\.cpu\.platform is here: .*; needed node or reported"),
    ],
)
def test_a_contradiction_is_refused_with_its_key(document, path, value, message):
    with pytest.raises(ParamsError, match=message):
        parse_params(changed(document, path, value))


def test_nodes_that_publish_a_platform_are_the_nodes_of_its_pool(document):
    changed(document, "targets.cpu.platform", "node")
    assert parse_params(document).targets["cpu"].platform == "node"
    with pytest.raises(ParamsError, match=r"pools\.cpu\.node_labels has no robot-assets/target: cpu"):
        parse_params(changed(document, "pools.cpu.node_labels", {"robot-assets/role": "bench"}))


def test_pools_may_be_given_with_local_execution(document):
    document = changed(changed(document, "execution.kind", "local"), "targets.cpu.platform", "here")
    del document["pools"]["training"]
    assert parse_params(document).pools["orin_agx"].gpus == 1


@pytest.mark.parametrize("name", ["training", "general"])
def test_a_target_cannot_have_the_name_of_a_pool(document, name):
    document["targets"][name] = document["targets"]["cpu"]
    with pytest.raises(ParamsError, match=rf"targets\.{name}: {name} is the name of a pool"):
        parse_params(document)


def test_a_move_to_other_nodes_changes_no_code_version(document):
    def versions() -> dict[str, str]:
        code, graph = Code(), build_graph(parse_params(document))
        return {name: code.version(stage.code, stage.params) for name, stage in graph.items() if stage.code}

    before = versions()
    changed(document, "pools.training", {"node_labels": {"role": "other"}, "memory": "64Gi"})
    changed(document, "execution.images.amd64", "registry.example/train:2")
    assert versions() == before
    changed(document, "execution.kind", "local")
    assert versions() == before


def test_no_stage_can_reach_the_modules_of_placement(document):
    code = Code()
    for stage in build_graph(parse_params(document)).values():
        for part in (stage, *stage.gates):
            if part.code:
                assert not [name for name in code.modules(part.code) if name.startswith("robot_assets.cluster")]
