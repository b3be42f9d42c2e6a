"""A key that Kubernetes mounts: owned by root, readable by the group of the pod, on a read-only mount."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from robot_assets.provenance.keys import create_key

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("unshare"), reason="needs root and unshare, to mount a file as a kubelet does"
)

POD = 10001
READ = """\
import os, sys
from pathlib import Path
from robot_assets.provenance.keys import create_key, load_key, public_half

warm = Path(sys.argv[1]) / "warm.pem"          # imports what reading needs, while this is root
create_key(warm), load_key(warm)
user, group = map(int, sys.argv[2:])
os.setgroups([]), os.setresgid(group, group, group), os.setresuid(user, user, user)
print(public_half(load_key(Path("/mnt/signing.pem"))))
"""


def read(folder: Path, *, mode: str = "0440", owner: int = 0, user: int = POD, group: int = POD, mount: str = "ro"):
    """A process of ``user`` and ``group`` that reads a key with these permissions, on a mount of its own."""
    (folder / "read.py").write_text(READ)
    create_key(folder / "signing.pem")
    # /mnt, since no other user may read this user's folders; the mount is in a namespace of this process alone
    script = f"""
        set -e
        mount -t tmpfs secret /mnt
        cp {folder}/signing.pem /mnt
        chown {owner}:{POD} /mnt/signing.pem
        chmod {mode} /mnt/signing.pem
        mount -o remount,{mount} /mnt
        exec {sys.executable} {folder}/read.py {folder} {user} {group}
    """
    command = ["unshare", "--mount", "bash", "-c", script]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_mounted_secret_of_the_pods_group_is_read(tmp_path):
    done = read(tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("ed25519:")


@pytest.mark.parametrize(
    "case",
    [
        {"mount": "rw"},
        {"mode": "0444"},
        {"mode": "0460"},
        {"user": 0, "group": 0},
        {"owner": POD},
    ],
    ids=["on a mount that can be written", "for everybody", "writable", "for root itself", "of the user"],
)
def test_anything_else_that_others_can_read_is_refused(tmp_path, case):
    done = read(tmp_path, **case)
    assert done.returncode != 0
    assert "others than its owner can read or write it" in done.stderr
