"""Tests that install packages are skipped, and say so, where no package index can be reached."""

import re
import subprocess

import pytest

_UNREACHABLE = r"NewConnectionError|Name or service not known|Temporary failure in name resolution"


def skip_without_index(done: "subprocess.CompletedProcess[str]") -> None:
    if re.search(_UNREACHABLE, done.stderr):
        pytest.skip("no package index can be reached from here")
