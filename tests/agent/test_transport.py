"""Reading over HTTP and from a folder: ranges, redirects, limits, and servers that misbehave."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from robot_assets.agent.transport import (
    Denied,
    HttpTransport,
    Limits,
    Missing,
    TooLong,
    Transport,
    Unreachable,
    get,
    paced,
    transport_of,
)
from robot_assets.fleet.errors import AgentError
from tests.robots import http_repository as http

LIMITS = Limits(connect_s=1, gap_s=0.3, grace_s=0.2, rate_bytes_s=2000)
CONTENT = bytes(range(256)) * 40


@pytest.fixture
def server(tmp_path: Path) -> Iterator[http.HttpRepository]:
    (tmp_path / "blobs").mkdir()
    (tmp_path / "blobs" / "a b%20").write_bytes(CONTENT)
    (tmp_path / "blobs" / "x").write_bytes(CONTENT)
    with http.serving(tmp_path) as running:
        yield running


@pytest.fixture(params=["http", "folder", "file"])
def transport(request: pytest.FixtureRequest, server: http.HttpRepository) -> Transport:
    urls = {"http": server.url, "folder": str(server.folder), "file": f"file://{server.folder}"}
    return transport_of(urls[request.param], LIMITS)


@pytest.mark.parametrize("start", [0, 1, 5000, len(CONTENT) - 1, len(CONTENT)])
def test_a_file_is_read_from_any_byte(transport: Transport, start: int) -> None:
    assert b"".join(transport.read_from("blobs/x", start)) == CONTENT[start:]


def test_names_are_not_interpreted(transport: Transport) -> None:
    assert get(transport, "blobs/a b%20", 1 << 20) == CONTENT


def test_what_is_written_is_read(transport: Transport) -> None:
    transport.put("reports/robots/r1.json", b"one")
    transport.put("reports/robots/r1.json", b"two")
    assert get(transport, "reports/robots/r1.json", 10) == b"two"


def test_a_missing_file_is_missing(transport: Transport) -> None:
    with pytest.raises(Missing) as caught:
        get(transport, "blobs/none", 10)
    assert caught.value.status == 404


def test_no_more_is_read_than_allowed(transport: Transport) -> None:
    assert get(transport, "blobs/x", len(CONTENT)) == CONTENT
    with pytest.raises(TooLong, match="more than 100 bytes"):
        get(transport, "blobs/x", 100)


def test_a_server_without_ranges_is_read_from_the_start(server: http.HttpRepository) -> None:
    with server.attacked("blobs/*", http.no_range):
        assert b"".join(HttpTransport(server.url, LIMITS).read_from("blobs/x", 5000)) == CONTENT[5000:]


def test_another_range_than_the_one_asked_for_is_refused(server: http.HttpRepository) -> None:
    def answer(handler: http.Handler, content: bytes | None) -> None:
        where = {"Content-Range": f"bytes 0-99/{len(CONTENT)}"}
        handler.answer(HTTPStatus.PARTIAL_CONTENT, CONTENT[:100], where)

    with server.attacked("blobs/*", answer), pytest.raises(Unreachable, match="another range"):
        get_from(server, 50)


def get_from(server: http.HttpRepository, start: int = 0) -> bytes:
    return b"".join(HttpTransport(server.url, LIMITS).read_from("blobs/x", start))


@pytest.mark.parametrize(
    ("answer", "error", "said"),
    [
        (http.status(403), Denied, "answers 403"),
        (http.status(500), Unreachable, "answers 500"),
        (http.hang, Unreachable, "no answer in time"),
        (http.reset, Unreachable, "cannot be reached"),
        (http.truncated(), Unreachable, "ended before the end"),
        (http.slow(0.01), Unreachable, "less than 2000 bytes per second"),
    ],
)
def test_a_server_that_misbehaves_is_an_error_in_time(
    server: http.HttpRepository, answer: http.Answer, error: type[AgentError], said: str
) -> None:
    with server.attacked("blobs/*", answer), pytest.raises(error, match=said) as caught:
        get_from(server)
    assert "0x" not in caught.value.found


def test_headers_that_drip_end_in_time(server: http.HttpRepository) -> None:
    def answer(handler: http.Handler, content: bytes | None) -> None:
        for byte in b"HTTP/1.1 200 OK\r\nX-Drip: " + b"a" * 2000:
            if handler.repository.closing.wait(0.02):
                break
            handler.wfile.write(bytes([byte]))
            handler.wfile.flush()
        handler.close_connection = True

    with server.attacked("blobs/*", answer), pytest.raises(Unreachable, match="no answer in time"):
        get_from(server)


def test_the_length_of_a_chunk_that_drips_ends_in_time(server: http.HttpRepository) -> None:
    def answer(handler: http.Handler, content: bytes | None) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while not handler.repository.closing.wait(0.02):
            handler.wfile.write(b"0")
            handler.wfile.flush()

    with server.attacked("blobs/*", answer), pytest.raises(Unreachable, match="no answer in time"):
        get_from(server)


def test_a_few_redirects_are_followed(server: http.HttpRepository) -> None:
    with server.attacked("blobs/y", redirect("/blobs/x")):
        assert b"".join(HttpTransport(server.url, LIMITS).read_from("blobs/y", 7)) == CONTENT[7:]


def test_redirects_without_end_are_an_error(server: http.HttpRepository) -> None:
    with server.attacked("blobs/*", redirect("/blobs/x")), pytest.raises(Unreachable, match="3 redirects"):
        get_from(server)


def test_a_redirect_to_a_file_of_this_machine_is_refused(server: http.HttpRepository) -> None:
    with server.attacked("blobs/*", redirect("file:///etc/passwd")), pytest.raises(Unreachable, match="less secure"):
        get_from(server)


def redirect(location: str) -> http.Answer:
    return lambda handler, content: handler.answer(HTTPStatus.FOUND, b"", {"Location": location})


def test_credentials_go_to_their_host_alone_and_are_not_shown(server: http.HttpRepository, tmp_path: Path) -> None:
    seen: list[str | None] = []

    def note(handler: http.Handler, content: bytes | None) -> None:
        seen.append(handler.headers.get("Authorization"))
        handler.answer(HTTPStatus.OK, content or b"")

    with http.serving(tmp_path) as other:
        transport = HttpTransport(server.url.replace("://", "://robot:secret@"), LIMITS)
        with server.attacked("blobs/x", note), other.attacked("blobs/x", note):
            get(transport, "blobs/x", 1 << 20)
            with server.attacked("blobs/y", redirect(f"{other.url}/blobs/x")):
                get(transport, "blobs/y", 1 << 20)
        with server.attacked("*", http.status(403)), pytest.raises(AgentError) as caught:
            get(transport, "metadata/x", 10)
    assert seen[0] is not None
    assert seen[1] is None
    assert "secret" not in str(caught.value) + transport.name


def test_a_server_that_is_not_there_is_unreachable(server: http.HttpRepository) -> None:
    with pytest.raises(Unreachable, match="connection is refused"):
        get(HttpTransport("http://127.0.0.1:9", LIMITS), "x", 10)
    with pytest.raises(Unreachable, match="host name cannot be resolved"):
        get(HttpTransport("http://no-such-host.invalid", LIMITS), "x", 10)


def test_a_connection_is_used_again(server: http.HttpRepository) -> None:
    ports: set[int] = set()

    def note(handler: http.Handler, content: bytes | None) -> None:
        ports.add(handler.client_address[1])
        handler.answer(HTTPStatus.OK, content or b"")

    with server.attacked("blobs/x", note):
        transport = HttpTransport(server.url, LIMITS)
        for _ in range(3):
            get(transport, "blobs/x", 1 << 20)
    assert len(ports) == 1


def test_the_time_of_the_reader_is_not_that_of_the_server() -> None:
    limits = Limits(grace_s=0, rate_bytes_s=1e9)
    with pytest.raises(ValueError, match="slow"):
        list(paced(iter([b"a"] * 3), limits, lambda: ValueError("slow")))  # type: ignore[arg-type, return-value]
    assert list(paced(iter([b"a"] * 3), Limits(grace_s=5), lambda: AgentError("", needed="", fix=""))) == [b"a"] * 3


def test_a_proxy_of_the_environment_is_used(server: http.HttpRepository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", server.url)
    monkeypatch.setenv("no_proxy", "other.invalid")
    assert get(HttpTransport("http://fleet.invalid", LIMITS), "blobs/x", 1 << 20) == CONTENT
    with pytest.raises(Unreachable, match="cannot be resolved"):
        get(HttpTransport("http://other.invalid", LIMITS), "blobs/x", 1 << 20)


def test_a_server_has_to_have_a_valid_certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate, key = certificate_of_this_machine(tmp_path)
    (tmp_path / "x").write_bytes(CONTENT)
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path))) as server:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        url = f"https://127.0.0.1:{server.server_address[1]}"
        with pytest.raises(Unreachable, match="certificate is not valid"):
            get(HttpTransport(url, LIMITS), "x", 1 << 20)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert get(HttpTransport(url, LIMITS), "x", 1 << 20) == CONTENT
        server.shutdown()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Nothing on the terminal of the tests."""


def certificate_of_this_machine(folder: Path) -> tuple[Path, Path]:
    """A certificate of 127.0.0.1, signed by itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = datetime.now(UTC)
    address = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, now - timedelta(days=1), now + timedelta(days=1))
        .add_extension(address, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    (folder / "c.pem").write_bytes(made.public_bytes(encoding))
    (folder / "k.pem").write_bytes(key.private_bytes(encoding, form, serialization.NoEncryption()))
    return folder / "c.pem", folder / "k.pem"
