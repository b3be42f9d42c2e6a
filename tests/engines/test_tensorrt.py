"""TensorRT engines from 8.6 to 11, on the strict stand-in of ``tests/tensorrt_api`` in place of a Jetson."""

import json
import shutil
import sys
import threading
from pathlib import Path

import numpy as np
import onnx
import pytest

from robot_assets.core.digests import md5_of
from robot_assets.core.errors import EngineError
from robot_assets.engines.budgets import GateSpec
from robot_assets.engines.gate import GATES, check_engine
from robot_assets.engines.kind import BuildContext
from robot_assets.engines.load import load_engine, load_manifest
from robot_assets.engines.tensorrt.build import build_engine
from robot_assets.engines.tensorrt.kind import KIND
from robot_assets.engines.tensorrt.spec import TensorRTTarget
from robot_assets.engines.tensorrt.timing_cache_store import StoredTimingCaches
from robot_assets.lineage.code import Code
from robot_assets.platforms.probe import probe
from robot_assets.runtime.manifest import save_manifest
from robot_assets.store import Store
from tests.alter import flip_bit
from tests.detector_chain import CLASSES, INTERFACE, whole
from tests.tensorrt_api.use import VERSIONS, absent, standin

BUNDLE = ["build.log", "engine.plan", "layers.json", "manifest.json"]


def images(count: int = 1) -> np.ndarray:
    return np.random.default_rng(5).random((count, 3, INTERFACE.input.height, INTERFACE.input.width), dtype=np.float32)


