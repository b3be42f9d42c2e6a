"""Measure in a process of its own: ``python -m robot_assets.profiling.subprocess_run FOLDER``.

The memory that is measured is then that of the engines and their runtime, not of an orchestrator with PyTorch in it;
no thread of somebody else competes for the interpreter's lock; CUDA is initialized in a process that ends; and a set
that takes more memory than there is kills the measurement, which then is an answer, and not the step that asked.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from robot_assets.core import errors, progress
from robot_assets.core.errors import EngineError, RobotAssetsError
from robot_assets.core.spec import Spec
from robot_assets.profiling.measure import Measurement, measure
from robot_assets.profiling.periodic import Job
from robot_assets.profiling.result import Profile
from robot_assets.profiling.streams import Stream

_REQUEST, _ANSWER, _REFUSAL = "request.json", "answer.json", "refusal.json"
_REFUSED = 3
_GRACE_S = 120.0
_OUR_ROOT = str(Path(__file__).parents[2])


class _Request(Spec):
    target: str
    streams: tuple[Stream, ...]
    duration_s: float
    alone_s: float


def measure_apart(target: str, streams: Sequence[Stream], duration_s: float, alone_s: float) -> Measurement:
    """As ``measure``, in a new process.

    Raises:
        RobotAssetsError: What ``measure`` raises there.
        EngineError: The process was killed, or did not end.
    """
    request = _Request(target=target, streams=tuple(streams), duration_s=duration_s, alone_s=alone_s)
    with tempfile.TemporaryDirectory(prefix="robot_assets_profile_") as folder:
        Path(folder, _REQUEST).write_text(request.model_dump_json())
        limit_s = _GRACE_S + 2 * (duration_s + alone_s * len(streams))
        code = _run(folder, limit_s)
        if code == _REFUSED:
            raise _refusal(Path(folder, _REFUSAL))
        if code != 0:
            raise _death(code, len(streams))
        return _read(Path(folder, _ANSWER))


def _run(folder: str, limit_s: float) -> int:
    """Run the process, passing on what it tells of its progress, and give its exit code."""
    path = os.pathsep.join(filter(None, (_OUR_ROOT, os.environ.get("PYTHONPATH"))))
    command, environment = [sys.executable, "-m", __name__, folder], {**os.environ, "PYTHONPATH": path}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        watchdog = threading.Timer(limit_s, process.kill)
        watchdog.start()
        try:
            for line in process.stdout or ():
                progress.report(*json.loads(line))
            return process.wait()
        finally:
            watchdog.cancel()
            process.kill()


def _refusal(path: Path) -> RobotAssetsError:
    """The error that was raised over there."""
    refusal = json.loads(path.read_bytes())
    kind = getattr(errors, refusal["kind"], EngineError)
    error: RobotAssetsError = kind(refusal["found"], needed=refusal["needed"], fix=refusal["fix"])
    return error


def _death(code: int, engines: int) -> EngineError:
    if code == -signal.SIGKILL:
        return EngineError(
            f"the process that ran {engines} engines was killed",
            needed="memory for all of them at once, and inferences that end",
            fix="look for it in `dmesg`; when memory ran out, this set does not fit the device: profile fewer engines, "
            "or smaller ones",
        )
    how = f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
    return EngineError(
        f"the process that ran {engines} engines ended {how}; what it said is above",
        needed="engines that run to the end",
        fix="run each of them by itself with `robot-assets engine bench` to see which one it is",
    )


def _read(path: Path) -> Measurement:
    answer = json.loads(path.read_bytes())
    jobs, alone = (
        {name: tuple(Job(*times) for times in rows) for name, rows in answer[run].items()} for run in ("jobs", "alone")
    )
    return Measurement(Profile.model_validate(answer["profile"]), jobs, alone)


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


def _telling() -> progress.Listener:
    """Tell progress on the standard output, which from now on is the standard error for everybody else.

    Libraries in C++ print where they like, and who reads progress expects nothing else.
    """
    told = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def tell(what: str, done: int, total: int, note: str) -> None:
        print(json.dumps([what, done, total, note]), file=told, flush=True)

    return tell


def main(folder: Path) -> int:
    """Measure what the request in ``folder`` asks for, and write the answer beside it."""
    request = _Request.model_validate_json((folder / _REQUEST).read_bytes())
    try:
        with progress.listening(_telling()):
            found = measure(request.target, request.streams, request.duration_s, request.alone_s)
    except RobotAssetsError as error:
        refusal = {"kind": type(error).__name__, "found": error.found, "needed": error.needed, "fix": error.fix}
        (folder / _REFUSAL).write_text(json.dumps(refusal))
        return _REFUSED
    (folder / _ANSWER).write_text(json.dumps(_as_json(found)))
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(Path(sys.argv[1])))
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)  # who asked was interrupted as well, and says so
