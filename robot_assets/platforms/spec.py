"""An entry of ``targets``: what an engine is built with, how its device is observed, and what runs on it together.

How a device is observed and what else runs on it change no engine, so they are not in ``robot_assets.engines.spec``,
and not in the parameters of an engine's stage.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from robot_assets.core.spec import Spec
from robot_assets.engines.spec import OnnxRuntimeTarget, TensorRTTarget
from robot_assets.profiling.spec import ProfileSpec


class ObservedDevice(Spec):
    """How the device of a target is observed."""

    platform: Literal["here", "reported", "node"] = Field(
        default="here",
        description="here: the machine of the code location is the device, and is probed; reported: the device "
        "says what it is with `robot-assets platform report`; node: the Kubernetes nodes with the label "
        "robot-assets/target=TARGET say so, with `robot-assets platform publish`",
    )


class ProfiledDevice(Spec):
    """What a robot runs on the device of a target."""

    profile: ProfileSpec | None = Field(
        default=None, description="the engines that a robot runs together on this device; none: nothing is profiled"
    )


class OnnxRuntimeEntry(OnnxRuntimeTarget, ObservedDevice, ProfiledDevice):
    """A target of ONNX Runtime, how its device is observed, and what runs on it."""


class TensorRTEntry(TensorRTTarget, ObservedDevice, ProfiledDevice):
    """A target of TensorRT, how its device is observed, and what runs on it."""


TargetEntry: TypeAlias = Annotated[OnnxRuntimeEntry | TensorRTEntry, Field(discriminator="kind")]
"""One entry of ``targets`` in params.yaml, by its ``kind``."""
