"""The content of ``profile.json``. Light to import."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from robot_assets.core.documents import write_json
from robot_assets.core.errors import EngineError
from robot_assets.core.spec import Spec
from robot_assets.core.validation import mistakes

PROFILE = "profile.json"
TRACE = "trace.json"


class Percentiles(Spec):
    """A distribution of times in milliseconds."""

    p50: float
    p95: float
    p99: float
    max: float


class Run(Spec):
    """Figures of one stream in one run.

    Attributes:
        frames: Released by its sensor.
        answered: Processed by the engine.
        late: Answered after the deadline.
        skipped: Replaced by a newer frame while the engine was busy, never answered.
        latency_ms: From the sensor to the result, of the answered frames.
        inference_ms: Of the engine.
        queueing_ms: Wait for the previous frame.
        jitter_ms: Wait although the thread was free.
        busy_percent: Share of the time that its thread spent in the engine.
    """

    frames: int
    answered: int
    late: int
    skipped: int
    latency_ms: Percentiles
    inference_ms: Percentiles
    queueing_ms: Percentiles
    jitter_ms: Percentiles
    busy_percent: float

    @property
    def missed(self) -> int:
        """Frames without a result by their deadline."""
        return self.late + self.skipped

    @property
    def missed_percent(self) -> float:
        """The same in percent of all frames."""
        return 100 * self.missed / self.frames if self.frames else 0.0


class StreamResult(Spec):
    """One sensor and its engine.

    Attributes:
        name: Of the stream: the model, with a number when it has several sensors.
        engine_md5: Of the engine's bytes.
        kind: Its runtime, such as ``onnxruntime``.
        place: Its processor: a number of threads, the GPU, a DLA.
        rate_hz: Frames per second.
        deadline_ms: From the release of a frame to its result.
        phase_ms: First frame after the start.
        load_s: Seconds to load and verify the engine.
        memory_mib: Resident memory that loading it added.
        together: The run with all others.
        alone: The run alone.
        memory_of: Whose memory the engine takes: that of its process, or memory that CPU and GPU of the device share.
    """

    name: str
    engine_md5: str
    kind: str
    place: str
    rate_hz: float
    deadline_ms: float
    phase_ms: float
    load_s: float
    memory_mib: float
    together: Run
    alone: Run
    memory_of: Literal["process", "device"] = "process"

    @property
    def slowdown(self) -> float:
        """Median inference together with the others, divided by that alone."""
        return self.together.inference_ms.p50 / max(self.alone.inference_ms.p50, 1e-9)


class Machine(Spec):
    """Figures of the machine while all engines ran together.

    Attributes:
        core_percent: Utilization of each core, by its number.
        own_cores: Cores that the engines used on average.
        other_cores: Cores that all other processes used on average; None where unknown.
        stolen_ms: Time that a hypervisor stole from all cores; None where unknown.
        resident_mib: Peak resident memory of the process with all engines.
        runtime_mib: Its resident memory before the first engine: Python and the libraries.
        taken_mib: Decrease of the available memory of the machine since before the first engine.
        power_w_mean: Watts; None without a sensor.
        power_w_max: Watts of the highest sample.
        temperature_c_max: Degrees Celsius of the hottest sensor; None without a sensor.
    """

    core_percent: dict[int, float]
    own_cores: float
    other_cores: float | None
    resident_mib: float
    runtime_mib: float
    taken_mib: float
    power_w_mean: float | None = None
    power_w_max: float | None = None
    temperature_c_max: float | None = None
    stolen_ms: float | None = None

    @property
    def busiest_core_percent(self) -> float | None:
        """Utilization of the busiest core; None where unknown."""
        return max(self.core_percent.values(), default=None)


class Profile(Spec):
    """One measurement of a set of engines."""

    format: int = 1
    target: str
    duration_s: float
    alone_s: float
    platform_fingerprint: str
    machine: Machine
    streams: tuple[StreamResult, ...]

    @property
    def frames(self) -> int:
        """Frames of all streams."""
        return sum(stream.together.frames for stream in self.streams)

    @property
    def missed(self) -> int:
        """Missed deadlines of all streams."""
        return sum(stream.together.missed for stream in self.streams)

    @property
    def memory_mib(self) -> float:
        """Memory of the set.

        Memory of a GPU is not part of the resident memory; where the GPU shares the memory of the machine, it is part
        of the decrease of the available memory.
        """
        if any(stream.memory_of == "device" for stream in self.streams):
            return max(self.machine.resident_mib, self.machine.runtime_mib + self.machine.taken_mib)
        return self.machine.resident_mib


def save_profile(folder: Path, profile: Profile) -> None:
    """Write ``profile.json`` into ``folder``."""
    write_json(folder / PROFILE, profile.model_dump(mode="json"))


def load_profile(folder: Path) -> Profile:
    """Read ``profile.json`` of the artifact ``folder``.

    Raises:
        EngineError: It is missing or not a profile.
    """
    path = folder / PROFILE
    try:
        return Profile.model_validate_json(path.read_bytes())
    except OSError as error:
        mistake = str(error.strerror)
    except ValidationError as error:
        mistake = "; ".join(mistakes(error))
    raise EngineError(
        f"{path} is not a profile: {mistake}",
        needed="the file that profiling wrote",
        fix="profile the engines again, or restore the whole artifact from the store",
    )
