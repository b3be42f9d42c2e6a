"""Simulates the device of a node for the processes of its pods.

``DEVICES`` is a folder with one folder for each node that is a Jetson: ``proc`` stands in for its procfs, and
``tensorrt`` has the version of the stand-in (tests/tensorrt_api) that is installed there.
"""

import os
import sys
from pathlib import Path

_STANDIN = Path(__file__).parents[2] / "tensorrt_api" / "standin"


def _simulate(device: Path) -> None:
    os.environ["ROBOT_ASSETS_PROC"] = str(device / "proc")
    version = (device / "tensorrt").read_text().strip()
    sys.path[:0] = [str(_STANDIN / version), str(_STANDIN)]
    for name in [name for name in sys.modules if name.partition(".")[0] == "cuda"]:
        del sys.modules[name]  # imported by a .pth file of NVIDIA's bindings


_device = Path(os.environ.get("DEVICES", "/nowhere"), os.environ.get("ROBOT_ASSETS_NODE") or "no node")
if _device.is_dir():
    _simulate(_device)
