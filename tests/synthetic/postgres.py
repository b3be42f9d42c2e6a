"""A temporary PostgreSQL server on a free port of this machine."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_SECONDS_TO_START = 30.0
_USER = "dagster"


class NoPostgres(Exception):
    """The PostgreSQL binaries are not installed."""


@dataclass(frozen=True)
class Server:
    """A running server and its log file."""

    port: int
    log: Path

    def url(self, database: str) -> str:
        return f"postgresql://{_USER}@127.0.0.1:{self.port}/{database}"

    def new_database(self, name: str, timezone: str = "UTC") -> str:
        """Create a database with a default time zone; return its URL."""
        self._execute("postgres", f'DROP DATABASE IF EXISTS "{name}"')
        self._execute("postgres", f'CREATE DATABASE "{name}"')
        self._execute("postgres", f"ALTER DATABASE \"{name}\" SET timezone TO '{timezone}'")
        return self.url(name)

    def vacuum(self, database: str) -> None:
        """Update the statistics of all tables, which the server does by itself only within minutes."""
        self._execute(database, "VACUUM ANALYZE")

    def _execute(self, database: str, statement: str) -> None:
        import sqlalchemy as sql  # not at import: a Jetson runs its tests without it

        engine = sql.create_engine(self.url(database), isolation_level="AUTOCOMMIT", poolclass=sql.pool.NullPool)
        with engine.connect() as connection:
            connection.execute(sql.text(statement))


@contextmanager
def running_postgres(keep: Path | None = None) -> Iterator[Server]:
    """Start a server without fsync, and stop it at the end.

    Args:
        keep: Folder for data that is kept for the next start; None: a temporary folder.

    Raises:
        NoPostgres: initdb and postgres are neither on PATH nor where Debian puts them.
    """
    binaries = _binaries()
    # Not in a folder that only this user can read, such as pytest's: root runs the server as another user.
    folder = keep or Path(tempfile.mkdtemp(prefix="postgres-"))
    folder.mkdir(parents=True, exist_ok=True)
    user = _unprivileged(folder)
    data, log = folder / "data", folder / "log"
    try:
        initdb = [binaries / "initdb", "-D", data, "-U", _USER, "-A", "trust", "-E", "UTF8", "--locale=C", "-N"]
        if not data.exists():
            subprocess.run(initdb, check=True, cwd=folder, stdout=subprocess.DEVNULL, **user)
        port = _free_port()
        settings = {"listen_addresses": "127.0.0.1", "port": port, "unix_socket_directories": "", "fsync": "off"}
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        with open(log, "wb") as stream:
            process = subprocess.Popen(
                [binaries / "postgres", "-D", data, *options], cwd=folder, stdout=stream, stderr=stream, **user
            )
        try:
            server = Server(port, log)
            _wait_for(server, process)
            yield server
        finally:
            process.send_signal(signal.SIGINT)  # "fast": ends sessions, leaves no shared memory behind
            process.wait()
    finally:
        if keep is None:
            shutil.rmtree(folder, ignore_errors=True)


def _binaries() -> Path:
    """The folder of initdb and postgres; the newest version when there are several."""
    on_path = shutil.which("initdb")
    folders = [Path(on_path).resolve().parent] if on_path else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: -float(path.parent.name))
    for folder in folders:
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    raise NoPostgres("no initdb and postgres on PATH or in /usr/lib/postgresql; on Debian: apt-get install postgresql")


def _unprivileged(folder: Path) -> dict[str, Any]:
    """Arguments that run a process as ``nobody`` when this one is root, which PostgreSQL refuses."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(server: Server, process: subprocess.Popen[bytes]) -> None:
    import sqlalchemy as sql

    engine = sql.create_engine(server.url("postgres"), poolclass=sql.pool.NullPool)
    deadline = time.monotonic() + _SECONDS_TO_START
    while process.poll() is None and time.monotonic() < deadline:
        try:
            engine.connect().close()
            return
        except sql.exc.OperationalError:
            time.sleep(0.05)
    raise RuntimeError(f"the server did not start; its log:\n{server.log.read_text()}")
