"""Exceptions of the operating system and of libraries, really raised, in found, needed and fix."""

from __future__ import annotations

import errno
import json
import os
import socket
import sqlite3
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pytest
import sqlalchemy
import yaml
from pydantic import BaseModel

from dagster_project.commands.errors import translated as translated_of_dagster
from robot_assets.core.errors import DataError, RobotAssetsError
from robot_assets.core.os_errors import mount_of, sqlite_error
from robot_assets.core.translation import add_translator, translated


class Document(BaseModel):
    count: int


def raised(work: Callable[[], object]) -> Exception:
    try:
        work()
    except Exception as error:
        return error
    raise RuntimeError("nothing was raised")


def found(work: Callable[[], object]) -> RobotAssetsError:
    error = translated(raised(work))
    assert error is not None
    assert error.needed
    assert error.fix
    return error


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a file"
    path.write_text("text")
    return path


def test_paths_are_named_with_what_is_wrong_about_them(tmp_path: Path, file: Path) -> None:
    missing = tmp_path / "no" / "such"
    assert found(missing.read_bytes).found == f"{missing} does not exist"
    assert found(missing.read_bytes).fix == f"ls -la {tmp_path}"
    assert found(tmp_path.read_bytes).found == f"{tmp_path} is a folder"
    below = found((file / "below" / "it").read_bytes)
    assert below.found == f"{file} is a file, in the path {file / 'below' / 'it'}"
    assert below.fix.startswith(f"ls -la {tmp_path}")
    assert found(file.mkdir).found == f"{file} is a file"
    assert found(lambda: (file / "below").mkdir(parents=True)).found.startswith(f"{file} is a file")
    assert found((tmp_path / ("x" * 300)).read_bytes).found.endswith("is too long")
    (tmp_path / "loop").symlink_to("loop")
    assert (
        found((tmp_path / "loop").read_bytes).found
        == f"{tmp_path / 'loop'} is a symbolic link that leads back to itself"
    )


def test_the_second_path_is_named_where_the_first_exists(tmp_path: Path, file: Path) -> None:
    target = tmp_path / "no" / "b"
    assert found(lambda: os.rename(file, target)).found == f"{target} does not exist"
    assert found(lambda: os.rename(target, file)).found == f"{target} does not exist"


@pytest.mark.parametrize(
    ("code", "said", "fix"),
    [
        (errno.ENOSPC, "no space left on {mount}, writing {path}", "df -h {mount}   # "),
        (errno.EDQUOT, "no space left on {mount}, writing {path}", "df -h {mount}   # "),
        (errno.EROFS, "{mount} is a read-only file system, writing {path}", "mount -o remount,rw {mount}   # "),
        (errno.EACCES, "permission denied: {path}", "ls -ld {path}   # "),
        (errno.EMFILE, "too many open files, opening {path}", "ulimit -n 4096   # "),
        (errno.EIO, "the operating system refused: {path} (", "ls -ld {path}   # "),
    ],
)
def test_errors_without_a_real_disk_here(tmp_path: Path, code: int, said: str, fix: str) -> None:
    error = translated(OSError(code, os.strerror(code), str(tmp_path)))
    places = {"mount": mount_of(tmp_path), "path": tmp_path}
    assert error is not None
    assert error.found.startswith(said.format(**places))
    assert error.fix.startswith(fix.format(**places))


def test_a_host_that_has_no_address_and_a_port_without_a_server() -> None:
    assert found(lambda: socket.getaddrinfo("no-such-host.invalid", 80)).found.startswith(
        "a host name cannot be resolved"
    )
    assert found(lambda: socket.create_connection(("127.0.0.1", 9))).found.startswith("the connection failed")


def test_an_exception_of_a_library_that_is_an_oserror_is_not_one_of_the_system() -> None:
    assert translated(OSError("cannot identify image file")) is None


