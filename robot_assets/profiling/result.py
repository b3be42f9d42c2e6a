"""What a profile found: the content of ``profile.json``. Light to import."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import ValidationError

from robot_assets.core.errors import EngineError
from robot_assets.core.spec import Spec

PROFILE = "profile.json"
TRACE = "trace.json"


class Percentiles(Spec):
    """A distribution of times in milliseconds."""

    p50: float
    p95: float
    p99: float
    max: float


class Run(Spec):
    """What one stream did in one run.

    Attributes:
        frames: Released by its sensor.
        answered: Worked on.
        late: Answered after the deadline.
        skipped: Replaced by a newer frame while the engine was busy, never answered.
        latency_ms: From the sensor to the answer, of the frames that were answered.
        inference_ms: The engine alone.
        queueing_ms: Waited for the frame before.
        jitter_ms: Waited although the thread was free.
        busy_percent: Share of the time in which its thread was in the engine.
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
        """Frames that had no answer by their deadline."""
        return self.late + self.skipped

    @property
    def missed_percent(self) -> float:
        """The same in percent of all frames."""
        return 100 * self.missed / self.frames if self.frames else 0.0


class StreamResult(Spec):
    """One sensor and its engine.

    Attributes:
        name: Of the stream: the model, with a number when several sensors feed it.
        engine_md5: Of the engine's bytes.
        kind: What runs it, such as ``onnxruntime``.
        place: What it runs on: its threads, the GPU, a DLA.
        rate_hz: Frames a second.
        deadline_ms: From the release of a frame to its answer.
        phase_ms: First frame after the start.
        load_s: To load and verify the engine.
        memory_mib: Resident memory that loading it added.
        together: Beside all others.
        alone: By itself.
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

    @property
    def slowdown(self) -> float:
        """What running together costs: median inference beside the others, over that alone."""
        return self.together.inference_ms.p50 / max(self.alone.inference_ms.p50, 1e-9)


class Machine(Spec):
    """What the machine did while all engines ran together.

    Attributes:
        core_percent: How busy each core was, by its number.
        own_cores: Cores that the engines kept busy on average.
        other_cores: Cores that everything else kept busy; None where that is not known.
        stolen_ms: How long a hypervisor kept the cores from their work, all together; None where that is not known.
        resident_mib: The most memory that the process with all engines ever held.
        runtime_mib: Of that, what it held before the first engine: Python and the libraries.
        taken_mib: How much less memory the machine had for others at the end than before the first engine.
        power_w_mean: Watts; None where no sensor tells.
        power_w_max: Watts at the highest look.
        temperature_c_max: Degrees Celsius of the hottest sensor; None where there is none.
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
        """The busiest core; None where nothing is known."""
        return max(self.core_percent.values(), default=None)


class Profile(Spec):
    """All of it."""

    format: int = 1
    target: str
    duration_s: float
    alone_s: float
    platform_fingerprint: str
    machine: Machine
    streams: tuple[StreamResult, ...]

    @property
    def frames(self) -> int:
        """Of all streams together."""
        return sum(stream.together.frames for stream in self.streams)

    @property
    def missed(self) -> int:
        """Deadlines missed by all streams together."""
        return sum(stream.together.missed for stream in self.streams)

    @property
    def memory_mib(self) -> float:
        """Memory that the set takes.

        TensorRT's is not in the resident memory of a process; where the GPU shares the memory of the machine, what
        the machine has lost to it is.
        """
        if any(stream.kind == "tensorrt" for stream in self.streams):
            return max(self.machine.resident_mib, self.machine.runtime_mib + self.machine.taken_mib)
        return self.machine.resident_mib


def save_profile(folder: Path, profile: Profile) -> None:
    """Write ``profile.json`` into ``folder``."""
    document = profile.model_dump(mode="json")
    (folder / PROFILE).write_text(json.dumps(document, indent=2, sort_keys=True, allow_nan=False) + "\n")


def load_profile(folder: Path) -> Profile:
    """Read ``profile.json`` of the artifact ``folder``.

    Raises:
        EngineError: It is missing or is no profile.
    """
    path = folder / PROFILE
    try:
        return Profile.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise EngineError(
            f"{path} is not the profile of a set of engines: {error}",
            needed="the file that profiling wrote",
            fix="profile the engines again, or restore the whole artifact from the store",
        ) from None
