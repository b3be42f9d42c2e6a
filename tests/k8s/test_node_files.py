"""Files that are installed on a node by hand before k3s."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from robot_assets.cluster.spec import CacheSpec

IMAGE_USER = 10001


def test_the_cache_folder_belongs_to_the_user_of_the_images(repository: Path, tmp_path: Path):
    if shutil.which("systemd-tmpfiles") is None:
        pytest.skip("no systemd-tmpfiles on this machine")
    if os.geteuid() != 0:
        pytest.skip("only root can change the owner of a folder")
    file = repository / "k8s/nodes/k3s/cache.conf"
    with file.open() as lines:
        subprocess.run(["systemd-tmpfiles", "--create", f"--root={tmp_path}", "-"], stdin=lines, check=True)
    made = tmp_path / CacheSpec().path.lstrip("/")
    found = made.stat()
    assert (found.st_uid, found.st_gid, found.st_mode & 0o777) == (IMAGE_USER, IMAGE_USER, 0o750)
    assert made.parent.stat().st_uid == 0


def test_the_images_run_as_the_owner_of_the_cache_folder(repository: Path):
    for image in ("train", "edge"):
        text = (repository / f"k8s/images/{image}.Dockerfile").read_text()
        assert f"useradd --uid {IMAGE_USER} --gid {IMAGE_USER}" in text
