"""Connections of urllib3 whose every read of the socket asks whether there is time left.

A timeout of a socket ends one read. A server that sends a byte now and then, within a header or the length of a chunk,
keeps a client waiting for as long as it likes: such lines are read as a whole.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from http.client import HTTPResponse
from typing import Any, cast

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

Check = Callable[[], None]
"""Raises TimeoutError when there is no time left."""


class _TimedReader(io.RawIOBase):
    """The file of a socket."""

    def __init__(self, raw: io.RawIOBase, check: Check) -> None:
        self._raw = raw
        self._check = check

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._check()
        return cast("int | None", self._raw.readinto(buffer))

    def close(self) -> None:
        self._raw.close()
        super().close()


def pool_classes(check: Check) -> dict[str, type[HTTPConnectionPool]]:
    """Classes of connection pools, by scheme, as ``PoolManager.pool_classes_by_scheme`` has them."""

    class TimedResponse(HTTPResponse):
        def begin(self) -> None:
            self.fp = io.BufferedReader(_TimedReader(cast("Any", self.fp).detach(), check))
            super().begin()

    class TimedConnection(HTTPConnection):
        response_class = TimedResponse

    class TimedSecureConnection(HTTPSConnection):
        response_class = TimedResponse

    class TimedPool(HTTPConnectionPool):
        ConnectionCls = TimedConnection

    class TimedSecurePool(HTTPSConnectionPool):
        ConnectionCls = TimedSecureConnection

    return {"http": TimedPool, "https": TimedSecurePool}
