"""Runs engines of a release in a process of their own: ``python -m robot_assets.agent.prove_process FD REQUEST``.

The agent then needs neither numpy nor a runtime in its memory, survives an engine that crashes, and the measured memory
is that of the engines alone. The result is JSON on the file descriptor ``FD``: runtimes print to the standard output.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from robot_assets.core.spec import Spec
from robot_assets.release.bundle import REFERENCE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from robot_assets.platforms.memory import Growth
    from robot_assets.runtime.engine import Engine
    from robot_assets.runtime.manifest import Manifest

WARMUP = 20
INFERENCES = 100
"""Timed inferences of an engine, unless time runs out."""

_FIRST_TO_KILL = "1000"
_PR_SET_PDEATHSIG = 1


class Request(Spec):
    """What is to be run.

    Attributes:
        engines: Directories of engines. One is measured; several are loaded at once for their memory.
        seconds: Time after which no further inference is timed; the first one always is.
    """

    engines: tuple[str, ...]
    seconds: float


class Measured(Spec):
    """What was measured. None: it was not, since several engines were loaded, or the kernel does not report it.

    Attributes:
        memory_mib: Memory that loading and the first inference added.
        memory_of: Whose memory that is: ``process`` or ``device``.
        images: Reference images that were run.
        differing_share: Share of the values of their answers beyond the tolerance.
        largest: The largest difference by meaning, in words.
        load_s: Seconds to load the engine.
        latency: Percentiles by name, ms, and the number of inferences.
    """

    memory_mib: float | None
    memory_of: str
    images: int = 0
    differing_share: float | None = None
    largest: str = ""
    load_s: float | None = None
    latency: dict[str, float] = Field(default_factory=dict)


class Problem(Spec):
    """An error that the process has reported."""

    found: str
    needed: str
    fix: str


class Result(Spec):
    """The one line that the process writes: what was measured, or the error."""

    measured: Measured | None = None
    problem: Problem | None = None


def measure(request: Request) -> Measured:
    """Load the engines, and run one that is alone.

    Raises:
        RobotAssetsError: An engine does not load or run, or has no reference answers.
    """
    from robot_assets.engines.quiet_interpreter import quiet_interpreter
    from robot_assets.platforms.probe import probe

    probe()  # imports the runtime, which all engines share
    folders = [Path(engine) for engine in request.engines]
    with ExitStack() as stack, quiet_interpreter():
        engines, growth, load_s = _load(folders, stack)
        memory = _memory(growth, [engine.manifest for engine in engines])
        if len(engines) > 1:
            return Measured(**memory)
        return Measured(**memory, **_run(engines[0], folders[0], request.seconds), load_s=round(load_s, 4))


def _load(folders: list[Path], stack: ExitStack) -> tuple[list[Engine], Growth, float]:
    """The engines, each after its first inference; the memory that this added, and seconds without the inferences."""
    import numpy as np

    from robot_assets.engines.load import load_engine
    from robot_assets.platforms.memory import MemoryMeter

    engines, load_s = [], 0.0
    with MemoryMeter() as meter:
        for folder in folders:
            started = time.perf_counter()
            engine = stack.enter_context(load_engine(folder))
            load_s += time.perf_counter() - started
            engine.infer(np.zeros(engine.manifest.input.shape, np.float32))
            engines.append(engine)
    return engines, meter.growth, load_s


def _memory(growth: Growth, manifests: list[Manifest]) -> dict[str, Any]:
    """The memory that counts: where one engine takes that of the device, its decrease has that of the others in it."""
    of = "device" if any(manifest.memory_of == "device" for manifest in manifests) else "process"
    added = growth.device_mib if of == "device" else growth.process_mib
    return {"memory_mib": None if added is None else round(added, 3), "memory_of": of}


def _run(engine: Engine, folder: Path, seconds: float) -> dict[str, Any]:
    """Compare the answers with those of the reference, and time inferences on its images."""
    from robot_assets.release.reference import compare, read_reference
    from robot_assets.runtime.preprocess import to_input

    interface = engine.manifest.interface
    reference = read_reference(folder / REFERENCE, interface)
    parity = compare(engine.infer, reference, interface)
    count = len(reference.images)
    inputs = [to_input(reference.images[row : row + 1], interface.input) for row in range(count)]
    return {
        "images": parity.images,
        "differing_share": parity.differing_share,
        "largest": parity.largest_in_words,
        "latency": _latency(engine, inputs, seconds),
    }


def _latency(engine: Engine, inputs: list[NDArray[Any]], seconds: float) -> dict[str, float]:
    """Percentiles of single inferences, after a warm-up that also ends when half of the time has passed."""
    from robot_assets.engines.benchmark import Latencies

    started = time.perf_counter()
    for number in range(WARMUP):
        engine.infer(inputs[number % len(inputs)])
        if time.perf_counter() - started > seconds / 2:
            break
    milliseconds: list[float] = []
    while not milliseconds or (len(milliseconds) < INFERENCES and time.perf_counter() - started < seconds):
        before = time.perf_counter()
        engine.infer(inputs[len(milliseconds) % len(inputs)])
        milliseconds.append(1e3 * (time.perf_counter() - before))
    return Latencies(tuple(milliseconds)).as_json()


def main(descriptor: int, request: str) -> int:
    """Measure a request and write the result."""
    from robot_assets.core.errors import RobotAssetsError

    _end_with_the_agent()
    try:
        result = Result(measured=measure(Request.model_validate_json(request)))
    except RobotAssetsError as error:
        result = Result(problem=Problem(found=error.found, needed=error.needed, fix=error.fix))
    with os.fdopen(descriptor, "w") as output:
        output.write(result.model_dump_json())
    return 0


def _end_with_the_agent() -> None:
    """Be killed when the agent is, and be the first to be killed when memory runs out: not what serves."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    try:
        Path("/proc/self/oom_score_adj").write_text(_FIRST_TO_KILL)
    except OSError as error:
        print(f"the proof is not the first to be killed when memory runs out: {error}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2]))
