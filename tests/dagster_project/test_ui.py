"""``robot-assets ui``: a port in use is refused before anything is started, and the services end together."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from dagster_project.local.ports import PortError, holder_of, require_free
from tests.dagster_project.conftest import SMALL_PARAMS, Checkout

GRAPHQL = "{ assetNodes { assetKey { path } } }"


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    """A project folder of one's own: params.yaml, and nothing of this repository."""
    root = tmp_path / "own project"
    root.mkdir()
    # a run that the sensor has started goes on without the UI
    kinds = ("raw", "dataset", "checkpoint", "ptq", "qat", "onnx", "engine")
    rebuild = {"policy": dict.fromkeys(kinds, "manual")}
    (root / "params.yaml").write_text(yaml.safe_dump({**SMALL_PARAMS, "rebuild": rebuild}, sort_keys=False))
    return Checkout(root)


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield int(listener.getsockname()[1])


def test_a_port_in_use_is_refused_with_its_holder_before_anything_is_started(checkout: Checkout, taken: int) -> None:
    done = checkout.run("robot-assets", "ui", "--port", str(taken), check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: port {taken} on 127.0.0.1 is in use by process {os.getpid()} (")
    fix = done.stderr.rpartition("fix: ")[2].strip()
    assert fix.startswith("robot-assets ui --port ")
    require_free(int(fix.split()[-1]), "robot-assets ui --port")
    assert not (checkout.root / ".dagster").exists()


def test_a_listener_on_all_addresses_is_in_the_way_as_well() -> None:
    with socket.socket() as listener:
        listener.bind(("0.0.0.0", 0))
        listener.listen()
        port = listener.getsockname()[1]
        holder = holder_of(port)
        assert holder is not None
        assert holder.is_below(os.getppid())
        with pytest.raises(PortError, match=f"process {os.getpid()}"):
            require_free(port, "x --port")
    require_free(port, "x --port")
    assert holder_of(port) is None


def test_a_control_character_in_the_name_of_the_holder_does_not_reach_the_terminal(tmp_path: Path) -> None:
    code = (
        "import socket, sys; s = socket.socket(); s.bind(('127.0.0.1', 0)); s.listen(); "
        "print(s.getsockname()[1], flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, "\x1b[31m"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        holder = holder_of(int(process.stdout.readline()))
        process.communicate("")
    assert holder is not None
    assert holder.pid == process.pid
    assert str(holder).isprintable()


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _served(port: int, process: subprocess.Popen[str]) -> list[list[str]]:
    """The assets that the UI shows, once it does."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/graphql",
        data=json.dumps({"query": GRAPHQL}).encode(),
        headers={"Content-Type": "application/json"},
    )
    deadline = time.monotonic() + 180
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(request) as response:
                return [node["assetKey"]["path"] for node in json.load(response)["data"]["assetNodes"]]
        except OSError:
            time.sleep(0.5)
    raise AssertionError("the web server did not answer")


def test_the_ui_runs_in_a_project_folder_of_ones_own_and_its_services_end_together(checkout: Checkout) -> None:
    port = _free_port()
    log = (checkout.root / "ui.log").open("w")
    command = ["robot-assets", "ui", "--port", str(port)]
    with log, subprocess.Popen(command, cwd=checkout.root, env=checkout.environment, stderr=log, stdout=log) as process:
        assert ["small_detector", "engine", "cpu"] in _served(port, process)
        server = holder_of(port)
        assert server is not None
        assert server.is_below(process.pid)
        os.kill(server.pid, signal.SIGKILL)
        assert process.wait(timeout=120) == 1
    said = (checkout.root / "ui.log").read_text()
    assert "error: a service of Dagster has ended; the other services have been ended" in said
    assert f"fix: robot-assets ui --port {port}" in said
    assert "Dagster services shut down" in said
    # a process of the code location ends by itself once it has missed the heartbeats of its server
    deadline = time.monotonic() + 90
    while (left := list(_processes_in(checkout.root))) and time.monotonic() < deadline:
        time.sleep(0.5)
    assert not left


def _processes_in(folder: Path) -> Iterator[int]:
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                if (process / "cwd").resolve() == folder:
                    yield int(process.name)
            except OSError:
                continue
