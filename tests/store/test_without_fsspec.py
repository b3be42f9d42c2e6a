"""A store in folders needs no fsspec, and a store elsewhere names the extra that installs it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.store.conftest import content

ROUND_TRIP = """
first, remote, folder, second, out = map(Path, sys.argv[1:])
sent = Store(first, str(remote))
digest = sent.add(folder).digest
sent.attest(digest, "note", b"{}")
received = Store(second, f"file://{remote}")
received.get(digest, out)
print(*received.attestations(digest))
"""
OPEN = """
try:
    Store(Path(sys.argv[1]), "s3://bucket/prefix").has("0" * 32)
except StoreError as error:
    print(error)
"""


def run_without(libraries: tuple[str, ...], code: str, *arguments: Path) -> str:
    begin = f"""
import sys
from pathlib import Path
sys.modules.update(dict.fromkeys({libraries}))
from robot_assets.core.errors import StoreError
from robot_assets.store import Store
"""
    command = [sys.executable, "-c", begin + code, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_folder_is_a_remote_without_fsspec(folder: Path, tmp_path: Path) -> None:
    first, remote, second, out = (tmp_path / name for name in ("first", "remote", "second", "out"))
    assert run_without(("fsspec",), ROUND_TRIP, first, remote, folder, second, out) == "note\n"
    assert content(out) == content(folder)


@pytest.mark.parametrize("library", ["fsspec", "s3fs"])
def test_a_bucket_without_its_libraries_is_refused_with_the_extra(library: str, tmp_path: Path) -> None:
    refusal = run_without((library,), OPEN, tmp_path / "cache")
    assert refusal.startswith("opening s3://bucket/prefix failed")
    assert "fix: pip install 'robot-assets[s3]'" in refusal


@pytest.mark.parametrize(
    ("url", "found", "fix"),
    [
        (
            "s4://bucket/prefix",
            "opening s4://bucket/prefix failed: there is no such protocol",
            "set store.url",
        ),
        ("ssh://robot/store", "opening ssh://robot/store failed: ", "pip install paramiko"),
        ("smb://robot/store", "opening smb://robot/store failed: ", "pip install smbprotocol"),
    ],
)
def test_a_url_that_cannot_be_opened_has_a_fix(url: str, found: str, fix: str, tmp_path: Path) -> None:
    refusal = run_without(("paramiko", "smbprotocol"), OPEN.replace("s3://bucket/prefix", url), tmp_path / "cache")
    assert refusal.startswith(found)
    assert f"fix: {fix}" in refusal