@pytest.mark.parametrize(
    ("work", "said"),
    [
        (lambda: b"\xff".decode(), "text that is not utf-8: byte 0xff at 0"),
        (lambda: json.loads('{"a": 1,\n}'), "not JSON: "),
        (lambda: yaml.safe_load("a: [1"), "not YAML: "),
        (lambda: yaml.safe_load("a:\n\tb: 1"), "not YAML: found character '\\t'"),
        (lambda: Document.model_validate({"count": "x"}), "Document has 1 mistake: count: needed a whole number"),
        (lambda: json.loads("[" * 100_000), "the input is nested too deeply"),
        (lambda: bytearray(1 << 60), "the memory of this process is exhausted"),
    ],
)
def test_documents_and_limits(work: Callable[[], object], said: str) -> None:
    assert found(work).found.startswith(said)
    assert "Input should" not in found(work).found


def test_what_an_exception_was_raised_from_is_found(tmp_path: Path) -> None:
    ours = DataError("a", needed="b", fix="c")

    def wrapped(cause: BaseException) -> RuntimeError:
        outer = RuntimeError("outer")
        outer.__cause__ = cause
        return outer

    assert translated(wrapped(wrapped(ours))) is ours
    assert translated(ExceptionGroup("two", [ours, ValueError()])) is ours
    missing = raised((tmp_path / "no").read_bytes)
    assert found(lambda: (_ for _ in ()).throw(wrapped(missing))).found.endswith("does not exist")
    assert translated(ValueError("unknown")) is None


def test_a_package_adds_a_translator_once() -> None:
    class OfLibrary(Exception):
        pass

    def translator(error: BaseException) -> RobotAssetsError | None:
        return DataError(f"library: {error}", needed="b", fix="c") if isinstance(error, OfLibrary) else None

    add_translator(translator)
    add_translator(translator)
    assert found(lambda: (_ for _ in ()).throw(OfLibrary("x"))).found == "library: x"


def test_sqlite_names_the_folder_and_what_is_lost(tmp_path: Path) -> None:
    database = tmp_path / "a b" / "runs.db"
    database.parent.mkdir()
    database.write_bytes(b"no database" * 100)
    error = sqlite_error(raised(lambda: sqlite3.connect(database).execute("select * from runs")), database.parent)
    assert error is not None
    assert error.found.startswith(f"a database file is damaged or of another kind in {database.parent}")
    assert error.fix.startswith(f"mv '{database.parent}' '{database.parent}'.damaged   # ")
    assert "cannot be opened" in found(lambda: sqlite3.connect(tmp_path / "no" / "runs.db")).found


def test_sqlalchemy_is_translated_by_what_it_wraps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    (tmp_path / "runs.db").write_bytes(b"no database" * 100)

    def query(url: str) -> None:
        engine = sqlalchemy.create_engine(url)
        with engine.connect() as connection:
            connection.execute(sqlalchemy.text("select * from runs"))

    damaged = translated_of_dagster(raised(lambda: query(f"sqlite:///{tmp_path}/runs.db")))
    assert damaged is not None
    assert damaged.found.startswith(f"a database file is damaged or of another kind in {tmp_path}")
    refused = translated_of_dagster(raised(lambda: query("postgresql+psycopg2://robot:secret@127.0.0.1:9/assets")))
    assert refused is not None
    assert refused.found.startswith("PostgreSQL cannot be used: ")
    assert "secret" not in str(refused)
    unknown = translated_of_dagster(raised(lambda: query("oracel://x")))
    assert unknown is not None
    assert "has no valid address" in unknown.found


def test_exceptions_of_dagster_are_translated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    unset = translated_of_dagster(raised(dg.DagsterInstance.get))
    assert unset is not None
    assert unset.found == "DAGSTER_HOME cannot be used: it is not set"
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    (tmp_path / "dagster.yaml").write_text("run_luncher: {module: a, class: b}\n")
    unknown = translated_of_dagster(raised(dg.DagsterInstance.get))
    assert unknown is not None
    assert unknown.found.startswith(f"{tmp_path}/dagster.yaml is not a valid configuration: ")
    assert "run_luncher" in unknown.found
    assert unknown.fix == f"mv {tmp_path}/dagster.yaml {tmp_path}/dagster.yaml.damaged"
    assert translated_of_dagster(ValueError("x")) is None


def test_the_home_of_a_user_who_does_not_exist_is_named() -> None:
    error = found(Path("~no-such-user/robot").expanduser)
    assert error.found.startswith("a path begins with ~, and this machine has no such user")
