"""Replaces TensorRT and CUDA by the stand-in, in this process for a test, or by PYTHONPATH in another process."""

import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

VERSIONS = ("8.6.1", "10.3.0", "11.4.0")
_STANDIN = Path(__file__).parent / "standin"
_NAMES = ("tensorrt", "tensorrt_standin", "cuda")


def folders(version: str) -> list[str]:
    """Folders to prepend to the import path for a version."""
    if version not in VERSIONS:
        raise ValueError(f"no stand-in for TensorRT {version}; needed one of {', '.join(VERSIONS)}")
    return [str(_STANDIN / version), str(_STANDIN)]


def python_path(version: str) -> str:
    """PYTHONPATH for another process: the folders, then the current PYTHONPATH."""
    return os.pathsep.join([*folders(version), *filter(None, [os.environ.get("PYTHONPATH")])])


def standin(monkeypatch: pytest.MonkeyPatch, version: str, **hardware: Any) -> ModuleType:
    """Import the stand-in for the duration of a test; return its module ``tensorrt``."""
    import importlib

    absent(monkeypatch)
    for folder in reversed(folders(version)):
        monkeypatch.syspath_prepend(folder)
    trt = importlib.import_module("tensorrt")
    for name, value in hardware.items():
        monkeypatch.setattr(sys.modules["tensorrt_standin.hardware"].here(), name, value)
    return trt


def absent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unload TensorRT and CUDA for the duration of a test."""
    for name in [name for name in sys.modules if name.partition(".")[0] in _NAMES]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr("robot_assets.engines.tensorrt.cuda._opened_in", None)


if __name__ == "__main__":
    print(python_path(sys.argv[1]))
