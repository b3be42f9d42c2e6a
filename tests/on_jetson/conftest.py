"""What these tests need: a Jetson with TensorRT for this Python, and nothing of training; see docs/jetson.md."""

import importlib.util

import pytest

from robot_assets.engines.tensorrt.cuda import find_device
from robot_assets.platforms.probe import Platform, probe
from tests.on_jetson.exported import write_export


@pytest.fixture(scope="session", autouse=True)
def jetson() -> Platform:
    """The device; everything here is skipped elsewhere, and says why."""
    here = probe()
    if here.l4t is None and here.soc is None:
        pytest.skip(f"this {here.architecture} machine is no Jetson: no release of Jetson Linux, no Tegra")
    if importlib.util.find_spec("tensorrt") is None:
        pytest.skip("no tensorrt for this Python; docs/jetson.md says how to install the wheel of the device's version")
    if find_device() is None:
        pytest.skip("CUDA finds no device; in a container use runtime class nvidia")
    return here


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory):
    """A small quantized detector as ``export_onnx`` writes one, made without torch."""
    folder = tmp_path_factory.mktemp("exported")
    write_export(folder)
    return folder
