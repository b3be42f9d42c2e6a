"""Pointers that are not ours to read are named for what they are, with a fix that works in that state."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import pytest

from robot_assets.core.errors import StoreError
from robot_assets.store import read_lock, read_pointer
from tests.store.conftest import Dvc

MD5 = "7327a652a932739d68b743682a3b3445.dir"
CONFLICT = f"""\
outs:
<<<<<<< HEAD
- md5: {MD5}
=======
- md5: 0000{MD5[4:]}
>>>>>>> branch
  hash: md5
  path: yard
"""
FOREIGN = {
    "DVC 2": (f"outs:\n- md5: {MD5}\n  path: yard\n", "written by DVC 2", "dvc cache migrate --dvc-files "),
    "DVC 0": (f"md5: {'0' * 32}\ncmd: make\nouts:\n- md5: {MD5}\n  path: yard\n", "stage file of DVC 0", "dvc add "),
    "a conflict": (CONFLICT, "has conflict markers of git, the first in line 2", "git status "),
    "an import without its data": ("frozen: true\nouts:\n- hash: md5\n  path: yard\n", "no md5", "dvc update "),
    "an etag of S3": ("outs:\n- etag: 9f2c\n  size: 3\n  path: yard\n", "has etag and no md5", "dvc pull "),
    "a cloud-versioned folder": (
        "outs:\n- path: yard\n  files:\n  - relpath: a\n    cloud: {store: {etag: x, version_id: y}}\n",
        "has files and no md5",
        "dvc pull ",
    ),
    "two artifacts": (
        f"outs:\n- {{md5: {MD5}, hash: md5, path: a b}}\n- {{md5: {MD5}, hash: md5, path: c}}\n",
        "outs has 2 entries",
        "dvc remove 'my yard.dvc' && dvc add 'a b' c",
    ),
    "a pipeline": ("stages:\n  make: {cmd: make}\n", "a pipeline of DVC", "dvc add "),
    "Git LFS": ("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n", "Git LFS", "git lfs pull "),
    "nothing": ("", "is empty", "git checkout -- 'my yard.dvc' "),
    "another hash": (f"outs:\n- {{md5: {MD5}, hash: sha256, path: yard}}\n", "is 'sha256'", "git checkout -- "),
    "a tab": ("outs:\n\t- path: x\n", "line 2, column 1: a tab", "git checkout -- "),
}


@pytest.mark.parametrize(("text", "what", "fix"), FOREIGN.values(), ids=FOREIGN)
def test_a_foreign_pointer_is_named(tmp_path: Path, monkeypatch, text: str, what: str, fix: str) -> None:
    monkeypatch.chdir(tmp_path)
    pointer = tmp_path / "my yard.dvc"
    pointer.write_text(text)
    with pytest.raises(StoreError) as caught:
        read_pointer(pointer)
    assert caught.value.found.startswith(f"{pointer}: ")
    assert what in caught.value.found
    assert caught.value.fix.startswith(fix)
    assert "byte string" not in caught.value.found
    assert "None" not in caught.value.found


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (CONFLICT, "conflict markers"),
        (f"make:\n  cmd: make\n  outs:\n  - path: yard\n    md5: {MD5}\n", "written by DVC 1"),
        (f"schema: '2.0'\nstages:\n  make:\n    outs:\n    - path: yard\n      md5: {MD5}\n", "written by DVC 2"),
    ],
)
def test_a_foreign_lock_is_named(tmp_path: Path, text: str, what: str) -> None:
    (tmp_path / "dvc.lock").write_text(text)
    with pytest.raises(StoreError, match=what):
        read_lock(tmp_path / "dvc.lock")


def test_a_pointer_of_dvc_2_is_read_after_its_fix(tmp_path: Path, dvc: Dvc) -> None:
    repository = tmp_path / "dvc"
    (repository / "yard").mkdir()
    (repository / "yard" / "a.txt").write_text("a")
    dvc("add", "-q", "yard")
    pointer = repository / "yard.dvc"
    expected = read_pointer(pointer).digest
    pointer.write_text(pointer.read_text().replace("  hash: md5\n", ""))
    with pytest.raises(StoreError) as caught:
        read_pointer(pointer)
    command = shlex.split(caught.value.fix, comments=True)
    dvc(*command[1:])
    assert read_pointer(pointer).digest == expected


def test_imports_of_dvc_are_read_like_other_pointers(tmp_path: Path, dvc: Dvc) -> None:
    (tmp_path / "elsewhere.txt").write_text("a")
    dvc("import-url", "-q", str(tmp_path / "elsewhere.txt"), "yard.txt")
    assert read_pointer(tmp_path / "dvc" / "yard.txt.dvc").digest == "0cc175b9c0f1b6a831c399e269772661"


def test_an_import_without_its_data_is_read_after_its_fix(tmp_path: Path, dvc: Dvc, monkeypatch) -> None:
    (tmp_path / "elsewhere.txt").write_text("a")
    dvc("import-url", "-q", "--no-exec", str(tmp_path / "elsewhere.txt"), "yard.txt")
    pointer = tmp_path / "dvc" / "yard.txt.dvc"
    monkeypatch.chdir(tmp_path / "dvc")
    with pytest.raises(StoreError) as caught:
        read_pointer(pointer)
    command = shlex.split(caught.value.fix)
    assert command[:2] == ["dvc", "update"]
    dvc(*command[1:])
    assert read_pointer(pointer).digest == "0cc175b9c0f1b6a831c399e269772661"


def test_the_fix_of_a_damaged_pointer_restores_it(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    pointer = tmp_path / "data" / "my yard.dvc"
    pointer.parent.mkdir()
    pointer.write_text(f"outs:\n- {{md5: {MD5}, hash: md5, path: my yard}}\n")
    git = ["git", "-c", "user.name=Robot", "-c", "user.email=robot@example.com"]
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-qm", "data"]):
        subprocess.run([*git, *arguments], check=True)
    pointer.write_text("damaged")
    with pytest.raises(StoreError) as caught:
        read_pointer(pointer)
    subprocess.run(caught.value.fix, shell=True, check=True, capture_output=True)
    assert read_pointer(pointer).digest == MD5
