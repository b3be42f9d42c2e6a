"""Parameters of a profile: engines, rates, durations and limits."""

from __future__ import annotations

from pydantic import Field, model_validator

from robot_assets.core.spec import Spec

FRAMES_MIN = 20
"""Fewer frames give no percentiles."""

FRAMES_ALONE_MIN = 5


class FitSpec(Spec):
    """Limits that a set of engines has to keep."""

    missed_percent_max: float = Field(
        default=1.0,
        ge=0,
        lt=100,
        description="percentage of the frames of one sensor that may be answered late or not at all",
    )
    memory_mib_max: float | None = Field(
        default=None, gt=0, description="memory of the process with all engines; none: measured, not judged"
    )


class SensorSpec(Spec):
    """The sensors of one model, such as a camera at 15 Hz."""

    rate_hz: float = Field(gt=0, le=1000, description="frames per second of one sensor")
    deadline_ms: float | None = Field(
        default=None,
        gt=0,
        le=60_000,
        description="from the release of a frame to its result; none: one period of the sensor",
    )
    phase_ms: float = Field(
        default=0,
        ge=0,
        description="first frame after the start; equal phases release all frames at once, the worst case",
    )
    sensors: int = Field(
        default=1, ge=1, le=16, description="number of sensors; each has its own thread and engine instance"
    )

    @property
    def period_ms(self) -> float:
        """Time between two frames, ms."""
        return 1e3 / self.rate_hz

    @model_validator(mode="after")
    def _phase_within_a_period(self) -> SensorSpec:
        if self.phase_ms >= self.period_ms:
            raise ValueError(
                f"phase_ms is {self.phase_ms:g}, and the period of {self.rate_hz:g} Hz is {self.period_ms:.4g} ms; "
                "needed a phase_ms within one period"
            )
        return self


class ProfileSpec(Spec):
    """The ``profile`` of a target: the engines that a robot runs together on it."""

    models: dict[str, SensorSpec] = Field(min_length=1, description="by the name of the model")
    duration_s: float = Field(default=20, gt=0, le=3600, description="duration of the run with all engines")
    alone_s: float = Field(default=5, gt=0, le=3600, description="duration of the run of each engine alone, before")
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
                        f"{field} is {seconds:g} and models.{name}.rate_hz is {sensor.rate_hz:g}: "
                        f"{int(seconds * sensor.rate_hz)} frames; needed {needed} or more, so a {field} of at least "
                        f"{needed / sensor.rate_hz:g}"
                    )
        return self
