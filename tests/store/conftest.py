"""Real files, a real ``dvc`` command and a real S3 API server."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from robot_assets.store import Store

PROJECT = Path(__file__).resolve().parents[2]
BUCKET = "artifacts"

Dvc = Callable[..., str]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def shared(tmp_path: Path) -> Store:
    """A store with a remote that is a local directory."""
    return Store(tmp_path / "cache", str(tmp_path / "remote"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small directory with names and sizes that naive code fails on."""
    root = tmp_path / "folder"
    (root / "sub" / "é").mkdir(parents=True)
    (root / "empty").mkdir()
    (root / "a").write_bytes(b"a")
    (root / "a b\"\\'\n").write_bytes(b"quotes")
    (root / "zero").write_bytes(b"")
    (root / "twin").write_bytes(b"a")
    (root / "sub.x").write_bytes(b"sorts before sub/")
    (root / "sub" / "crlf.txt").write_bytes(b"one\r\ntwo\r\n")
    (root / "sub" / "é" / "ü😀.txt").write_bytes("ü".encode())
    (root / "sub" / "large.bin").write_bytes(os.urandom(3 << 20))
    return root


@pytest.fixture
def dvc(tmp_path: Path) -> Dvc:
    """Run the real ``dvc`` command in a repository of its own, the folder ``dvc`` of ``tmp_path``."""
    command = PROJECT / ".venv-dvc" / "bin" / "dvc"
    if not command.exists():
        pytest.fail(f"no dvc command at {command}; run: make setup")
    repository = tmp_path / "dvc"
    repository.mkdir()

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [command, *arguments],
            cwd=repository,
            env={**os.environ, "DVC_NO_ANALYTICS": "1"},
            capture_output=True,
            text=True,
        )
        if done.returncode:
            pytest.fail(f"dvc {' '.join(arguments)} failed:\n{done.stdout}{done.stderr}")
        return done.stdout

    (repository / ".dvc").mkdir()
    (repository / ".dvc" / "config").write_text("[core]\n    no_scm = True\n")
    return run


def set_remote(repository: Path, url: str) -> None:
    """Make ``url`` the default remote of a ``dvc`` repository."""
    with (repository / ".dvc" / "config").open("a") as config:
        config.write(f"    remote = shared\n['remote \"shared\"']\n    url = {url}\n")
        if url.startswith("s3://"):
            config.write(f"    endpointurl = {os.environ['AWS_ENDPOINT_URL']}\n")


@pytest.fixture
def s3(s3_server: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """URL of an empty prefix in a bucket; endpoint and credentials are in the environment."""
    import fsspec

    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a-secret-nobody-may-see")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    fs = fsspec.filesystem("s3", skip_instance_cache=True)
    if not fs.exists(BUCKET):
        fs.mkdir(BUCKET)
    return f"s3://{BUCKET}/{request.node.name.replace('[', '-').replace(']', '')}"


def content(root: Path) -> dict[str, bytes]:
    """Every file below ``root`` with its bytes."""
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def objects(root: Path) -> dict[str, Path]:
    """Every object of a cache or remote, by digest."""
    return {path.parent.name + path.name: path for path in (root / "files/md5").rglob("*") if path.is_file()}
