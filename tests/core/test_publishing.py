"""A final name has the old bytes or the new ones, at every instant."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from robot_assets.core.publishing import publishing_directory, publishing_file


def test_a_directory_is_published_complete_and_replaces_the_old_one(tmp_path):
    final = tmp_path / "final"
    for version in ("one", "two"):
        with publishing_directory(final) as staging:
            (staging / version).write_text(version)
            assert not (final / version).exists()
        assert [path.name for path in final.iterdir()] == [version]
    assert list(tmp_path.iterdir()) == [final]


def test_an_error_leaves_the_old_version_and_no_leftovers(tmp_path):
    final = tmp_path / "final"
    with publishing_directory(final) as staging:
        (staging / "good").touch()
    with pytest.raises(ZeroDivisionError), publishing_directory(final) as staging:  # noqa: PT012
        (staging / "bad").touch()
        1 / 0  # noqa: B018
    assert [path.name for path in final.iterdir()] == ["good"]
    assert list(tmp_path.iterdir()) == [final]


def test_a_file_is_replaced_only_when_complete(tmp_path):
    final = tmp_path / "file"
    final.write_text("old")
    with pytest.raises(ZeroDivisionError), publishing_file(final) as staging:  # noqa: PT012
        staging.write_text("half")
        1 / 0  # noqa: B018
    assert final.read_text() == "old"
    with publishing_file(final) as staging:
        staging.write_text("new")
    assert final.read_text() == "new"
    assert list(tmp_path.iterdir()) == [final]


_WRITER = """
import sys
from pathlib import Path
from robot_assets.core.publishing import publishing_directory
final = Path(sys.argv[1])
for version in range(10_000):
    with publishing_directory(final) as staging:
        for part in range(8):
            (staging / str(part)).write_text(str(version))
    print(version, flush=True)
"""


def test_a_writer_killed_at_any_moment_leaves_one_complete_version(tmp_path):
    final = tmp_path / "final"
    for attempt in range(6):
        writer = subprocess.Popen(
            [sys.executable, "-c", _WRITER, str(final)], stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]
        )
        with writer:
            writer.stdout.readline()
            time.sleep(0.003 * attempt)
            os.kill(writer.pid, signal.SIGKILL)
        contents = [path.read_text() for path in final.iterdir()]
        assert len(contents) == 8
        assert len(set(contents)) == 1
    with publishing_directory(final) as staging:
        (staging / "after").touch()
    assert list(tmp_path.iterdir()) == [final]
