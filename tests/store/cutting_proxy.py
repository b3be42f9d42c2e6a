"""A TCP proxy that cuts each connection to a server after a number of bytes, and counts the bytes that passed."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit


class CuttingProxy:
    """Forwards connections to a server; cuts each after ``cut_after`` bytes of the server's answer.

    Attributes:
        url: The proxy's URL.
        cut_after: Bytes from the server after which a connection is cut.
        cuts_left: Number of connections that will be cut.
        carried: Bytes from the server that were forwarded.
        cuts: Number of connections that were cut.
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
    """Run a proxy in front of ``server`` during the block."""
    proxy = CuttingProxy(server, cut_after, cuts)
    thread = threading.Thread(target=proxy.serve, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.close()
        thread.join(timeout=10)
