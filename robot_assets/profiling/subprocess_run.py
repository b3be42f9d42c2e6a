"""Measures in a subprocess: ``python -m robot_assets.profiling.subprocess_run FOLDER``.

The measured memory is then that of the engines and their runtime, without an orchestrator and PyTorch; no other thread
competes for the interpreter's lock; CUDA is initialized in a process that ends; and a set of engines that needs more
memory than there is kills the measurement, not the step.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from robot_assets.core import errors, progress
from robot_assets.core.errors import EngineError, RobotAssetsError
from robot_assets.core.spec import Spec
from robot_assets.core.text import plural
from robot_assets.core.translation import translated
from robot_assets.profiling.measure import Measurement, measure
from robot_assets.profiling.periodic import Job
from robot_assets.profiling.result import Profile
from robot_assets.profiling.streams import Stream

_REQUEST, _RESULT = "request.json", "result.json"
_FAILED = 3
"""Exit code after an error that the process has reported."""

_GRACE_S = 120.0
_PACKAGE_ROOT = str(Path(__file__).parents[2])


class _Request(Spec):
    target: str
    streams: tuple[Stream, ...]
    duration_s: float
    alone_s: float


def measure_in_subprocess(target: str, streams: Sequence[Stream], duration_s: float, alone_s: float) -> Measurement:
    """Run ``measure`` in a new process.

    Raises:
        RobotAssetsError: Raised by ``measure`` there.
        EngineError: The process was killed or timed out.
    """
    request = _Request(target=target, streams=tuple(streams), duration_s=duration_s, alone_s=alone_s)
    with tempfile.TemporaryDirectory(prefix="robot_assets_profile_") as folder:
        Path(folder, _REQUEST).write_text(request.model_dump_json())
        limit_s = _GRACE_S + 2 * (duration_s + alone_s * len(streams))
        code = _run(folder, limit_s)
        if code != 0:
            raise _crash(code, len(streams))
        return _read_result(Path(folder, _RESULT))


def _run(folder: str, limit_s: float) -> int:
    """Run the process, forward its progress, and return its exit code.

    Raises:
        RobotAssetsError: The process has reported it.
    """
    path = os.pathsep.join(filter(None, (_PACKAGE_ROOT, os.environ.get("PYTHONPATH"))))
    command, environment = [sys.executable, "-m", __name__, folder], {**os.environ, "PYTHONPATH": path}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        watchdog = threading.Timer(limit_s, process.kill)
        watchdog.start()
        try:
            for line in process.stdout or ():
                _forward(json.loads(line))
            return process.wait()
        finally:
            watchdog.cancel()
            process.kill()


def _forward(line: Any) -> None:
    """A report of progress, or the error that ended the process."""
    if isinstance(line, list):
        progress.report(*line)
        return
    kind = getattr(errors, line["kind"], EngineError)
    error: RobotAssetsError = kind(line["found"], needed=line["needed"], fix=line["fix"])
    raise error


def _crash(code: int, engines: int) -> EngineError:
    process = f"the process that ran {plural(engines, 'engine')}"
    if code == -signal.SIGKILL:
        return EngineError(
            f"{process} was killed",
            needed="memory for all engines at once, and inferences that end",
            fix="check `dmesg`; if memory ran out, the engines do not fit the device: profile fewer or smaller ones",
        )
    how = f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
    return EngineError(
        f"{process} ended {how}; its output is above",
        needed="engines that run to the end",
        fix="run each engine alone with `robot-assets engine bench` to find the one that fails",
    )


def _read_result(path: Path) -> Measurement:
    document = json.loads(path.read_bytes())
    profile = Profile.model_validate(document["profile"])
    return Measurement(profile, _jobs(document["jobs"]), _jobs(document["alone"]))


def _jobs(rows: Mapping[str, Sequence[Sequence[int]]]) -> dict[str, tuple[Job, ...]]:
    return {name: tuple(Job(*times) for times in found) for name, found in rows.items()}


def _as_json(measurement: Measurement) -> dict[str, Any]:
    return {
        "profile": measurement.profile.model_dump(mode="json"),
        "jobs": _rows(measurement.jobs),
        "alone": _rows(measurement.alone),
    }


def _rows(jobs: Mapping[str, Sequence[Job]]) -> dict[str, list[tuple[int, ...]]]:
    return {
        name: [(job.frame, job.release_ns, job.ready_ns, job.start_ns, job.finish_ns) for job in found]
        for name, found in jobs.items()
    }


def _writer() -> Callable[[object], None]:
    """Return a function that writes lines of JSON to the standard output, and redirect that to standard error.

    C++ libraries print to the standard output, which must contain nothing else.
    """
    output = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return lambda line: print(json.dumps(line), file=output, flush=True)


def main(folder: Path) -> int:
    """Measure the request in ``folder``, and write the result beside it."""
    request = _Request.model_validate_json((folder / _REQUEST).read_bytes())
    write = _writer()
    try:
        with progress.listening(lambda *report: write(report)):
            found = measure(request.target, request.streams, request.duration_s, request.alone_s)
        (folder / _RESULT).write_text(json.dumps(_as_json(found)))
    except Exception as error:
        known = translated(error)
        if known is None:
            raise
        write({"kind": type(known).__name__, "found": known.found, "needed": known.needed, "fix": known.fix})
        return _FAILED
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(Path(sys.argv[1])))
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)  # the parent was interrupted as well and reports it