def heads_of_onnx(path: Path, batch: np.ndarray) -> list[np.ndarray]:
    """The heads of ONNX Runtime without optimizations, image by image."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    answers = [session.run(None, {"images": image[None]}) for image in batch]
    return [np.concatenate(heads) for heads in zip(*answers, strict=True)]


def plan_of(engine: Path):
    """The content of a plan of the stand-in."""
    found = sys.modules["tensorrt_standin.plan"].read_plan((engine / "engine.plan").read_bytes())
    assert found is not None
    return found


@pytest.fixture(params=VERSIONS)
def trt(request, monkeypatch):
    """Each version in turn."""
    return standin(monkeypatch, request.param)


@pytest.fixture
def trt10(monkeypatch):
    return standin(monkeypatch, "10.3.0")


@pytest.fixture
def engine(trt10, tmp_path):
    """An engine of 10.3 that a test may damage."""
    build_engine(whole().onnx, TensorRTTarget(), tmp_path / "engine")
    return tmp_path / "engine"


def edited_export(tmp_path: Path, edit) -> Path:
    """The exported model after ``edit``, with a card that describes it."""
    folder = shutil.copytree(whole().onnx, tmp_path / "onnx")
    model = onnx.load(folder / "model.onnx")
    edit(model)
    onnx.save(model, folder / "model.onnx")
    card = json.loads((folder / "model.json").read_bytes()) | {"md5": md5_of(folder / "model.onnx")}
    (folder / "model.json").write_text(json.dumps(card))
    return folder


def test_every_version_builds_an_engine_with_the_heads_of_the_graph(trt, tmp_path):
    summary = build_engine(whole().onnx, TensorRTTarget(precision="int8_fp32"), tmp_path / "engine")
    assert sorted(path.name for path in (tmp_path / "engine").iterdir()) == BUNDLE
    assert summary.manifest.tensorrt == trt.__version__
    with load_engine(tmp_path / "engine") as loaded:
        found = loaded.infer(images())
    for ours, theirs in zip(found, heads_of_onnx(whole().onnx / "model.onnx", images()), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_the_flags_are_those_of_the_version(trt, tmp_path):
    build_engine(whole().onnx, TensorRTTarget(), tmp_path / "engine")
    plan = plan_of(tmp_path / "engine")
    is_strong = trt.__version__.startswith("11")
    assert (plan.typing, plan.flags) == (("strong", []) if is_strong else ("weak", ["FP16", "INT8"]))
    halves = [tensor for tensor in plan.model.graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT16]
    assert bool(halves) == is_strong
    assert load_manifest(tmp_path / "engine").typing == plan.typing


def test_without_half_the_exported_bytes_are_parsed_and_the_flag_is_not_set(trt, tmp_path):
    build_engine(whole().onnx, TensorRTTarget(precision="int8_fp32"), tmp_path / "engine")
    plan = plan_of(tmp_path / "engine")
    assert "FP16" not in plan.flags
    assert plan.model == onnx.load(whole().onnx / "model.onnx")


def test_strong_typing_on_ten_sets_no_flags(trt10, tmp_path):
    build_engine(whole().onnx, TensorRTTarget(typing="strong"), tmp_path / "engine")
    assert (plan_of(tmp_path / "engine").typing, plan_of(tmp_path / "engine").flags) == ("strong", [])


@pytest.mark.parametrize(("version", "typing"), [("8.6.1", "strong"), ("11.4.0", "weak")])
def test_a_typing_that_the_version_lacks_is_refused(monkeypatch, tmp_path, version, typing):
    trt = standin(monkeypatch, version)
    with pytest.raises(
        EngineError, match=f"typing is {typing}, which TensorRT {trt.__version__} does not have"
    ) as caught:
        build_engine(whole().onnx, TensorRTTarget(typing=typing), tmp_path / "engine")
    assert "auto" in caught.value.fix
    assert not (tmp_path / "engine").exists()


def test_the_target_sets_workspace_and_level_and_layers_are_detailed(trt, tmp_path):
    build_engine(whole().onnx, TensorRTTarget(workspace_mib=64, optimization_level=5), tmp_path / "engine")
    plan = plan_of(tmp_path / "engine")
    assert (plan.workspace, plan.optimization_level, plan.verbosity) == (64 << 20, 5, "DETAILED")


def test_the_manifest_describes_the_engine(trt, tmp_path):
    build_engine(whole().onnx, TensorRTTarget(), tmp_path / "engine")
    manifest = load_manifest(tmp_path / "engine")
    assert manifest.onnx_md5 == md5_of(whole().onnx / "model.onnx")
    assert manifest.engine_md5 == md5_of(tmp_path / "engine" / "engine.plan")
    assert manifest.layers_md5 == md5_of(tmp_path / "engine" / "layers.json")
    assert manifest.build_log_md5 == md5_of(tmp_path / "engine" / "build.log")
    assert (manifest.classes, manifest.interface) == (CLASSES, INTERFACE)
    assert (manifest.gpu.name, manifest.gpu.compute_capability) == ("Orin (stand-in)", "8.7")
    assert manifest.kernels.int8_convolutions == 23
    assert {layer.arithmetic for layer in manifest.layers} <= {"int8", "data_movement"}
    shapes = {binding.name: (binding.shape, binding.dtype) for binding in manifest.bindings}
    assert shapes["images"] == ((1, 3, 64, 96), "float32")
    assert 0 < manifest.bindings[0].scale <= 1 / 127


def test_the_settings_are_the_keys_that_decide_the_plan(trt10, tmp_path):
    build_engine(whole().onnx, TensorRTTarget(timing_cache=False), tmp_path / "engine")
    settings = load_manifest(tmp_path / "engine").settings
    assert set(settings) == set(TensorRTTarget.model_fields) - {"timing_cache"}


def test_the_gates_judge_such_an_engine(trt, tmp_path):
    chain = whole()
    build_engine(chain.onnx, TensorRTTarget(), tmp_path / "engine")
    gate = GateSpec(accuracy_drop_points_max=8, latency_ms_p95_max=10_000, parity_differing_share_max=0.2)
    verdicts = check_engine(
        tmp_path / "engine", gate, GATES, dataset=chain.dataset, baseline=chain.checkpoint, onnx=chain.onnx
    )
    assert {name: verdict.passed for name, verdict in verdicts.items()} == dict.fromkeys(GATES, True)
    assert verdicts["accuracy"].facts["map50"] > 0.2


def test_its_page_shows_its_latency_and_the_arithmetic_of_its_layers(trt10, tmp_path):
    context = BuildContext(Store(tmp_path / "store"), note=lambda line: None)
    summary = KIND.build(whole().onnx, TensorRTTarget(), tmp_path / "engine", context)
    facts = KIND.facts(summary)
    assert facts.headline.startswith("int8 23 of 23 convolutions, ")
    assert facts.values["timing_cache_md5"] == summary.manifest.timing_cache_md5
    page = KIND.page(summary, tmp_path / "engine", whole().onnx, tmp_path)
    assert page.headline.endswith(" ms, 28 of 29 layers in int8")
    picture, table, *_ = page.blocks
    assert picture.png.startswith(b"\x89PNG")
    assert table.rows["int8"] == {"layers": 28}


def test_it_detects_drawn_boxes_in_an_image_of_another_size(trt, tmp_path):
    build_engine(whole().onnx, TensorRTTarget(), tmp_path / "engine")
    pixels = np.random.default_rng(3).integers(0, 90, (64, 96, 3), dtype=np.uint8)
    pixels[15:40, 30:55] = (220, 40, 40)
    with load_engine(tmp_path / "engine") as loaded:
        found = loaded.predict(pixels.repeat(4, axis=0).repeat(4, axis=1))
    assert CLASSES[found.labels[0]] == "red"


def test_a_dynamic_batch_gives_the_heads_of_single_images(trt, tmp_path):
    settings = TensorRTTarget(batch={"max": 4, "optimal": 2}, precision="int8_fp32")
    build_engine(whole().onnx, settings, tmp_path / "engine")
    assert [shape[0] for shape in plan_of(tmp_path / "engine").profile] == [1, 2, 4]
    with load_engine(tmp_path / "engine") as loaded:
        for count in (4, 1, 3):
            expected = heads_of_onnx(whole().onnx / "model.onnx", images(count))
            for ours, theirs in zip(loaded.infer(images(count)), expected, strict=True):
                np.testing.assert_array_equal(ours, theirs)
        with pytest.raises(EngineError, match=r"\(5, 3, 64, 96\)") as caught:
            loaded.infer(images(5))
    assert "(1 to 4, 3, 64, 96)" in caught.value.needed
    assert load_manifest(tmp_path / "engine").input.shape == (1, 3, 64, 96)


def test_a_node_that_fixes_the_batch_is_named(trt10, tmp_path):
    def reshape(model):
        model.graph.node[-1].op_type = "Reshape"

    with pytest.raises(EngineError, match=r"\(Reshape\) fixes the number of images"):
        build_engine(edited_export(tmp_path, reshape), TensorRTTarget(batch={"max": 2}), tmp_path / "engine")


def test_a_static_engine_accepts_one_image(engine):
    with load_engine(engine) as loaded, pytest.raises(EngineError, match=r"\(2, 3, 64, 96\)") as caught:
        loaded.infer(images(2))
    assert "(1, 3, 64, 96)" in caught.value.needed


def bundle(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_two_builds_without_a_timing_cache_may_differ_and_with_one_they_do_not(trt, tmp_path):
    caches = StoredTimingCaches(Store(tmp_path / "store"))
    afresh = [build_engine(whole().onnx, TensorRTTarget(), tmp_path / f"afresh{number}") for number in range(2)]
    assert afresh[0].manifest.engine_md5 != afresh[1].manifest.engine_md5
    assert afresh[0].manifest.timing_cache_md5 is None
    cached = [build_engine(whole().onnx, TensorRTTarget(), tmp_path / f"cached{number}", caches) for number in range(2)]
    assert bundle(tmp_path / "cached0") == bundle(tmp_path / "cached1")
    assert "of this graph reused" in cached[1].notes[-1]
    assert not any("reused" in note for note in cached[0].notes)


def test_another_engine_starts_from_the_latest_cache_of_the_device_and_leaves_older_ones(trt10, tmp_path):
    caches = StoredTimingCaches(Store(tmp_path / "store"))
    first = build_engine(whole().onnx, TensorRTTarget(), tmp_path / "first", caches)
    other = build_engine(whole().onnx, TensorRTTarget(workspace_mib=64), tmp_path / "other", caches)
    assert "of other graphs reused" in other.notes[-1]
    tactics = [[layer["TacticValue"] for layer in plan_of(tmp_path / name).layers] for name in ("first", "other")]
    assert tactics[0] == tactics[1]
    again = build_engine(whole().onnx, TensorRTTarget(), tmp_path / "again", caches)
    assert again.manifest == first.manifest


def test_building_again_leaves_the_latest_cache_of_others(trt10, tmp_path):
    store = Store(tmp_path / "store")
    for number, settings in enumerate(({}, {"typing": "strong"}, {})):
        build_engine(whole().onnx, TensorRTTarget(**settings), tmp_path / str(number), StoredTimingCaches(store))
        [latest] = (tmp_path / "store" / "names").rglob("latest")
        built = load_manifest(tmp_path / str(number)).timing_cache_md5
        assert (latest.read_text() == built) == (number < 2)


def test_a_timing_cache_is_a_version_in_the_store_and_is_shared_by_the_remote(trt10, tmp_path):
    remote = tmp_path / "remote"
    here, there = (Store(tmp_path / name, str(remote)) for name in ("here", "there"))
    first = build_engine(whole().onnx, TensorRTTarget(), tmp_path / "first", StoredTimingCaches(here))
    assert here.open(first.manifest.timing_cache_md5).is_file()
    second = build_engine(whole().onnx, TensorRTTarget(), tmp_path / "second", StoredTimingCaches(there))
    assert bundle(tmp_path / "first") == bundle(tmp_path / "second")
    assert second.manifest.timing_cache_md5 == first.manifest.timing_cache_md5


def test_another_version_of_tensorrt_or_another_gpu_measures_afresh(monkeypatch, tmp_path):
    caches = StoredTimingCaches(Store(tmp_path / "store"))
    standin(monkeypatch, "10.3.0")
    build_engine(whole().onnx, TensorRTTarget(), tmp_path / "ten", caches)
    standin(monkeypatch, "10.3.0", name="Thor (stand-in)")
    assert not build_engine(whole().onnx, TensorRTTarget(), tmp_path / "thor", caches).notes
    standin(monkeypatch, "8.6.1")
    assert not build_engine(whole().onnx, TensorRTTarget(), tmp_path / "eight", caches).notes


class OtherDevice:
    """Has only the timing cache of another device."""

    def find(self, device: str, engine: str | None) -> bytes | None:
        return json.dumps({"version": "9.9", "device": "another", "entries": {}}).encode()

    def keep(self, device: str, engine: str, content: bytes) -> None:
        self.kept = content


def test_a_timing_cache_that_tensorrt_refuses_is_not_used(trt, tmp_path):
    caches = OtherDevice()
    summary = build_engine(whole().onnx, TensorRTTarget(), tmp_path / "engine", caches)
    assert "refused the timing cache; everything was measured afresh" in summary.notes[-1]
    assert json.loads(caches.kept)["entries"]


def test_a_damaged_timing_cache_fails_no_build(trt10, tmp_path):
    store = Store(tmp_path / "store")
    first = build_engine(whole().onnx, TensorRTTarget(), tmp_path / "first", StoredTimingCaches(store))
    digest = first.manifest.timing_cache_md5
    for path in (tmp_path / "store").rglob(digest[2:]):
        path.chmod(0o644)
        path.write_bytes(b"damaged")
    for path in (tmp_path / "store" / "opened").rglob("*"):
        if path.is_file() and digest in str(path):
            path.unlink()
    build_engine(whole().onnx, TensorRTTarget(), tmp_path / "second", StoredTimingCaches(store))
    with load_engine(tmp_path / "second") as loaded:
        loaded.infer(images())


def test_a_target_without_timing_cache_reads_and_writes_none(trt10, tmp_path):
    caches = StoredTimingCaches(Store(tmp_path / "store"))
    summary = build_engine(whole().onnx, TensorRTTarget(timing_cache=False), tmp_path / "engine", caches)
    assert summary.manifest.timing_cache_md5 is None
    assert not (tmp_path / "store").exists()


def test_the_store_and_the_budgets_are_no_part_of_the_code_of_a_build():
    reached = Code().modules(KIND.build_code)
    assert "robot_assets.engines.tensorrt.timing_cache" in reached
    assert not [name for name in reached if name.startswith("robot_assets.store") or name.endswith("budgets")]


def test_a_dla_gets_the_quantization_as_ranges_until_ten_and_as_qdq_from_eleven(trt, tmp_path):
    build_engine(whole().onnx, TensorRTTarget(dla={"core": 1}), tmp_path / "engine")
    plan = plan_of(tmp_path / "engine")
    operators = {node.op_type for node in plan.model.graph.node}
    assert plan.dla_core == 1
    assert "GPU_FALLBACK" in plan.flags
    assert bool(plan.ranges) == ("QuantizeLinear" not in operators) == (not trt.__version__.startswith("11"))
    assert load_manifest(tmp_path / "engine").kernels.dla == {"DLA": 1}
    with load_engine(tmp_path / "engine") as loaded:
        found = loaded.infer(images())
    for ours, theirs in zip(found, heads_of_onnx(whole().onnx / "model.onnx", images()), strict=True):
        assert np.mean(np.abs(ours - theirs) > 0.05 + 0.05 * np.abs(theirs)) < 0.02


@pytest.mark.parametrize("version", ["8.6.1", "10.3.0"])
def test_the_range_of_a_tensor_is_127_of_its_steps(monkeypatch, tmp_path, version):
    standin(monkeypatch, version)
    build_engine(whole().onnx, TensorRTTarget(dla={}), tmp_path / "engine")
    model = onnx.load(whole().onnx / "model.onnx")
    steps = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    expected = {
        node.input[0]: 127 * float(steps[node.input[1]])
        for node in model.graph.node
        if node.op_type == "QuantizeLinear"
    }
    assert plan_of(tmp_path / "engine").ranges == pytest.approx(expected)


@pytest.mark.parametrize("version", VERSIONS)
def test_layers_that_a_dla_cannot_run_go_to_the_gpu_and_are_named(monkeypatch, tmp_path, version):
    standin(monkeypatch, version, dla_lacks=("Resize",))
    summary = build_engine(whole().onnx, TensorRTTarget(dla={}), tmp_path / "engine")
    assert any("1 layers run on the GPU" in note and "upsample" in note for note in summary.notes), summary.notes
    assert "upsample" in (tmp_path / "engine" / "build.log").read_text()


@pytest.mark.parametrize("version", VERSIONS)
def test_without_fallback_a_layer_that_a_dla_cannot_run_is_refused_by_name(monkeypatch, tmp_path, version):
    standin(monkeypatch, version, dla_lacks=("Resize",))
    with pytest.raises(EngineError, match="upsample") as caught:
        build_engine(whole().onnx, TensorRTTarget(dla={"gpu_fallback": False}), tmp_path / "engine")
    assert "gpu_fallback" in caught.value.fix or "change the network" in caught.value.fix


@pytest.mark.parametrize("version", VERSIONS)
def test_a_device_without_that_dla_core_is_refused_with_its_number_of_cores(monkeypatch, tmp_path, version):
    standin(monkeypatch, version, dla_cores=0)
    with pytest.raises(EngineError, match=r"dla.core is 0, and this device has 0 DLA cores"):
        build_engine(whole().onnx, TensorRTTarget(dla={}), tmp_path / "engine")


def test_strong_typing_with_a_dla_is_refused_on_ten(trt10, tmp_path):
    with pytest.raises(EngineError, match="does not accept Q/DQ"):
        build_engine(whole().onnx, TensorRTTarget(dla={}, typing="strong"), tmp_path / "engine")


@pytest.mark.parametrize("version", ["10.3.0", "11.4.0"])
def test_a_stripped_plan_is_small_and_has_the_same_heads(monkeypatch, tmp_path, version):
    standin(monkeypatch, version)
    build_engine(whole().onnx, TensorRTTarget(), tmp_path / "whole")
    build_engine(whole().onnx, TensorRTTarget(weight_stripped=True), tmp_path / "stripped")
    assert plan_of(tmp_path / "stripped").flags[-2:] == ["REFIT_IDENTICAL", "STRIP_PLAN"]
    sizes = [load_manifest(tmp_path / name).engine_size_bytes for name in ("whole", "stripped")]
    assert sizes[1] < sizes[0] / 2
    with load_engine(tmp_path / "whole") as one, load_engine(tmp_path / "stripped") as other:
        for first, second in zip(one.infer(images()), other.infer(images()), strict=True):
            np.testing.assert_array_equal(first, second)


def test_the_weights_of_a_stripped_plan_are_the_exported_file_where_the_graph_is_unchanged(trt10, tmp_path):
    """The store has those bytes once, for the model and for all its engines."""
    build_engine(whole().onnx, TensorRTTarget(weight_stripped=True), tmp_path / "engine")
    assert md5_of(tmp_path / "engine" / "weights.onnx") == md5_of(whole().onnx / "model.onnx")


def test_other_weights_are_refused_before_they_are_read(trt10, tmp_path):
    build_engine(whole().onnx, TensorRTTarget(weight_stripped=True), tmp_path / "engine")
    with (tmp_path / "engine" / "weights.onnx").open("ab") as file:
        file.write(b"x")
    with pytest.raises(EngineError, match=r"weights.onnx has md5"):
        load_engine(tmp_path / "engine")


def test_eight_six_has_no_stripped_plans(monkeypatch, tmp_path):
    standin(monkeypatch, "8.6.1")
    with pytest.raises(EngineError, match="cannot build a plan without weights"):
        build_engine(whole().onnx, TensorRTTarget(weight_stripped=True), tmp_path / "engine")


def test_one_changed_byte_of_the_plan_is_refused_with_both_hashes(engine):
    path = engine / "engine.plan"
    flip_bit(path)
    with pytest.raises(EngineError) as caught:
        load_engine(engine)
    assert md5_of(path) in caught.value.found
    assert load_manifest(engine).engine_md5 in caught.value.found


def reseal(engine: Path, **changes) -> None:
    save_manifest(engine, load_manifest(engine).model_copy(update=changes))


def test_an_engine_of_another_platform_is_refused_with_both_fingerprints(engine):
    reseal(engine, platform_fingerprint="f" * 32, platform=load_manifest(engine).platform | {"l4t": "35.4.1"})
    with pytest.raises(EngineError, match=r"l4t: built for 35\.4\.1, here None") as caught:
        load_engine(engine)
    assert "f" * 32 in caught.value.found
    assert probe().fingerprint in caught.value.found


def test_an_engine_of_another_tensorrt_is_refused_with_both_versions(engine, monkeypatch):
    standin(monkeypatch, "11.4.0")
    with pytest.raises(EngineError, match=r"built for TensorRT 10\.3\.0, here is 11\.4\.0"):
        load_engine(engine)


def test_an_engine_of_another_gpu_is_refused_with_both_compute_capabilities(engine, monkeypatch):
    standin(monkeypatch, "10.3.0", compute_capability="11.0")
    with pytest.raises(EngineError, match=r"built for compute capability 8\.7, here is 11\.0"):
        load_engine(engine)


def test_a_plan_that_tensorrt_refuses_is_explained(engine, monkeypatch):
    trt = standin(monkeypatch, "11.4.0")
    reseal(engine, tensorrt=trt.__version__)
    with pytest.raises(EngineError, match="the plan is of another version of TensorRT") as caught:
        load_engine(engine)
    assert "got 10.3.0" in caught.value.found
    assert "robot-assets build" in caught.value.fix


def test_a_number_of_threads_is_refused_on_a_gpu(engine):
    with pytest.raises(EngineError, match="threads=2"):
        load_engine(engine, threads=2)


def test_an_operator_that_tensorrt_lacks_is_named_with_its_node(trt, tmp_path):
    def unknown(model):
        node = next(node for node in model.graph.node if node.op_type == "Relu")
        node.op_type, node.name = "Det", "the_odd_one"

    with pytest.raises(EngineError, match=r"node 'the_odd_one' \(Det\): unsupported node") as caught:
        build_engine(edited_export(tmp_path, unknown), TensorRTTarget(precision="int8_fp32"), tmp_path / "engine")
    assert "preflight.py" in caught.value.fix
    assert not (tmp_path / "engine").exists()


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("fault", "found", "fix"),
    [
        ("out_of_memory", "the device ran out of memory", "lower workspace_mib (512)"),
        (
            "workspace",
            "more scratch memory than workspace_mib allows",
            "raise workspace_mib of the target in params.yaml (it is 512)",
        ),
        ("no_kernel", "no kernel for a part of the graph.*node_conv2d", "optimization_level (2)"),
    ],
)
def test_a_failure_of_a_build_is_explained(monkeypatch, tmp_path, version, fault, found, fix):
    standin(monkeypatch, version, fault=fault)
    with pytest.raises(EngineError, match=found) as caught:
        build_engine(whole().onnx, TensorRTTarget(workspace_mib=512, optimization_level=2), tmp_path / "engine")
    assert fix in caught.value.fix


def test_without_a_cuda_device_no_object_of_tensorrt_is_used(monkeypatch, tmp_path, engine):
    standin(monkeypatch, "10.3.0", devices=0)
    for attempt in (
        lambda: build_engine(whole().onnx, TensorRTTarget(), tmp_path / "other"),
        lambda: load_engine(engine),
    ):
        with pytest.raises(EngineError, match="no CUDA device: CUDA_ERROR_NO_DEVICE") as caught:
            attempt()
        assert "runtime class nvidia" in caught.value.fix


def test_without_tensorrt_the_error_names_its_source(monkeypatch, tmp_path):
    absent(monkeypatch)
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(EngineError, match="TensorRT does not import") as caught:
        build_engine(whole().onnx, TensorRTTarget(), tmp_path / "engine")
    assert "JetPack" in caught.value.needed


@pytest.mark.parametrize("kind", ["Builder", "Runtime"])
def test_a_null_pointer_of_tensorrt_is_an_error_with_its_message(trt10, monkeypatch, tmp_path, kind):
    def null(logger):
        logger.log(trt10.ILogger.ERROR, "CUDA initialization failure with error: 35")
        raise TypeError("pybind11::init(): factory function returned nullptr")

    monkeypatch.setattr(trt10, kind, null)
    with pytest.raises(EngineError, match=f"cannot create its {kind}: CUDA initialization failure with error: 35"):
        build_engine(whole().onnx, TensorRTTarget(), tmp_path / "engine")


def test_a_failure_of_the_device_while_running_is_an_error(engine, monkeypatch):
    with load_engine(engine) as loaded:
        monkeypatch.setattr(sys.modules["tensorrt_standin.hardware"].here(), "fault", "execution")
        with pytest.raises(EngineError, match="cuStreamSynchronize of CUDA failed: CUDA_ERROR_LAUNCH_FAILED"):
            loaded.infer(images())


def test_a_device_without_memory_for_the_buffers_is_an_error_and_leaks_nothing(engine, monkeypatch):
    monkeypatch.setattr(sys.modules["tensorrt_standin.hardware"].here(), "memory_bytes", 1000)
    with pytest.raises(EngineError, match="the device is out of memory"):
        load_engine(engine)
    state = sys.modules["tensorrt_standin.hardware"].state
    assert [len(held) for held in (state.device, state.locked, state.streams)] == [0, 0, 0]


def test_a_closed_engine_has_freed_everything(engine):
    state = sys.modules["tensorrt_standin.hardware"].state
    loaded = load_engine(engine)
    loaded.infer(images())
    assert state.device
    assert state.streams
    loaded.close()
    loaded.close()
    assert [len(held) for held in (state.device, state.locked, state.streams)] == [0, 0, 0]
    with pytest.raises(EngineError, match="a closed engine"):
        loaded.infer(images())


def test_heads_belong_to_the_caller(engine):
    with load_engine(engine) as loaded:
        first = loaded.infer(images())
        kept = [head.copy() for head in first]
        loaded.infer(np.zeros_like(images()))
    for ours, before in zip(first, kept, strict=True):
        np.testing.assert_array_equal(ours, before)


def test_any_thread_may_call_an_engine(engine):
    answers = []
    with load_engine(engine) as loaded:
        expected = loaded.infer(images())
        thread = threading.Thread(target=lambda: answers.append(loaded.infer(images())))
        thread.start()
        thread.join()
    for ours, theirs in zip(answers[0], expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)
