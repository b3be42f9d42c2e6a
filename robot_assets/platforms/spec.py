"""An entry of ``targets``: what an engine is built with, and how its device is observed.

How a device is observed changes no engine, so it is not in ``robot_assets.engines.spec``, and not in the parameters of
an engine's stage.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from robot_assets.engines.spec import OnnxRuntimeTarget, TensorRTTarget
from robot_assets.spec import Spec


class ObservedDevice(Spec):
    """How the device of a target is observed."""

    platform: Literal["here", "reported", "node"] = Field(
        default="here",
        description="here: the machine of the code location is the device, and is probed; reported: the device "
        "says what it is with `robot-assets platform report`; node: the Kubernetes nodes with the label "
        "robot-assets/target=TARGET say so, with `robot-assets platform publish`",
    )


class OnnxRuntimeEntry(OnnxRuntimeTarget, ObservedDevice):
    """A target of ONNX Runtime, and how its device is observed."""


class TensorRTEntry(TensorRTTarget, ObservedDevice):
    """A target of TensorRT, and how its device is observed."""


TargetEntry: TypeAlias = Annotated[OnnxRuntimeEntry | TensorRTEntry, Field(discriminator="kind")]
"""One entry of ``targets`` in params.yaml, by its ``kind``."""
