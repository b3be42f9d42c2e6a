"""The stand-in for ``cuda.bindings.driver``: the functions that ``robot_assets/engines/tensorrt/cuda.py`` calls."""

from tensorrt_standin.driver import *  # noqa: F403
