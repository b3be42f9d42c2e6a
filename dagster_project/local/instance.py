"""The Dagster instance of a checkout: ``.dagster/`` beside ``params.yaml``, unless DAGSTER_HOME names another.

The command line, ``make ui`` and a plain ``dagster dev`` with the same DAGSTER_HOME share runs and history.
"""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from dagster_project.local import gc_tuning
from robot_assets.core.errors import RobotAssetsError
from robot_assets.core.publishing import publishing_file

if TYPE_CHECKING:
    import dagster as dg

_LAUNCHER = "dagster_project.local.launcher"
_FORMER_LAUNCHER = "dagster_project.local_launcher"
"""Where the launcher was until the modules of this package got folders."""

_CONFIGURATION = f"""\
# The local instance: SQLite files in this folder. In a cluster the instance is configured in k8s/.
telemetry:
  enabled: false
nux:
  enabled: false
run_launcher:
  module: {_LAUNCHER}
  class: LocalRunLauncher
# A killed run is seen within seconds, so that the rebuild sensor can try again.
run_monitoring:
  enabled: true
  poll_interval_seconds: 10
  start_timeout_seconds: 120
"""


class InstanceError(RobotAssetsError):
    """The configuration of an instance cannot be used."""


def open_instance(root: Path) -> dg.DagsterInstance:
    """The instance of a checkout, for a process that ends with one command.

    Raises:
        InstanceError: Its configuration names a module that no longer exists.
    """
    gc_tuning.begin()
    ensure_dagster_home(root)
    import dagster as dg

    return dg.DagsterInstance.get()


def ensure_dagster_home(root: Path) -> Path:
    """Set DAGSTER_HOME to the checkout's own instance unless it is set; create and configure the folder where needed.

    Raises:
        InstanceError: Its configuration names a module that no longer exists.
    """
    home = Path(os.environ.setdefault("DAGSTER_HOME", str(root / ".dagster")))
    write_configuration(home)
    return home


def write_configuration(home: Path) -> None:
    """Write the configuration of a local instance to ``home``; one that a person has edited stays as it is.

    Raises:
        InstanceError: It was edited, and names a module that no longer exists.
    """
    path = home / "dagster.yaml"
    present = path.read_text() if path.exists() else None
    if present is None or present == _CONFIGURATION.replace(_LAUNCHER, _FORMER_LAUNCHER):
        with publishing_file(path) as staging:
            staging.write_text(_CONFIGURATION)
    elif re.search(rf"^[^#\n]*\b{re.escape(_FORMER_LAUNCHER)}\b", present, re.MULTILINE):
        raise InstanceError(
            f"{path} names the module {_FORMER_LAUNCHER}, which is now {_LAUNCHER}",
            needed="the present name of the run launcher",
            fix=f"sed -i 's/{re.escape(_FORMER_LAUNCHER)}/{_LAUNCHER}/' {shlex.quote(str(path))}",
        )
