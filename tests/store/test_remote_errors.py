"""Each kind of error of a remote has a sentence and a fix of its own; a full disk is not a matter of credentials."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from robot_assets.core.errors import StoreError
from robot_assets.store import Store

_XML = "<?xml version='1.0'?><Error><Code>{code}</Code><Message>said by the server</Message></Error>"


@contextmanager
def refusing(status: int, code: str) -> Iterator[str]:
    """An S3 server that answers every request with one error."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            body = b"" if self.command == "HEAD" else _XML.format(code=code).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/xml")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_HEAD = do_PUT = do_POST = answer

        def log_message(self, format: str, *values: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_text("content")
    return path


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a-secret-nobody-may-see")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    return monkeypatch


def error_of(tmp_path: Path, file: Path, url: str) -> StoreError:
    with pytest.raises(StoreError) as caught:
        Store(tmp_path / "cache", url).push(Store(tmp_path / "cache").add(file).digest)
    assert "a-secret-nobody-may-see" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize(
    ("status", "code", "what", "fix"),
    [
        (403, "AccessDenied", "do not allow this (403)", "aws s3 ls s3://bucket/prefix"),
        (403, "ExpiredToken", "the credentials have expired", "aws sso login"),
        (403, "RequestTimeTooSkewed", "the clock of this machine", "timedatectl set-ntp true"),
        (403, "InvalidAccessKeyId", "does not know this AWS_ACCESS_KEY_ID", "export AWS_ACCESS_KEY_ID="),
        (403, "SignatureDoesNotMatch", "does not belong to AWS_ACCESS_KEY_ID", "export AWS_ACCESS_KEY_ID="),
        (404, "NoSuchBucket", "there is no bucket bucket (404)", "aws s3 mb s3://bucket "),
        (503, "SlowDown", "the server is busy or failing", "wait a minute"),
    ],
)
def test_an_answer_of_the_server_has_the_fix_of_its_kind(tmp_path, file, aws, status, code, what, fix):
    with refusing(status, code) as url:
        aws.setenv("AWS_ENDPOINT_URL", url)
        error = error_of(tmp_path, file, "s3://bucket/prefix")
    assert what in error.found
    assert error.fix.startswith(fix)


def test_a_host_without_a_name_is_no_matter_of_credentials(tmp_path, file, aws):
    aws.setenv("AWS_ENDPOINT_URL", "http://nohost.invalid:9000")
    error = error_of(tmp_path, file, "s3://bucket/prefix")
    assert "the host name nohost.invalid:9000 cannot be resolved" in error.found
    assert error.fix.startswith("getent hosts nohost.invalid ")


def test_a_host_that_does_not_answer_is_named(tmp_path, file, aws):
    aws.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    error = error_of(tmp_path, file, "s3://bucket/prefix")
    assert "127.0.0.1:9 cannot be reached" in error.found
    assert error.fix.startswith("curl -sSI 127.0.0.1:9 ")


def test_missing_credentials_are_named(tmp_path, file, aws):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        aws.delenv(name)
    aws.setenv("AWS_EC2_METADATA_DISABLED", "true")
    aws.setenv("HOME", str(tmp_path))
    aws.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    assert "there are no credentials" in error_of(tmp_path, file, "s3://bucket/prefix").found


def test_an_unknown_protocol_and_a_bad_bucket_name_are_named(tmp_path, file, aws):
    assert "there is no such protocol" in error_of(tmp_path, file, "s4://bucket/prefix").found
    error = error_of(tmp_path, file, "s3://No_Bucket!/prefix")
    assert "'No_Bucket!' is not a valid bucket name" in error.found
    assert "\n" not in error.found


def test_a_file_in_the_path_of_a_folder_is_named(tmp_path, file):
    error = error_of(tmp_path, file, str(file / "store"))
    assert "a part of this path is a file" in error.found


_ADD = """
import sys
from pathlib import Path
from robot_assets.core.errors import StoreError
from robot_assets.store import Store, open_store
cache, remote, source = sys.argv[1:]
try:
    Store(Path(cache), remote or None).add(Path(source))
except StoreError as error:
    print(error)
    sys.exit(1)
"""


@pytest.mark.parametrize("full", ["store", "remote", "cache of a remote"])
def test_a_full_disk_is_named_with_its_mount(tmp_path, full):
    disk, source = tmp_path / "small disk", tmp_path / "source"
    disk.mkdir()
    source.mkdir()
    for number in range(8):
        (source / f"{number}.bin").write_bytes(number.to_bytes(1, "little") * (1 << 20))
    cache = disk / "cache" if full != "remote" else tmp_path / "cache"
    remote = {"store": "", "remote": str(disk / "remote"), "cache of a remote": str(tmp_path / "remote")}[full]
    python = [sys.executable, "-c", _ADD, str(cache), remote, str(source)]
    script = 'mount -t tmpfs -o size=3m tmpfs "$0" || exit 77; exec "$@"'
    done = subprocess.run(
        ["unshare", "--map-root-user", "--mount", "sh", "-c", script, str(disk), *python],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    if done.returncode == 77 or "unshare failed" in done.stderr:
        pytest.skip(f"no disk can be mounted here: {done.stderr.strip()}")
    assert done.returncode == 1, done.stderr
    assert f"no space left on {disk} while" in done.stdout
    assert f"fix: df -h '{disk}'" in done.stdout
    assert "credentials" not in done.stdout
