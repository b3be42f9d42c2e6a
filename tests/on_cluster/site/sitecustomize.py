"""Makes the processes of a pod believe in the device of their node: the hardware that is not here, and nothing else.

``DEVICES`` names a folder with one folder for each node that is a Jetson: its ``proc`` is what the node's procfs would
be, and ``tensorrt`` the version that is installed there, of the stand-in in tests/tensorrt_api.
"""

import os
import sys
from pathlib import Path

_STANDIN = Path(__file__).parents[2] / "tensorrt_api" / "standin"


def _become(device: Path) -> None:
    os.environ["ROBOT_ASSETS_PROC"] = str(device / "proc")
    version = (device / "tensorrt").read_text().strip()
    sys.path[:0] = [str(_STANDIN / version), str(_STANDIN)]
    for name in [name for name in sys.modules if name.partition(".")[0] == "cuda"]:
        del sys.modules[name]  # a .pth file of NVIDIA's bindings has put it there


_device = Path(os.environ.get("DEVICES", "/nowhere"), os.environ.get("ROBOT_ASSETS_NODE") or "no node")
if _device.is_dir():
    _become(_device)
