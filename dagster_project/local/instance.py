"""The Dagster instance of a checkout: ``.dagster/`` beside ``params.yaml``, unless DAGSTER_HOME names another.

The command line, ``make ui`` and a plain ``dagster dev`` with the same DAGSTER_HOME share runs and history.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from dagster_project.local import gc_tuning
from dagster_project.local.damage import explaining_damage, require_readable_files
from dagster_project.local.home import HOME_VARIABLE, InstanceError, home_of, record_checkout, write_whole
from dagster_project.local.read_only import copy_of_instance, is_read_only, refuse_read_only

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


@contextmanager
def open_instance(root: Path, *, writes: bool = False) -> Iterator[dg.DagsterInstance]:
    """The instance of a checkout, for a process that ends with one command.

    Where its folder is read-only, a reading command gets a temporary copy.

    Args:
        root: The checkout.
        writes: Whether the command has to record something.

    Raises:
        InstanceError: It belongs to another checkout, it is damaged, its configuration cannot be used, or its folder is
            read-only and the command writes.
    """
    gc_tuning.begin()
    home = home_of(root)
    if is_read_only(home):
        if writes:
            refuse_read_only(home, root)
        with copy_of_instance(home) as copy, _opened(copy, home) as instance:
            yield instance
    else:
        with _opened(ensure_dagster_home(root), home) as instance:
            yield instance


@contextmanager
def _opened(folder: Path, home: Path) -> Iterator[dg.DagsterInstance]:
    """The instance in ``folder``; errors name the files of ``home``."""
    write_configuration(folder)
    require_readable_files(home)
    with explaining_damage(home, opening=True):
        import dagster as dg

        instance = dg.DagsterInstance.from_config(str(folder))
    with explaining_damage(home), instance:
        yield instance


def ensure_dagster_home(root: Path) -> Path:
    """Set DAGSTER_HOME to the checkout's own instance unless it is set; create and configure the folder where needed.

    Raises:
        InstanceError: DAGSTER_HOME cannot be used, or belongs to another checkout; the folder cannot be written; its
            configuration names a module that no longer exists.
    """
    home = home_of(root)
    os.environ[HOME_VARIABLE] = str(home)
    if is_read_only(home):
        refuse_read_only(home, root)
    write_configuration(home)
    record_checkout(home, root)
    return home


def require_sound(home: Path) -> None:
    """Refuse an instance that Dagster cannot open, before anything is started on it.

    Raises:
        InstanceError: It is damaged, or its configuration cannot be used.
    """
    with _opened(home, home):
        pass


def write_configuration(home: Path) -> None:
    """Write the configuration of a local instance to ``home``; one that a person has edited stays as it is.

    Raises:
        InstanceError: It was edited, and names a module that no longer exists; or it cannot be read.
    """
    path = home / "dagster.yaml"
    with explaining_damage(home, opening=True):
        present = path.read_text(encoding="utf-8") if path.exists() else None
    if present is None or present == _CONFIGURATION.replace(_LAUNCHER, _FORMER_LAUNCHER):
        with explaining_damage(home, opening=True):
            home.mkdir(parents=True, exist_ok=True)
            write_whole(path, _CONFIGURATION)
    elif re.search(rf"^[^#\n]*\b{re.escape(_FORMER_LAUNCHER)}\b", present, re.MULTILINE):
        raise InstanceError(
            f"{path} names the module {_FORMER_LAUNCHER}, which is now {_LAUNCHER}",
            needed="the present name of the run launcher",
            fix=f"sed -i 's/{re.escape(_FORMER_LAUNCHER)}/{_LAUNCHER}/' {shlex.quote(str(path))}",
        )
