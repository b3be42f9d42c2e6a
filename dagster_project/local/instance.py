"""The Dagster instance of a checkout: ``.dagster/`` beside ``params.yaml``, unless DAGSTER_HOME names another.

The command line, ``make ui`` and a plain ``dagster dev`` with the same DAGSTER_HOME share runs and history.
"""

from __future__ import annotations

import os
from pathlib import Path

from robot_assets.core.publishing import publishing_file

_CONFIGURATION = """\
# The local instance: SQLite files in this folder. In a cluster the instance is configured in k8s/.
telemetry:
  enabled: false
nux:
  enabled: false
run_launcher:
  module: dagster_project.local.launcher
  class: LocalRunLauncher
# A killed run is seen within seconds, so that the rebuild sensor can try again.
run_monitoring:
  enabled: true
  poll_interval_seconds: 10
  start_timeout_seconds: 120
"""


def ensure_dagster_home(root: Path) -> Path:
    """Set DAGSTER_HOME to the checkout's own instance unless it is set; make the folder when it is new."""
    home = Path(os.environ.setdefault("DAGSTER_HOME", str(root / ".dagster")))
    write_configuration(home)
    return home


def write_configuration(home: Path) -> None:
    """Write the configuration of a local instance into ``home``, unless somebody has written one."""
    if not (home / "dagster.yaml").exists():
        with publishing_file(home / "dagster.yaml") as staging:
            staging.write_text(_CONFIGURATION)
