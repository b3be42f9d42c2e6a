"""An engine for ONNX Runtime matches its manifest, or it does not load."""

import json
import shutil

import numpy as np
import onnx
import pytest

from robot_assets.core.digests import md5_of
from robot_assets.core.errors import EngineError
from robot_assets.engines.load import load_engine, load_manifest
from robot_assets.engines.onnxruntime.build import build_engine
from robot_assets.export.onnx_export import export_float
from robot_assets.runtime.decoding import decoder_code
from robot_assets.runtime.manifest import save_manifest
from tests.alter import flip_bit
from tests.detector_chain import CLASSES, INTERFACE, TARGET, whole


@pytest.fixture
def engine(tmp_path):
    """A copy that a test may damage."""
    return shutil.copytree(whole().engine, tmp_path / "engine")


def rewrite_manifest(folder, **changes):
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_bytes()) | changes))


def test_convolutions_run_in_int8_and_are_counted():
    manifest = load_manifest(whole().engine)
    assert manifest.kernels.int8_convolutions == 18
    assert manifest.kernels.float_convolutions == 5  # the first one and the heads
    assert manifest.kernels.int8["QLinearAdd"] == 5
    assert "Relu" not in manifest.kernels.float32


def test_the_manifest_describes_the_engine():
    chain = whole()
    manifest = load_manifest(chain.engine)
    assert manifest.onnx_md5 == md5_of(chain.onnx / "model.onnx")
    assert manifest.engine_md5 == md5_of(chain.engine / "engine.onnx")
    assert manifest.classes == CLASSES
    assert manifest.interface == INTERFACE
    assert manifest.decoder_code == decoder_code(INTERFACE)
    assert manifest.input.shape == (1, 3, 64, 96)
    assert not {key for key in json.loads((chain.engine / "manifest.json").read_bytes()) if "ms" in key.split("_")}


def test_building_again_gives_the_same_bytes(tmp_path):
    chain = whole()
    build_engine(chain.onnx, TARGET, tmp_path / "again")
    for name in ("engine.onnx", "manifest.json"):
        assert (tmp_path / "again" / name).read_bytes() == (chain.engine / name).read_bytes()


def test_it_detects_drawn_boxes_in_an_image_of_another_size():
    pixels = np.random.default_rng(3).integers(0, 90, (64, 96, 3), dtype=np.uint8)
    pixels[15:40, 30:55] = (220, 40, 40)
    large = pixels.repeat(4, axis=0).repeat(4, axis=1)
    found = load_engine(whole().engine).predict(large)
    assert CLASSES[found.labels[0]] == "red"
    assert np.abs(found.boxes[0] - np.array([120, 60, 220, 160])).max() < 24


def test_one_changed_byte_of_the_engine_is_refused_with_both_hashes(engine):
    path = engine / "engine.onnx"
    flip_bit(path)
    with pytest.raises(EngineError) as caught:
        load_engine(engine)
    assert md5_of(path) in caught.value.found
    assert load_manifest(engine).engine_md5 in caught.value.found


@pytest.mark.parametrize("changes", [{"threads": 64}, {"decoder_code": "0" * 32}, {"engine_md5": "0" * 32}])
def test_an_edited_manifest_is_refused(engine, changes):
    rewrite_manifest(engine, **changes)
    with pytest.raises(EngineError, match="digest"):
        load_engine(engine)


def test_an_unknown_key_in_the_manifest_is_refused(engine):
    rewrite_manifest(engine, surprise=1)
    with pytest.raises(EngineError, match="surprise"):
        load_engine(engine)


def test_an_engine_of_another_platform_is_refused_with_both_fingerprints(engine):
    manifest = load_manifest(engine)
    there = {**manifest.platform, "architecture": "aarch64"}
    save_manifest(engine, manifest.model_copy(update={"platform": there, "platform_fingerprint": "f" * 32}))
    with pytest.raises(EngineError) as caught:
        load_engine(engine)
    assert "f" * 32 in caught.value.found
    assert manifest.platform_fingerprint in caught.value.found
    assert "aarch64" in caught.value.found


