"""A TCP proxy in front of a server that cuts each connection after so many bytes, and counts what it let through."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit


class CuttingProxy:
    """Connections to ``url`` reach the server until each has carried ``cut_after`` bytes back.

    Attributes:
        url: Where it listens.
        cut_after: Bytes of the server that one connection carries; None for any number.
        cuts_left: How many connections are still to be cut.
        carried: Bytes of the server that went through.
        cuts: How many connections were cut.
    """

    def __init__(self, server: str, cut_after: int, cuts: int) -> None:
        target = urlsplit(server)
        self._server = (target.hostname, target.port)
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self.cut_after = cut_after
        self.cuts_left = cuts
        self.carried = 0
        self.cuts = 0
        self._lock = threading.Lock()

    def serve(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._socket.accept()
                upstream = socket.create_connection(self._server)
                for work in (self._to_server, self._to_client):
                    threading.Thread(target=work, args=(client, upstream), daemon=True).start()

    def close(self) -> None:
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _to_server(self, client: socket.socket, upstream: socket.socket) -> None:
        with suppress(OSError):
            while chunk := client.recv(65536):
                upstream.sendall(chunk)
        with suppress(OSError):
            upstream.shutdown(socket.SHUT_WR)

    def _to_client(self, client: socket.socket, upstream: socket.socket) -> None:
        carried = 0
        with suppress(OSError), client, upstream:
            while chunk := upstream.recv(65536):
                client.sendall(chunk)
                carried += len(chunk)
                with self._lock:
                    self.carried += len(chunk)
                    is_cut = carried >= self.cut_after and self.cuts_left > 0
                    if is_cut:
                        self.cuts_left -= 1
                        self.cuts += 1
                if is_cut:
                    client.shutdown(socket.SHUT_RDWR)
                    return


@contextmanager
def cutting(server: str, cut_after: int, cuts: int = 1_000_000) -> Iterator[CuttingProxy]:
    """A proxy in front of ``server`` for the time of the block."""
    proxy = CuttingProxy(server, cut_after, cuts)
    thread = threading.Thread(target=proxy.serve, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.close()
        thread.join(timeout=10)
