"""The garbage collector in processes that do one thing and end: a command, the run and the steps of a pod.

Dagster and its dependencies are 300,000 objects that stay until the process ends. By default the garbage collector
walks through them again and again while they are made, and through all of them when the interpreter ends: a third of
the time of a short process (docs/decisions/009-short-lived-processes.md). None of them is garbage.

As a program this module runs a command of Dagster: ``python -m dagster_project.local.gc_tuning dagster api
execute_step``. The instance of a cluster (k8s/base/instance) starts the pods of runs and steps in this way.
"""

from __future__ import annotations

import atexit
import gc
import sys
from pathlib import Path

_WHILE_LOADING = (50_000, 20, 20)
_DEFAULT = gc.get_threshold()


def begin() -> None:
    """Tune the collector of a short-lived process, before it loads anything large."""
    gc.set_threshold(*_WHILE_LOADING)
    _freeze_at_exit()


def work_begins() -> None:
    """Restore the default thresholds once everything is loaded: a step may make large garbage, worth collecting.

    What is loaded is not walked through again. A second step in the same process changes nothing: what the first has
    left behind may be garbage.
    """
    if gc.get_threshold() == _WHILE_LOADING:
        gc.set_threshold(*_DEFAULT)
        gc.freeze()
    _freeze_at_exit()


def _freeze_at_exit() -> None:
    """Skip the collection at the end of the interpreter: frozen objects are not collected."""
    atexit.unregister(gc.freeze)
    atexit.register(gc.freeze)


def main() -> None:
    """Run the command of Dagster in the arguments."""
    begin()
    command, *arguments = sys.argv[1:] or [""]
    if Path(command).name != "dagster":
        sys.exit(
            f"error: the command is {command!r}\n"
            "  needed: dagster and its arguments\n"
            "  fix: python -m dagster_project.local.gc_tuning dagster api execute_step"
        )
    sys.argv = [command, *arguments]
    from dagster._cli import main as dagster

    dagster()


if __name__ == "__main__":
    main()
