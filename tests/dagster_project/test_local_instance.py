"""The ``dagster.yaml`` of a checkout: new, written by an earlier version, or edited by a user."""

from __future__ import annotations

import subprocess
from pathlib import Path

import dagster as dg
import pytest

from dagster_project.local.instance import InstanceError, write_configuration
from dagster_project.local.launcher import LocalRunLauncher

FORMER = """\
# The local instance: SQLite files in this folder. In a cluster the instance is configured in k8s/.
telemetry:
  enabled: false
nux:
  enabled: false
run_launcher:
  module: dagster_project.local_launcher
  class: LocalRunLauncher
# A killed run is seen within seconds, so that the rebuild sensor can try again.
run_monitoring:
  enabled: true
  poll_interval_seconds: 10
  start_timeout_seconds: 120
"""


def written(home: Path, text: str | None = None) -> str:
    """``dagster.yaml`` after ``robot-assets`` has prepared the instance."""
    path = home / "dagster.yaml"
    if text is not None:
        path.write_text(text)
    write_configuration(home)
    return path.read_text()


def test_dagster_loads_our_launcher_from_it(tmp_path: Path) -> None:
    write_configuration(tmp_path)
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        assert isinstance(instance.run_launcher, LocalRunLauncher)


def test_the_configuration_of_an_earlier_version_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    assert written(tmp_path, FORMER) == written(tmp_path / "new")


@pytest.mark.parametrize(
    "text", ["telemetry:\n  enabled: true\n", FORMER.replace("local_launcher", "own"), "# local_launcher\n"]
)
def test_an_edited_configuration_is_not_changed(tmp_path: Path, text: str) -> None:
    assert written(tmp_path, text) == text


def test_an_edited_configuration_with_the_former_module_is_refused_with_a_fix_that_works(tmp_path: Path) -> None:
    home = tmp_path / "a home"
    home.mkdir()
    edited = FORMER.replace("poll_interval_seconds: 10", "poll_interval_seconds: 5")
    with pytest.raises(InstanceError, match=r"dagster_project\.local_launcher, which is now") as caught:
        written(home, edited)
    assert (home / "dagster.yaml").read_text() == edited
    subprocess.run(caught.value.fix, shell=True, check=True)
    assert written(home) == edited.replace("local_launcher", "local.launcher")
