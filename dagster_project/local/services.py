"""The services of ``robot-assets ui``: Dagster's web server, daemon and code server, which run and end together.

``dagster dev`` starts them and ends them when one of the processes ends. A web server that could not listen on its port
does not end, and the daemon would go on to start runs without a UI: that is watched here.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import FrameType

from dagster_project.local.ports import HOST, holder_of
from robot_assets.core.errors import RobotAssetsError
from robot_assets.pipeline.project import PROJECT_VARIABLE

_OWN_WORKSPACE = Path(__file__).with_name("workspace.yaml")
_POLL_S = 1.0
_START_S = 600.0
"""Until the web server has to listen: the code location is loaded first, on a busy machine for minutes."""
_SILENT_S = 10.0
_PR_SET_PDEATHSIG = 1


class ServicesError(RobotAssetsError):
    """A service of the UI has ended or did not start."""


def serve(root: Path, port: int) -> None:
    """Run the services of a project until they are interrupted.

    Raises:
        ServicesError: One of them ended or did not start; the others have been ended.
    """
    # in a process group of its own: Ctrl-C reaches this process alone, which passes it on once
    process = subprocess.Popen(
        _command(root, port), cwd=root, env=_environment(root), process_group=0, preexec_fn=_prepare_child
    )
    interrupted = _forward_signals(process)
    why = _watch(process, port, interrupted)
    if why is not None and not interrupted:
        _end(process)
        raise ServicesError(
            f"{why}; the other services have been ended",
            needed="a web server and a daemon that run side by side",
            fix=f"robot-assets ui --port {port}   # the lines above say why it ended",
        )
    process.wait()


def _command(root: Path, port: int) -> list[str]:
    workspace = root / "workspace.yaml"
    loaded = str(workspace if workspace.is_file() else _OWN_WORKSPACE)
    # Dagster warns of its own `dagster dev`
    dagster = [sys.executable, "-W", "ignore", "-m", "dagster"]
    return [*dagster, "dev", "--workspace", loaded, "--host", HOST, "--port", str(port)]


def _environment(root: Path) -> Mapping[str, str]:
    return {**os.environ, PROJECT_VARIABLE: str(root)}


def _prepare_child() -> None:
    """In the new process: it ends with its parent, and on SIGINT, which shells make background commands ignore."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGINT)


def _forward_signals(process: subprocess.Popen[bytes]) -> list[int]:
    """Pass signals to end on to the services; the signals that were received."""
    received: list[int] = []

    def forward(number: int, frame: FrameType | None) -> None:
        process.send_signal(signal.SIGINT)
        received.append(number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, forward)
    return received


def _watch(process: subprocess.Popen[bytes], port: int, interrupted: list[int]) -> str | None:
    """Wait until the services end or the web server does not listen any more; why, when nobody has interrupted them."""
    listened, since = False, time.monotonic()
    while process.poll() is None and not interrupted:
        time.sleep(_POLL_S)
        holder = holder_of(port)
        if holder is not None and holder.is_below(process.pid):
            listened, since = True, time.monotonic()
        elif holder is not None and not listened and time.monotonic() - since > _SILENT_S:
            return f"port {port} is in use by {holder}"
        elif time.monotonic() - since > (_SILENT_S if listened else _START_S):
            return f"the web server does not listen on port {port}"
    return None if interrupted else "a service of Dagster has ended"


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
    process.wait()
