"""An entry of ``targets``: what an engine is built with, and how its device is observed.

How a device is observed changes no engine, so it is not in ``robot_assets.engines.spec``, which is part of the code
of every engine.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from robot_assets.engines.spec import TargetSpec


class TargetEntry(TargetSpec):
    """One entry of ``targets`` in params.yaml."""

    platform: Literal["here", "reported", "node"] = Field(
        default="here",
        description="here: the machine of the code location is the device, and is probed; reported: the device "
        "says what it is with `robot-assets platform report`; node: the Kubernetes nodes with the label "
        "robot-assets/target=TARGET say so, with `robot-assets platform publish`",
    )
