"""Processes that do one thing and end: a command, the run and the steps of a pod.

Dagster and what it brings are 300,000 objects that stay until the process ends. By default the garbage collector
walks through them again and again while they are made, and through all of them when the interpreter ends: a third of
what a short process takes (docs/decisions/009-short-lived-processes.md). Nothing among them is garbage.

As a program this module is a command of Dagster's: ``python -m dagster_project.local.gc_tuning dagster
api execute_step``. The instance of a cluster (k8s/base/instance) has the pods of runs and steps begin with it.
"""

from __future__ import annotations

import atexit
import gc
import sys
from pathlib import Path

_WHILE_LOADING = (50_000, 20, 20)
_DEFAULT = gc.get_threshold()


def begin() -> None:
    """Say first thing in a process that it will not live long. It changes this process only."""
    gc.set_threshold(*_WHILE_LOADING)
    _end_without_a_look()


def work_begins() -> None:
    """All is loaded, and garbage is collected as ever: what a step makes may be large, and worth it.

    What has been loaded is not looked through again. A second step of a process changes nothing: what the first one has
    left behind may well be garbage.
    """
    if gc.get_threshold() == _WHILE_LOADING:
        gc.set_threshold(*_DEFAULT)
        gc.freeze()
    _end_without_a_look()


def _end_without_a_look() -> None:
    """The interpreter collects garbage before it ends; what is frozen is left alone, and the system takes it back."""
    atexit.unregister(gc.freeze)
    atexit.register(gc.freeze)


def main() -> None:
    """Run the command of Dagster's that the arguments name."""
    begin()
    command, *arguments = sys.argv[1:] or [""]
    if Path(command).name != "dagster":
        sys.exit(
            f"error: {command or 'nothing'} was to be run; needed: dagster and its arguments, such as "
            "`python -m dagster_project.local.gc_tuning dagster api execute_step`; fix: look at the command and the "
            "arguments of the pod"
        )
    sys.argv = [command, *arguments]
    from dagster._cli import main as dagster

    dagster()


if __name__ == "__main__":
    main()
