"""Reads the distribution repository and writes reports: over http(s), or any URL of ``robot_assets.fleet.files``.

A server may be hostile or broken. So every answer has a greatest length, every wait has an end, and a server that drips
has to keep a least rate. What arrives is verified by others: TUF metadata by signatures, blobs by sha256.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol
from urllib.parse import SplitResult, quote, urljoin, urlsplit

from robot_assets.core.errors import RobotAssetsError
from robot_assets.fleet.errors import AgentError

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse, PoolManager

    from robot_assets.fleet.files import Files

_CHUNK = 1 << 18
_REDIRECTS_MAX = 3
_MISSING = frozenset({404, 410})
_DENIED = frozenset({401, 403})
_NO_SUCH_RANGE = 416


class Unreachable(AgentError):
    """The repository does not answer, or not in time: the next poll may succeed."""


class Missing(AgentError):
    """The repository has no such file, or does not show it.

    Attributes:
        status: HTTP status: 404, or 403 where a bucket does not show what it lacks.
    """

    status = 404


class Denied(Missing):
    """The repository refuses to show a file."""

    status = 403


class TooLong(AgentError):
    """An answer is longer than it may be."""


@dataclass(frozen=True)
class Limits:
    """What a server may take.

    Attributes:
        connect_s: Longest wait for a connection.
        gap_s: Longest wait between two reads.
        grace_s: Time from the request on in which the least rate does not count.
        rate_bytes_s: Least rate of an answer as a whole, after that time.
    """

    connect_s: float = 15
    gap_s: float = 30
    grace_s: float = 30
    rate_bytes_s: float = 1024


class Transport(Protocol):
    """Access to the files below a URL. Paths are relative, with ``/``."""

    @property
    def name(self) -> str:
        """The URL without credentials."""
        ...

    def read_from(self, path: str, start: int) -> Iterator[bytes]:
        """Bytes of a file from ``start`` on; closing the iterator ends the transfer. Raises Missing or AgentError."""
        ...

    def put(self, path: str, content: bytes) -> None:
        """Replace a file. Raises AgentError."""
        ...


def transport_of(url: str, limits: Limits | None = None) -> Transport:
    """Access to a URL or a folder."""
    if url.startswith(("http://", "https://")):
        return HttpTransport(url, limits or Limits())
    from robot_assets.fleet.files import Files

    return FilesTransport(Files(url), limits or Limits())


def get(transport: Transport, path: str, length_max: int) -> bytes:
    """All bytes of a file.

    Raises:
        TooLong: It has more than ``length_max`` bytes; no more than that and one chunk are read.
        AgentError: It cannot be read.
    """
    content = bytearray()
    for chunk in transport.read_from(path, 0):
        content += chunk
        if len(content) > length_max:
            raise too_long(transport, path, length_max)
    return bytes(content)


def too_long(transport: Transport, path: str, length_max: int) -> TooLong:
    """The error of an answer that does not end where it has to."""
    return TooLong(
        f"{transport.name}/{path} has more than {length_max} bytes",
        needed=f"at most {length_max} bytes, as announced",
        fix="look at the repository: a server or proxy sends something else in its place",
    )


def paced(chunks: Iterator[bytes], limits: Limits, too_slow: Callable[[], AgentError]) -> Iterator[bytes]:
    """The chunks, until they arrive below the least rate. The time in which the caller works does not count."""
    count, waited_s = 0, -limits.grace_s
    while True:
        before = time.monotonic()
        chunk = next(chunks, b"")
        waited_s += time.monotonic() - before
        count += len(chunk)
        if count < waited_s * limits.rate_bytes_s:
            raise too_slow()
        if not chunk:
            return
        yield chunk


class Deadline:
    """An end for what a single call of a library waits for, however many reads of a socket that is.

    Attributes:
        at: Monotonic seconds.
    """

    def __init__(self) -> None:
        self.at = math.inf

    def set(self, seconds: float) -> None:
        """Move it to some seconds from now."""
        self.at = time.monotonic() + seconds

    def check(self) -> None:
        """Raises TimeoutError after it."""
        if time.monotonic() > self.at:
            raise TimeoutError("Read timed out")


class HttpTransport:
    """A server. Redirects are followed a few times, never from https to http, and without credentials to another host.

    Args:
        url: http:// or https://; it may contain a name and a password.
        limits: What the server may take.
    """

    def __init__(self, url: str, limits: Limits) -> None:
        parts = urlsplit(url)
        self._user, self._password = parts.username, parts.password
        bare = parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment="")
        self._base = bare.geturl().rstrip("/")
        self._origin = bare
        self._limits = limits
        self._pools: PoolManager | None = None
        self._deadline = Deadline()

    @property
    def name(self) -> str:
        """The URL without credentials."""
        return self._base

    def read_from(self, path: str, start: int) -> Iterator[bytes]:
        """See Transport."""
        with self._translated(path), self._response(path, start) as response:
            if response.status == _NO_SUCH_RANGE:
                return
            skip = start if response.status == 200 else 0  # a server without ranges sends the file from its start
            for chunk in paced(self._read(response), self._limits, lambda: self._slow(path)):
                if part := chunk[skip:]:
                    yield part
                skip = max(0, skip - len(chunk))

    def _read(self, response: BaseHTTPResponse) -> Iterator[bytes]:
        """What has arrived, without waiting for more: ``stream`` waits for a whole chunk, so a drip is not noticed."""
        while True:
            self._deadline.set(2 * self._limits.gap_s)
            if not (chunk := response.read1(_CHUNK, decode_content=False)):
                return
            yield chunk

    def put(self, path: str, content: bytes) -> None:
        """See Transport."""
        headers = {**self._headers(self._origin), "Content-Type": "application/json"}
        with self._translated(path):
            response = self._request("PUT", self._url(path), headers, content)
            try:
                if response.status >= 300:
                    raise self._refused(path, response.status, "writing")
            finally:
                response.close()

    @contextmanager
    def _response(self, path: str, start: int) -> Iterator[BaseHTTPResponse]:
        """The answer to a GET, after redirects; it is closed at the end, or kept for the next request when read."""
        url = self._url(path)
        for _ in range(_REDIRECTS_MAX + 1):
            headers = self._headers(urlsplit(url)) | {"Accept-Encoding": "identity"}
            if start:
                headers["Range"] = f"bytes={start}-"
            response = self._request("GET", url, headers)
            if not (location := response.get_redirect_location()):
                break
            response.close()
            url = self._redirected(url, str(location))
        else:
            raise self._unreachable(path, f"more than {_REDIRECTS_MAX} redirects")
        try:
            if response.status not in (200, 206) and not (start and response.status == _NO_SUCH_RANGE):
                raise self._refused(path, response.status, "reading")
            if response.status == 206 and not _starts_at(response, start):
                raise self._unreachable(path, "the server answers with another range than the one asked for")
            yield response
        finally:
            _done_with(response)

    def _request(self, method: str, url: str, headers: dict[str, str], body: bytes | None = None) -> BaseHTTPResponse:
        if self._pools is None:
            self._pools = _pool_manager(self._origin, self._limits, self._deadline)
        self._deadline.set(self._limits.connect_s + 2 * self._limits.gap_s)
        return self._pools.request(
            method, url, headers=headers, body=body, redirect=False, preload_content=False, decode_content=False
        )

    def _url(self, path: str) -> str:
        return f"{self._base}/{quote(path)}"

    def _headers(self, url: SplitResult) -> dict[str, str]:
        from urllib3 import make_headers

        headers = {"User-Agent": "robot-assets-agent"}
        if self._user and (url.scheme, url.netloc) == (self._origin.scheme, self._origin.netloc):
            headers |= make_headers(basic_auth=f"{self._user}:{self._password or ''}")
        return headers

    def _redirected(self, url: str, location: str) -> str:
        target = urljoin(url, location)
        if urlsplit(target).scheme not in ({"https"} if url.startswith("https:") else {"http", "https"}):
            raise self._unreachable("", f"a redirect to {target[:100]}, which is less secure")
        return target

    @contextmanager
    def _translated(self, path: str) -> Iterator[None]:
        """Turn the exceptions of urllib3 into errors with three parts."""
        from urllib3.exceptions import HTTPError, MaxRetryError

        try:
            yield
        except MaxRetryError as error:
            raise self._unreachable(path, _in_words(error.reason)) from None
        except (HTTPError, OSError) as error:
            raise self._unreachable(path, _in_words(error)) from None

    def _unreachable(self, path: str, why: str) -> Unreachable:
        return Unreachable(
            f"{self._base}/{path} cannot be reached: {why}",
            needed="a connection to the distribution repository",
            fix=f"curl -sS -o /dev/null {self._base}/metadata/timestamp.json",
        )

    def _slow(self, path: str) -> Unreachable:
        rate = f"{self._limits.rate_bytes_s:.0f} bytes per second"
        return self._unreachable(path, f"it arrives at less than {rate}")

    def _refused(self, path: str, status: int, doing: str) -> AgentError:
        kind = Missing if status in _MISSING else Denied if status in _DENIED else Unreachable
        return kind(
            f"{self._base}/{path}: the server answers {status} to {doing}",
            needed="a server with the files of the distribution repository, and the right to read them",
            fix=f"curl -sS -o /dev/null -w '%{{http_code}}' {self._base}/{path}",
        )


class FilesTransport:
    """A folder, or a URL that fsspec opens."""

    def __init__(self, files: Files, limits: Limits) -> None:
        self._files = files
        self._limits = limits

    @property
    def name(self) -> str:
        """The URL without credentials."""
        return self._files.name

    def read_from(self, path: str, start: int) -> Iterator[bytes]:
        """See Transport."""
        with self._translated(path):
            yield from paced(self._files.read_from(path, start), self._limits, lambda: self._slow(path))

    def put(self, path: str, content: bytes) -> None:
        """See Transport."""
        with self._translated(path):
            self._files.write(path, content)

    @contextmanager
    def _translated(self, path: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise Missing(
                f"{self.name} has no {path}",
                needed="the files of the distribution repository",
                fix="robot-assets fleet init   # where releases are published; or mount the disk that has them",
            ) from None
        except RobotAssetsError as error:
            raise Unreachable(error.found, needed=error.needed, fix=error.fix) from None

    def _slow(self, path: str) -> Unreachable:
        return Unreachable(
            f"{self.name}/{path} arrives at less than {self._limits.rate_bytes_s:.0f} bytes per second",
            needed="a faster connection, or another copy of the repository",
            fix="robot-assets agent once   # goes on where it stopped",
        )


def _pool_manager(origin: SplitResult, limits: Limits, deadline: Deadline) -> PoolManager:
    """Connections to the server, through the proxy of the environment ($https_proxy, $no_proxy) if there is one."""
    import ssl
    from urllib.request import getproxies, proxy_bypass

    from urllib3 import PoolManager, ProxyManager, Retry, Timeout

    from robot_assets.agent.timed_http import pool_classes

    timeout = Timeout(connect=limits.connect_s, read=limits.gap_s)
    retries = Retry(total=1, redirect=0, status=0)
    proxy = getproxies().get(origin.scheme)
    # one for all connections: the certificates of a system take 10 MB when each failed connection loads its own
    context = ssl.create_default_context() if origin.scheme == "https" else None
    pools = PoolManager(timeout=timeout, retries=retries, maxsize=1, num_pools=2, ssl_context=context)
    if proxy and not proxy_bypass(origin.netloc):
        pools = ProxyManager(proxy, timeout=timeout, retries=retries, maxsize=1, ssl_context=context)
    pools.pool_classes_by_scheme = pool_classes(deadline.check)
    return pools


def _starts_at(response: BaseHTTPResponse, start: int) -> bool:
    return (response.headers.get("Content-Range") or "").replace("=", " ").startswith(f"bytes {start}-")


def _done_with(response: BaseHTTPResponse) -> None:
    """Keep the connection when the answer was read to its end, else close it: nothing more is read from it."""
    if response.length_remaining:
        response.close()
    response.release_conn()


def _in_words(error: object) -> str:
    """The reason in an exception of urllib3, without its objects."""
    text = str(error)
    for words, meaning in _REASONS.items():
        if words in text or words in type(error).__name__:
            return meaning
    return text.rpartition("object at 0x")[2].partition(">: ")[2] or text or type(error).__name__


_REASONS = {
    "NameResolutionError": "its host name cannot be resolved",
    "ConnectTimeout": "no connection in time",
    "ReadTimeout": "no answer in time",
    "Read timed out": "no answer in time",
    "Connection refused": "the connection is refused",
    "CERTIFICATE_VERIFY_FAILED": "its certificate is not valid, or the clock of this robot is wrong",
    "IncompleteRead": "the connection ended before the end of the file",
    "Connection broken": "the connection ended before the end of the file",
    "Network is unreachable": "the network is down",
}
