"""Parameters of a profile: which engines run together, how often, and what the robot can live with."""

from __future__ import annotations

from pydantic import Field, model_validator

from robot_assets.core.spec import Spec

ROOM = "profile"
"""Profiles are the assets ``profile/<target>``."""

FRAMES_MIN = 20
"""Fewer frames than this make no percentile."""

FRAMES_ALONE_MIN = 5


class FitSpec(Spec):
    """What the set must hold to fit the robot."""

    missed_percent_max: float = Field(
        default=1.0,
        ge=0,
        lt=100,
        description="frames of one sensor, in percent, that may be answered late or not at all",
    )
    memory_mib_max: float | None = Field(
        default=None, gt=0, description="memory of the process that runs all engines; none: it is measured, not judged"
    )


class SensorSpec(Spec):
    """What one model is fed by: a camera at 15 Hz, a depth sensor at 10 Hz."""

    rate_hz: float = Field(gt=0, le=1000, description="frames a second of one sensor")
    deadline_ms: float | None = Field(
        default=None,
        gt=0,
        le=60_000,
        description="from the release of a frame to its answer; none: one period of the sensor",
    )
    phase_ms: float = Field(
        default=0,
        ge=0,
        description="first frame after the start; equal phases release all frames at once, which is the worst case",
    )
    sensors: int = Field(
        default=1, ge=1, le=16, description="sensors of this kind; each has a thread and an engine of its own"
    )

    @property
    def period_ms(self) -> float:
        """Time between two frames, ms."""
        return 1e3 / self.rate_hz

    @model_validator(mode="after")
    def _phase_within_a_period(self) -> SensorSpec:
        if self.phase_ms >= self.period_ms:
            raise ValueError(
                f"phase_ms is {self.phase_ms:g} and a period of {self.rate_hz:g} Hz {self.period_ms:.4g} ms; "
                "needed a phase_ms within one period"
            )
        return self


class ProfileSpec(Spec):
    """The ``profile`` of a target: a robot's set of engines, as one measurement runs it."""

    models: dict[str, SensorSpec] = Field(min_length=1, description="by the name of the model")
    duration_s: float = Field(default=20, gt=0, le=3600, description="how long all of them run together")
    alone_s: float = Field(default=5, gt=0, le=3600, description="how long each of them runs alone before, to compare")
    fit: FitSpec = FitSpec()

    @model_validator(mode="after")
    def _long_enough_for_percentiles(self) -> ProfileSpec:
        for name, sensor in self.models.items():
            for field, seconds, needed in (
                ("duration_s", self.duration_s, FRAMES_MIN),
                ("alone_s", self.alone_s, FRAMES_ALONE_MIN),
            ):
                if seconds * sensor.rate_hz < needed:
                    raise ValueError(
                        f"{field} is {seconds:g} and models.{name}.rate_hz {sensor.rate_hz:g}: that is "
                        f"{int(seconds * sensor.rate_hz)} frames; needed {needed} or more, so a {field} of at least "
                        f"{needed / sensor.rate_hz:g}"
                    )
        return self
