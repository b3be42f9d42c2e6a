"""Makes the processes of a pod believe in the device of their node: the hardware that is not here, and nothing else.

``DEVICES`` names a folder with one folder for each node that is a Jetson; its ``proc`` is what the node's procfs would
be, and ``tensorrt``, where there is one, the version of TensorRT that is installed there.
"""

import os
import sys
from pathlib import Path


def _become(device: Path) -> None:
    os.environ["ROBOT_ASSETS_PROC"] = str(device / "proc")
    version = device / "tensorrt"
    if version.exists():
        os.environ["TENSORRT_STAND_IN"] = version.read_text().strip()
        sys.path.insert(0, os.environ["TENSORRT_STAND_IN_SITE"])


_device = Path(os.environ.get("DEVICES", "/nowhere"), os.environ.get("ROBOT_ASSETS_NODE") or "no node")
if _device.is_dir():
    _become(_device)