@pytest.mark.parametrize("name", ["engine.onnx", "manifest.json"])
def test_a_missing_file_is_refused(engine, name):
    (engine / name).unlink()
    with pytest.raises(EngineError, match=name):
        load_engine(engine)


def test_an_input_of_another_shape_is_refused_with_both_shapes():
    loaded = load_engine(whole().engine)
    with pytest.raises(EngineError, match=r"\(2, 3, 64, 96\)") as caught:
        loaded.infer(np.zeros((2, 3, 64, 96), np.float32))
    assert "(1, 3, 64, 96)" in caught.value.needed


def test_a_graph_without_quantization_is_refused(tmp_path):
    chain = whole()
    shutil.copytree(chain.onnx, tmp_path / "onnx")
    path = tmp_path / "onnx" / "model.onnx"
    export_float(chain.checkpoint, path)
    card = json.loads((tmp_path / "onnx" / "model.json").read_bytes()) | {"md5": md5_of(path)}
    (tmp_path / "onnx" / "model.json").write_text(json.dumps(card))
    with pytest.raises(EngineError, match="is quantized"):
        build_engine(tmp_path / "onnx", TARGET, tmp_path / "engine")
    assert not (tmp_path / "engine").exists()


def test_an_onnx_file_that_does_not_match_its_card_is_refused(tmp_path):
    shutil.copytree(whole().onnx, tmp_path / "onnx")
    model = onnx.load(tmp_path / "onnx" / "model.onnx")
    model.graph.doc_string = "changed"
    onnx.save(model, tmp_path / "onnx" / "model.onnx")
    with pytest.raises(EngineError, match="md5"):
        build_engine(tmp_path / "onnx", TARGET, tmp_path / "engine")


def test_engines_load_and_run_without_torch():
    import subprocess
    import sys

    program = (
        "import sys, numpy as np\n"
        "sys.modules['torch'] = None\n"
        "from pathlib import Path\n"
        "from robot_assets.engines.load import load_engine\n"
        "from robot_assets.engines import benchmark, gate\n"
        f"engine = load_engine(Path({str(whole().engine)!r}))\n"
        "engine.predict(np.zeros((64, 96, 3), np.uint8))\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_an_engine_of_another_decoder_predicts_nothing_and_both_versions_are_named(engine):
    manifest = load_manifest(engine)
    save_manifest(engine, manifest.model_copy(update={"decoder_code": "0" * 32}))
    with load_engine(engine) as loaded, pytest.raises(EngineError) as caught:
        loaded.predict(np.zeros((64, 96, 3), np.uint8))
    assert manifest.decoder_code in caught.value.found
    assert "0" * 32 in caught.value.needed
    assert "build the engine again" in caught.value.fix


@pytest.mark.parametrize(
    ("changes", "named"), [({"task": "depth"}, "'depth'"), ({"decoder": "yolo99"}, "'yolo99'")], ids=["task", "decoder"]
)
def test_a_task_or_decoder_that_is_not_installed_here_is_named(engine, changes, named):
    manifest = load_manifest(engine)
    interface = manifest.interface.model_copy(update=changes)
    save_manifest(engine, manifest.model_copy(update={"interface": interface}))
    with load_engine(engine) as loaded, pytest.raises(EngineError, match=named):
        loaded.predict(np.zeros((64, 96, 3), np.uint8))


def test_a_manifest_of_an_earlier_format_is_refused_with_both(engine):
    rewrite_manifest(engine, format=1)
    with pytest.raises(EngineError, match="has format 1") as caught:
        load_engine(engine)
    assert caught.value.needed == "format 2"


@pytest.mark.parametrize(
    "image",
    [np.zeros((64, 96), np.uint8), np.zeros((64, 96, 4), np.uint8), np.zeros((64, 96, 3), np.float32)],
    ids=["grey", "RGBA", "float"],
)
def test_an_image_that_is_not_rgb_bytes_is_refused(image):
    with load_engine(whole().engine) as loaded, pytest.raises(EngineError, match=r"image (uint8|float32) \(64, 96"):
        loaded.predict(image)
