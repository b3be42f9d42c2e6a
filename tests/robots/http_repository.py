"""A distribution repository behind a real HTTP/1.1 server of this machine, which can be made to misbehave.

Serves a folder with ``Range`` and ``ETag``, and takes reports by ``PUT``. An attack is a way to answer, for the paths
that match a pattern.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatch
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit


@dataclass(frozen=True)
class Asked:
    """One request: method, path without the first slash, whether it asked for a range, and the bytes of the answer."""

    method: str
    path: str
    has_range: bool
    sent: int


Answer = Callable[["Handler", bytes | None], None]
"""Answers a GET; the bytes are those of the file, None where there is none."""


@dataclass
class HttpRepository:
    """Attributes: attacks: by pattern of the path; the first that matches. asked: every request so far."""

    folder: Path
    url: str = ""
    attacks: dict[str, Answer] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    closing: threading.Event = field(default_factory=threading.Event)

    def attack_on(self, path: str) -> Answer | None:
        return next((answer for pattern, answer in self.attacks.items() if fnmatch(path, pattern)), None)

    @contextmanager
    def attacked(self, pattern: str, answer: Answer) -> Iterator[None]:
        """Answer requests for paths like ``pattern`` in this way until the block ends."""
        self.attacks[pattern] = answer
        try:
            yield
        finally:
            del self.attacks[pattern]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 512
    repository: HttpRepository

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away is no error of the server."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    @property
    def repository(self) -> HttpRepository:
        return self.server.repository

    @property
    def name(self) -> str:
        return unquote(urlsplit(self.path).path).lstrip("/")

    def do_GET(self) -> None:
        content = self._content()
        attack = self.repository.attack_on(self.name)
        self._sent = 0
        try:
            if attack:
                attack(self, content)
            elif content is None:
                self.answer(HTTPStatus.NOT_FOUND)
            else:
                self._file(content)
        except OSError:
            self.close_connection = True
        finally:
            asked = Asked(self.command, self.name, "Range" in self.headers, self._sent)
            self.repository.asked.append(asked)

    do_HEAD = do_GET

    def do_PUT(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        self.repository.asked.append(Asked("PUT", self.name, False, len(content)))
        attack = self.repository.attack_on(self.name)
        if attack:
            attack(self, None)
            return
        target = self.repository.folder / self.name
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f".{target.name}.{threading.get_ident()}")
        part.write_bytes(content)
        part.replace(target)
        self.answer(HTTPStatus.CREATED)

    def _content(self) -> bytes | None:
        path = (self.repository.folder / self.name).resolve()
        if not path.is_relative_to(self.repository.folder.resolve()) or not path.is_file():
            return None
        return path.read_bytes()

    def _file(self, content: bytes) -> None:
        start, end = self.range(len(content))
        if start is None:
            self.answer(HTTPStatus.OK, content)
        elif start >= len(content):
            self.answer(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, b"", {"Content-Range": f"bytes */{len(content)}"})
        else:
            where = {"Content-Range": f"bytes {start}-{end - 1}/{len(content)}"}
            self.answer(HTTPStatus.PARTIAL_CONTENT, content[start:end], where)

    def range(self, size: int) -> tuple[int | None, int]:
        """First byte that is asked for, None for all, and the end."""
        unit, _, interval = self.headers.get("Range", "").partition("=")
        first, _, last = interval.partition("-")
        if unit != "bytes" or not first.isdigit():
            return None, size
        return int(first), min(size, int(last) + 1) if last.isdigit() else size

    def answer(self, status: HTTPStatus, content: bytes = b"", headers: dict[str, str] | None = None) -> None:
        """Answer with these bytes."""
        self.start(status, len(content), headers)
        if self.command != "HEAD":
            self.send(content)

    def start(self, status: HTTPStatus, length: int | None, headers: dict[str, str] | None = None) -> None:
        """Send the head of an answer; ``length`` None: the body ends with the connection."""
        self.send_response(status)
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        if length is None:
            self.send_header("Connection", "close")
            self.close_connection = True
        else:
            self.send_header("Content-Length", str(length))
        self.end_headers()

    def send(self, content: bytes) -> None:
        """Send a part of a body."""
        self.wfile.write(content)
        self._sent = getattr(self, "_sent", 0) + len(content)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing on the terminal of the tests."""


def status(code: int) -> Answer:
    """Refuse."""
    return lambda handler, content: handler.answer(HTTPStatus(code), b"no")


def replaced(content: bytes) -> Answer:
    """Other bytes under the name."""
    return lambda handler, _: handler.answer(HTTPStatus.OK, content)


def truncated(share: float = 0.5) -> Answer:
    """Announce all bytes, send a share of them, and close the connection."""

    def answer(handler: Handler, content: bytes | None) -> None:
        whole = content or b""
        handler.start(HTTPStatus.OK, len(whole))
        handler.send(whole[: int(len(whole) * share)])
        handler.close_connection = True

    return answer


def cut(share: float = 0.5) -> Answer:
    """A file that is cut: fewer bytes, and as many announced."""
    return lambda handler, content: handler.answer(HTTPStatus.OK, (content or b"")[: int(len(content or b"") * share)])


def wrong_length(extra: int) -> Answer:
    """Announce another length than is sent, and close the connection."""

    def answer(handler: Handler, content: bytes | None) -> None:
        handler.start(HTTPStatus.OK, max(0, len(content or b"") + extra))
        handler.send(content or b"")
        handler.close_connection = True

    return answer


def endless(handler: Handler, content: bytes | None) -> None:
    """The file, and then zeros for as long as somebody reads them."""
    handler.start(HTTPStatus.OK, None)
    handler.send(content or b"")
    while not handler.repository.closing.is_set():
        handler.send(bytes(1 << 16))


def slow(pause_s: float) -> Answer:
    """One byte in ``pause_s`` seconds: each arrives before a time limit between two bytes ends."""

    def answer(handler: Handler, content: bytes | None) -> None:
        whole = content or b""
        handler.start(HTTPStatus.OK, len(whole))
        for index in range(len(whole)):
            if handler.repository.closing.wait(pause_s):
                break
            handler.send(whole[index : index + 1])
        handler.close_connection = True

    return answer


def hang(handler: Handler, content: bytes | None) -> None:
    """Accept, and never answer."""
    handler.repository.closing.wait()
    handler.close_connection = True


def reset(handler: Handler, content: bytes | None) -> None:
    """Close the connection without an answer."""
    handler.close_connection = True


def no_range(handler: Handler, content: bytes | None) -> None:
    """A server that ignores ``Range`` and sends the whole file."""
    handler.answer(HTTPStatus.OK if content is not None else HTTPStatus.NOT_FOUND, content or b"")


@contextmanager
def serving(folder: Path) -> Iterator[HttpRepository]:
    """Serve ``folder`` on a free port of 127.0.0.1 until the block ends."""
    repository = HttpRepository(folder)
    server = _Server(("127.0.0.1", 0), Handler)
    server.repository = repository
    repository.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield repository
    finally:
        repository.closing.set()
        server.shutdown()
        server.server_close()
        thread.join()
