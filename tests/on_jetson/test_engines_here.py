"""TensorRT engines on a real Jetson: ``make test-jetson``."""

import json
from pathlib import Path

import numpy as np
import pytest

from robot_assets.core.errors import EngineError
from robot_assets.engines.benchmark import measure
from robot_assets.engines.load import load_engine, load_manifest
from robot_assets.engines.tensorrt.api import features_of, import_tensorrt
from robot_assets.engines.tensorrt.build import build_engine
from robot_assets.engines.tensorrt.cuda import find_device
from robot_assets.engines.tensorrt.spec import TensorRTTarget
from robot_assets.engines.tensorrt.timing_cache_store import StoredTimingCaches
from robot_assets.profiling.streams import Stream
from robot_assets.profiling.subprocess_run import measure_in_subprocess
from robot_assets.store import Store
from tests.on_jetson.exported import HEIGHT, WIDTH, write_export

INVENTORIES = Path(__file__).parents[1] / "tensorrt_api" / "inventories"


def images(count: int = 1) -> np.ndarray:
    return np.random.default_rng(5).random((count, 3, HEIGHT, WIDTH), dtype=np.float32)


def assert_agree(exported: Path, found: list[np.ndarray], batch: np.ndarray) -> None:
    """Heads agree with ONNX Runtime, except for a few values that int8 kernels round differently."""
    onnxruntime = pytest.importorskip("onnxruntime", reason="no onnxruntime to compare with")
    session = onnxruntime.InferenceSession(str(exported / "model.onnx"), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    references = [dict(zip(names, session.run(None, {"images": image[None]}), strict=True)) for image in batch]
    for head, name in zip(found, ("cls_s8", "box_s8", "cls_s16", "box_s16"), strict=True):
        expected = np.concatenate([reference[name] for reference in references])
        assert head.shape == expected.shape
        assert np.mean(np.abs(head - expected) > 0.1 + 0.05 * np.abs(expected)) < 0.05, name


@pytest.fixture(scope="module")
def engine(exported, tmp_path_factory):
    folder = tmp_path_factory.mktemp("engine")
    build_engine(exported, TensorRTTarget(), folder / "engine")
    return folder / "engine"


def test_probe_and_cuda_report_the_same_compute_capability(jetson):
    assert jetson.compute_capability in (None, find_device()["compute_capability"])


def test_the_installed_version_has_the_names_of_its_inventory():
    trt = import_tensorrt()
    features = features_of(trt)
    path = INVENTORIES / f"{'.'.join(features.version.split('.')[:3])}.json"
    if not path.exists():
        known = ", ".join(sorted(path.stem for path in INVENTORIES.iterdir()))
        pytest.skip(f"no inventory of TensorRT {features.version}; available: {known}")
    inventory = json.loads(path.read_text())
    missing = [name for name in (*inventory["enums"], *inventory["classes"]) if not hasattr(trt, name)]
    assert not missing
    assert features.has_precision_flags == ("INT8" in inventory["enums"]["BuilderFlag"])


def test_an_engine_agrees_with_onnx_runtime(exported, engine):
    with load_engine(engine) as loaded:
        assert_agree(exported, loaded.infer(images()), images())


def test_convolutions_run_in_int8(engine):
    manifest = load_manifest(engine)
    print(f"\nTensorRT {manifest.tensorrt} on {manifest.gpu.name}: {manifest.kernels.model_dump()}")
    assert manifest.kernels.int8_convolutions > 0, [layer.model_dump() for layer in manifest.layers]


def test_the_latency_is_measured(engine):
    found = measure(engine, inferences=100)
    print(f"\np50 {found.p50:.3f} ms, p95 {found.p95:.3f} ms, p99 {found.p99:.3f} ms")
    assert len(found.milliseconds) == 100


@pytest.mark.parametrize("precision", ["int8_fp16", "int8_fp32"])
@pytest.mark.parametrize("typing", ["weak", "strong"])
def test_every_typing_of_the_version_agrees_with_onnx_runtime(exported, tmp_path, precision, typing):
    features = features_of(import_tensorrt())
    if not (features.has_precision_flags if typing == "weak" else features.has_strong_typing):
        pytest.skip(f"TensorRT {features.version} has no {typing} typing")
    build_engine(exported, TensorRTTarget(precision=precision, typing=typing), tmp_path / "engine")
    with load_engine(tmp_path / "engine") as loaded:
        assert_agree(exported, loaded.infer(images()), images())


def test_a_dynamic_batch_agrees_with_single_images(exported, tmp_path):
    build_engine(exported, TensorRTTarget(batch={"max": 4, "optimal": 2}), tmp_path / "engine")
    with load_engine(tmp_path / "engine") as loaded:
        for count in (4, 1, 3):
            assert_agree(exported, loaded.infer(images(count)), images(count))


def test_the_same_build_with_its_timing_cache_gives_the_same_bytes(exported, tmp_path):
    caches = StoredTimingCaches(Store(tmp_path / "store"))
    first = build_engine(exported, TensorRTTarget(), tmp_path / "first", caches)
    second = build_engine(exported, TensorRTTarget(), tmp_path / "second", caches)
    assert any("reused" in note for note in second.notes)
    for name in ("build.log", "layers.json", "engine.plan", "manifest.json"):
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes(), name
    assert first.manifest.timing_cache_md5


def test_a_weight_stripped_plan_agrees_with_onnx_runtime(exported, tmp_path):
    features = features_of(import_tensorrt())
    if not features.has_stripped_plans:
        pytest.skip(f"TensorRT {features.version} has no weight-stripped plans")
    build_engine(exported, TensorRTTarget(weight_stripped=True), tmp_path / "engine")
    with load_engine(tmp_path / "engine") as loaded:
        assert_agree(exported, loaded.infer(images()), images())


def test_an_engine_on_a_dla_agrees_with_onnx_runtime(jetson, exported, tmp_path):
    if not jetson.dla_cores:
        pytest.skip("this device has no enabled DLA")
    build_engine(exported, TensorRTTarget(dla={"core": 0}), tmp_path / "engine")
    print(f"\n{load_manifest(tmp_path / 'engine').kernels.model_dump()}")
    with load_engine(tmp_path / "engine") as loaded:
        assert_agree(exported, loaded.infer(images()), images())


def test_two_engines_share_the_device(exported, engine):
    with load_engine(engine) as one, load_engine(engine) as other:
        for _ in range(20):
            for first, second in zip(one.infer(images()), other.infer(images()), strict=True):
                np.testing.assert_array_equal(first, second)


def test_engines_are_profiled_together_at_the_rates_of_their_sensors(jetson, exported, engine, tmp_path):
    engines = {"camera": engine, "depth": engine}
    if jetson.dla_cores:
        build_engine(exported, TensorRTTarget(dla={"core": 0}), tmp_path / "dla")
        engines["dla"] = tmp_path / "dla"
    rates = {"camera": 15, "depth": 10, "dla": 15}
    streams = [
        Stream(name=name, engine=path, rate_hz=rates[name], deadline_ms=1000 / rates[name])
        for name, path in engines.items()
    ]
    found = measure_in_subprocess("this device", streams, duration_s=4, alone_s=1).profile
    print(f"\n{json.dumps(found.model_dump(mode='json'), indent=1)}")
    for one in found.streams:
        assert one.kind == "tensorrt"
        assert one.together.answered + one.together.skipped == one.together.frames == 4 * one.rate_hz


def test_an_operator_that_tensorrt_lacks_is_named_with_its_node(tmp_path):
    write_export(tmp_path, odd_operator="Det")
    with pytest.raises(EngineError, match="the_odd_one"):
        build_engine(tmp_path, TensorRTTarget(), tmp_path / "engine")


def test_an_altered_plan_is_refused(exported, tmp_path):
    build_engine(exported, TensorRTTarget(), tmp_path / "engine")
    with (tmp_path / "engine" / "engine.plan").open("r+b") as file:
        file.seek(100)
        file.write(b"altered")
    with pytest.raises(EngineError, match="its manifest says"):
        load_engine(tmp_path / "engine")
