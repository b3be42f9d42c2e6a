"""Streams: a sensor with its rate and deadline, and the engine that processes its frames."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path

from robot_assets.core.errors import EngineError
from robot_assets.core.spec import Spec
from robot_assets.profiling.periodic import SECOND_NS
from robot_assets.profiling.spec import ProfileSpec, SensorSpec

MILLISECOND_NS = SECOND_NS // 1000


class Stream(Spec):
    """One sensor and its engine.

    Attributes:
        name: Unique.
        engine: Directory of the engine.
        rate_hz: Frames per second.
        deadline_ms: From the release of a frame to its result.
        phase_ms: First frame after the start.
    """

    name: str
    engine: Path
    rate_hz: float
    deadline_ms: float
    phase_ms: float = 0.0

    @property
    def period_ns(self) -> int:
        """Nanoseconds from one frame to the next, rounded up: 30 Hz are 30 frames in a second, not 31."""
        return math.ceil(SECOND_NS / self.rate_hz)

    @property
    def phase_ns(self) -> int:
        """Release of the first frame after the start."""
        return round(self.phase_ms * MILLISECOND_NS)

    @property
    def deadline_ns(self) -> int:
        """From the release of a frame to its result."""
        return round(self.deadline_ms * MILLISECOND_NS)


def streams_of(spec: ProfileSpec, engines: Mapping[str, Path]) -> tuple[Stream, ...]:
    """Create one stream for each sensor of ``spec``, in its order.

    Args:
        spec: Models with their sensors.
        engines: Directory of each model's engine, by the name of the model.

    Raises:
        EngineError: A model has no engine.
    """
    if missing := sorted(spec.models.keys() - engines.keys()):
        raise EngineError(
            f"no engine for {', '.join(missing)}",
            needed="an engine for every model of the profile",
            fix=f"robot-assets build {missing[0]}",
        )
    return tuple(stream for model, sensor in spec.models.items() for stream in _of_model(model, sensor, engines[model]))


def _of_model(model: str, sensor: SensorSpec, engine: Path) -> Iterator[Stream]:
    for number in range(1, sensor.sensors + 1):
        yield Stream(
            name=model if sensor.sensors == 1 else f"{model} {number}",
            engine=engine,
            rate_hz=sensor.rate_hz,
            deadline_ms=sensor.deadline_ms or sensor.period_ms,
            phase_ms=sensor.phase_ms,
        )
