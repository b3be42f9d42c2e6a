"""Fixtures that need a Jetson with TensorRT for this Python, without training extras; see docs/jetson.md."""

import importlib.util

import pytest

from robot_assets.engines.tensorrt.cuda import find_device
from robot_assets.platforms.probe import Platform, probe
from tests.on_jetson.exported import write_export


@pytest.fixture(scope="session", autouse=True)
def jetson() -> Platform:
    """The device; on other machines all tests here are skipped with the reason."""
    here = probe()
    if here.l4t is None and here.soc is None:
        pytest.skip(f"this {here.architecture} machine is not a Jetson: no release of Jetson Linux, no Tegra")
    if importlib.util.find_spec("tensorrt") is None:
        pytest.skip("no tensorrt for this Python; docs/jetson.md explains how to install the wheel for the device")
    if find_device() is None:
        pytest.skip("CUDA finds no device; in a container use runtime class nvidia")
    return here


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory):
    """A small quantized detector in the format of ``export_onnx``, created without torch."""
    folder = tmp_path_factory.mktemp("exported")
    write_export(folder)
    return folder
