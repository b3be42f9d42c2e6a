"""The part of CUDA that engines need: the real bindings without a device, and errors after a fork."""

import inspect
import subprocess
import sys

import pytest

from robot_assets.core.errors import EngineError
from robot_assets.engines.tensorrt import cuda
from tests.tensorrt_api.use import absent, standin


@pytest.fixture
def no_driver():
    """The real bindings; skipped on a machine that has NVIDIA's driver."""
    if cuda.find_device() is not None:
        pytest.skip("this machine has a CUDA device; the test is about machines without one")


def test_without_a_driver_the_real_bindings_give_an_error_with_a_fix(no_driver, monkeypatch):
    absent(monkeypatch)
    with pytest.raises(EngineError, match="no CUDA device") as caught:
        cuda.open_device()
    assert "runtime class nvidia" in caught.value.fix


def test_a_device_is_looked_for_in_another_process(monkeypatch):
    standin(monkeypatch, "10.3.0")
    assert cuda.find_device() is None or cuda._opened_in is None
    assert not sys.modules["tensorrt_standin.hardware"].state.is_initialized


def test_without_the_bindings_the_error_names_the_extra(monkeypatch):
    absent(monkeypatch)
    monkeypatch.setitem(sys.modules, "cuda", None)
    with pytest.raises(EngineError, match="bindings of CUDA do not import") as caught:
        cuda.open_device()
    assert "robot-assets[jetson]" in caught.value.fix


def test_a_device_has_its_name_and_compute_capability(monkeypatch):
    standin(monkeypatch, "10.3.0", compute_capability="11.0", name="Thor")
    device = cuda.open_device()
    assert (device.name, device.compute_capability) == ("Thor", "11.0")


def test_cuda_in_a_child_forked_after_its_initialization_is_an_error():
    program = (
        "import os, sys\n"
        "from robot_assets.engines.tensorrt import cuda\n"
        "cuda.open_device()\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    try:\n"
        "        cuda.open_device()\n"
        "    except Exception as error:\n"
        "        os._exit(7 if 'forked from' in str(error) and 'spawn' in str(error) else 1)\n"
        "    os._exit(0)\n"
        "sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
    )
    from tests.tensorrt_api.use import python_path

    done = subprocess.run([sys.executable, "-c", program], env=_environment(python_path("10.3.0")), check=False)
    assert done.returncode == 7


def _environment(path: str) -> dict[str, str]:
    import os

    return {**os.environ, "PYTHONPATH": path}


def test_every_function_of_the_stand_in_is_one_of_the_real_bindings(monkeypatch):
    absent(monkeypatch)
    from cuda.bindings import driver as real

    standin(monkeypatch, "10.3.0")
    from tensorrt_standin import driver as ours

    functions = {name: function for name, function in vars(ours).items() if name.startswith("cu")}
    assert len(functions) > 15
    for name, function in functions.items():
        signature = getattr(real, name).__doc__.strip().splitlines()[0]
        for parameter in inspect.signature(function).parameters:
            assert parameter in signature, signature
    for kind in ("CUresult", "CUdevice_attribute"):
        for member in getattr(ours, kind):
            assert getattr(getattr(real, kind), member.name) == member.value
