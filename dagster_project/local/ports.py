"""Ports of this machine: whether one is free, and which process listens on one that is not."""

from __future__ import annotations

import os
import shlex
import socket
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from robot_assets.core.errors import RobotAssetsError
from robot_assets.core.text import escaped

HOST = "127.0.0.1"
_LISTENING = "0A"
_PORT_MAX = 65_535
_COMMAND_CHARACTERS_MAX = 80


class PortError(RobotAssetsError):
    """A port cannot be used."""


@dataclass(frozen=True)
class Holder:
    """A process that listens on a port."""

    pid: int
    command: str

    def __str__(self) -> str:
        return f"process {self.pid} ({self.command})"

    def is_below(self, pid: int) -> bool:
        """Whether it is this process, or one that it started, directly or not."""
        this = self.pid
        while this > 1 and this != pid:
            this = _parent(this)
        return this == pid


def require_free(port: int, again: str) -> None:
    """Refuse a port that cannot be listened on.

    Args:
        port: On 127.0.0.1.
        again: The command to run with another port, which is appended to it.

    Raises:
        PortError: Another process listens on it, or this user may not.
    """
    error = _why_unusable(port)
    if error is None:
        return
    holder = holder_of(port)
    free = next((one for one in range(max(port, 1024) + 1, _PORT_MAX + 1) if _why_unusable(one) is None), 0)
    raise PortError(
        f"port {port} on {HOST} is in use by {holder}" if holder else f"port {port} on {HOST}: {error}",
        needed="a port that no other process listens on, and that this user may use",
        fix=f"{again} {free}",
    )


def holder_of(port: int) -> Holder | None:
    """The process that listens on a port; None when there is none, or it belongs to another user."""
    sockets = {f"socket:[{inode}]" for inode in _listeners(port)}
    for folder in Path("/proc").iterdir():
        if sockets and folder.name.isdigit() and sockets & _open_files(folder):
            return Holder(int(folder.name), _command(folder))
    return None


def _why_unusable(port: int) -> str | None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
            probe.listen()
        except OSError as error:
            return str(error.strerror)
    return None


def _listeners(port: int) -> Iterator[str]:
    """Inodes of the sockets that listen on a port, whatever address they are bound to."""
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with suppress(OSError):
            for line in Path(table).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == _LISTENING and int(fields[1].rpartition(":")[2], 16) == port:
                    yield fields[9]


def _open_files(process: Path) -> set[str]:
    found = set()
    with suppress(OSError):
        for name in (process / "fd").iterdir():
            with suppress(OSError):
                found.add(os.readlink(name))
    return found


def _command(process: Path) -> str:
    with suppress(OSError):
        words = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
        command = escaped(" ".join(shlex.join(filter(None, words)).split()))
        return command if len(command) <= _COMMAND_CHARACTERS_MAX else f"{command[:_COMMAND_CHARACTERS_MAX]}..."
    return "unknown"


def _parent(pid: int) -> int:
    with suppress(OSError):
        return int((Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[1])
    return 0
