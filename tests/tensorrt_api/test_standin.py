"""The stand-in has exactly the names of the inventories, so that tests call nothing that a version lacks."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tensorrt_api.use import VERSIONS, python_path, standin

INVENTORIES = Path(__file__).parent / "inventories"


@pytest.fixture(params=VERSIONS)
def version(request):
    return request.param


def test_the_stand_in_has_exactly_the_names_of_the_real_package(monkeypatch, version):
    trt = standin(monkeypatch, version)
    inventory = json.loads((INVENTORIES / f"{version}.json").read_text())
    assert trt.__version__ == inventory["version"]
    for name, members in inventory["enums"].items():
        assert [member.name for member in getattr(trt, name)] == members
    for name, members in inventory["classes"].items():
        own = {key for key in vars(getattr(trt, name)) if not key.startswith("_")}
        assert own == set(members), name
    public = {name for name in vars(trt) if not name.startswith("_")}
    assert public == set(inventory["enums"]) | set(inventory["classes"]) | set(inventory["funcs"]) - {"_itemsize"}


@pytest.mark.parametrize(
    ("version", "path"),
    [
        ("11.4.0", "BuilderFlag.INT8"),
        ("11.4.0", "BuilderFlag.FP16"),
        ("11.4.0", "NetworkDefinitionCreationFlag.EXPLICIT_BATCH"),
        ("11.4.0", "ITensor.set_dynamic_range"),
        ("11.4.0", "ICudaEngine.device_memory_size"),
        ("8.6.1", "ICudaEngine.device_memory_size_v2"),
        ("8.6.1", "NetworkDefinitionCreationFlag.STRONGLY_TYPED"),
        ("8.6.1", "BuilderFlag.STRIP_PLAN"),
        ("8.6.1", "OnnxParserRefitter"),
        ("10.3.0", "OnnxParser.set_builder_config"),
        ("10.3.0", "IBuilderConfig.max_workspace_size"),
    ],
)
def test_a_name_that_a_version_lacks_is_an_attribute_error(monkeypatch, version, path):
    found = standin(monkeypatch, version)
    *outer, last = path.split(".")
    for name in outer:
        found = getattr(found, name)
    with pytest.raises(AttributeError):
        getattr(found, last)


def opened(monkeypatch, version):
    """TensorRT with CUDA initialized, and a logger."""
    from robot_assets.engines.tensorrt.api import open_log
    from robot_assets.engines.tensorrt.cuda import open_device

    trt = standin(monkeypatch, version)
    open_device()
    return trt, open_log(trt)[1]


def test_an_attribute_that_does_not_exist_cannot_be_set(monkeypatch, version):
    trt, logger = opened(monkeypatch, version)
    config = trt.Builder(logger).create_builder_config()
    with pytest.raises(AttributeError, match="max_workspace"):
        config.max_workspace = 1


def test_tensorrt_before_cuda_is_an_error(monkeypatch, version):
    from robot_assets.engines.tensorrt.api import open_log

    trt = standin(monkeypatch, version)
    with pytest.raises(RuntimeError, match="before CUDA was initialized"):
        trt.Runtime(open_log(trt)[1])


def test_a_flag_of_the_wrong_kind_is_refused(monkeypatch, version):
    trt, logger = opened(monkeypatch, version)
    config = trt.Builder(logger).create_builder_config()
    with pytest.raises(TypeError, match="not a BuilderFlag"):
        config.set_flag(trt.MemoryPoolType.WORKSPACE)


def test_the_first_logger_of_a_process_is_used(monkeypatch, version):
    """Seen on TensorRT-RTX: "The logger passed into createInferBuilder differs from one already registered"."""
    trt, first = opened(monkeypatch, version)
    assert trt.Builder(first).logger is first
    assert trt.Builder(trt.Logger()).logger is first


def test_a_name_without_an_implementation_raises(monkeypatch, version):
    trt, logger = opened(monkeypatch, version)
    with pytest.raises(NotImplementedError, match=r"stand-in does not implement Builder\.max_threads"):
        _ = trt.Builder(logger).max_threads


def test_another_process_imports_it_through_pythonpath(version):
    program = (
        "import tensorrt, importlib.metadata\n"
        "from cuda.bindings import driver\n"
        "print(tensorrt.__version__, importlib.metadata.version('tensorrt'), driver.cuInit(0)[0].name)\n"
    )
    environment = {**os.environ, "PYTHONPATH": python_path(version), "TENSORRT_STANDIN": '{"devices": 0}'}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    own, metadata, status = done.stdout.split()
    assert own.startswith(version)
    assert (metadata, status) == (version, "CUDA_ERROR_NO_DEVICE")
