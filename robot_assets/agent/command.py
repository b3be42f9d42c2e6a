"""Runs a command of ``robot.yaml`` for a limited time, with all processes that it starts."""

from __future__ import annotations

import contextlib
import os
import select
import shlex
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from robot_assets.core.text import escaped

_OUTPUT_BYTES_MAX: Final = 2000
_POLL_S: Final = 0.02
_GRACE_S: Final = 2.0


@dataclass(frozen=True)
class Outcome:
    """How a command ended.

    Attributes:
        code: Its exit code; None: it did not start, took too long, or was ended by a signal.
        how: That in words, with the last line that it printed, such as ``exited with 3: no bus``.
        name: The command as a person would type it.
        signal: What ended it; None: no signal.
    """

    code: int | None
    how: str
    name: str
    signal: int | None = None

    @property
    def what(self) -> str:
        """A sentence such as ```check-bus can0` exited with 3: no bus``."""
        return f"`{self.name}` {self.how}"


def run(
    command: Sequence[str], limit_s: float, environment: Mapping[str, str] | None = None, pass_fds: Sequence[int] = ()
) -> Outcome:
    """Run a command in a session of its own; what is left of it after ``limit_s`` seconds is killed.

    A process that it leaves in the background keeps nobody waiting, though it has the output open.

    Args:
        command: Program and arguments.
        limit_s: Seconds.
        environment: Of the command; by default that of this process.
        pass_fds: File descriptors that it inherits.
    """
    name = escaped(shlex.join(command))
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            bufsize=0,
            env=environment,
            pass_fds=pass_fds,
        )
    except (OSError, ValueError) as error:  # ValueError: a NUL in an argument
        why = error.strerror if isinstance(error, OSError) else error
        return Outcome(None, f"does not start: {why}", name)
    try:
        output = _read_until_end(process, time.monotonic() + limit_s)
    finally:
        _end(process)
    if output is None:
        return Outcome(None, f"did not end within {limit_s:g} s", name)
    return _outcome(name, process.returncode, _last_line(output))


def _read_until_end(process: subprocess.Popen[bytes], deadline: float) -> bytes | None:
    """The end of what a process printed; None where it is still running at the deadline."""
    output, is_open = b"", True
    while process.poll() is None:
        if time.monotonic() >= deadline:
            return None
        if is_open:
            is_open, output = _read(process, output, _POLL_S)
        else:
            time.sleep(_POLL_S)
    return _read(process, output, 0)[1] if is_open else output


def _read(process: subprocess.Popen[bytes], output: bytes, wait_s: float) -> tuple[bool, bytes]:
    """Whether more can follow, and the end of the output with what there is by now."""
    if process.stdout is None:
        return False, output
    poll = select.poll()
    poll.register(process.stdout, select.POLLIN)
    if not poll.poll(1e3 * wait_s):
        return True, output
    piece = os.read(process.stdout.fileno(), 1 << 16)
    return bool(piece), (output + piece)[-_OUTPUT_BYTES_MAX:]


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill what is left. A process in uninterruptible sleep outlives even that, and is not waited for."""
    if process.stdout is not None:
        process.stdout.close()
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE_S)


def _outcome(name: str, code: int, last: str) -> Outcome:
    said = f": {last}" if last else ""
    if code >= 0:
        return Outcome(code, f"exited with {code}{said}", name)
    return Outcome(None, f"was ended by {signal_name(-code)}{said}", name, -code)


def _last_line(output: bytes) -> str:
    lines = output.decode(errors="replace").split("\n")
    return next((escaped(line.strip())[:200] for line in reversed(lines) if line.strip()), "")


def signal_name(number: int) -> str:
    """Such as ``SIGSEGV``; real-time signals have no name."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
