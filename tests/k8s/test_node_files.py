"""What is installed on a node by hand, before k3s."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from robot_assets.cluster.spec import CacheSpec

USER_OF_THE_IMAGES = 10001


def test_the_folder_of_the_cache_is_made_for_the_user_of_the_images(repository: Path, tmp_path: Path):
    if shutil.which("systemd-tmpfiles") is None:
        pytest.skip("no systemd-tmpfiles on this machine")
    if os.geteuid() != 0:
        pytest.skip("only root can give a folder to another user")
    file = repository / "k8s/nodes/k3s/cache.conf"
    with file.open() as lines:
        subprocess.run(["systemd-tmpfiles", "--create", f"--root={tmp_path}", "-"], stdin=lines, check=True)
    made = tmp_path / CacheSpec().path.lstrip("/")
    found = made.stat()
    assert (found.st_uid, found.st_gid, found.st_mode & 0o777) == (USER_OF_THE_IMAGES, USER_OF_THE_IMAGES, 0o750)
    assert made.parent.stat().st_uid == 0


def test_the_user_of_the_images_is_the_one_that_the_folder_is_for(repository: Path):
    for image in ("train", "edge"):
        text = (repository / f"k8s/images/{image}.Dockerfile").read_text()
        assert f"useradd --uid {USER_OF_THE_IMAGES} --gid {USER_OF_THE_IMAGES}" in text
