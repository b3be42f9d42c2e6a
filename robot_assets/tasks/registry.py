"""The registry of tasks: ours, then those of installed plug-ins.

A task of ours is a package here with a ``task.py``, and a line below. A task of a plug-in is an entry point of its
distribution::

    [project.entry-points."robot_assets.tasks"]
    classification = "my_package.task:TASK"
"""

from __future__ import annotations

from functools import cache

from robot_assets.core.dispatch import chosen_by_params
from robot_assets.core.errors import ParamsError
from robot_assets.core.plugins import registry_of
from robot_assets.core.validation import unknown
from robot_assets.tasks.detection.task import TASK as DETECTION
from robot_assets.tasks.segmentation.task import TASK as SEGMENTATION
from robot_assets.tasks.task import Task

ENTRY_POINTS = "robot_assets.tasks"

TASKS: tuple[Task, ...] = (DETECTION, SEGMENTATION)
"""The tasks of this package."""


@cache
@chosen_by_params
def tasks() -> dict[str, Task]:
    """All tasks by name: ours first, then those of installed plug-ins in the order of their names.

    Raises:
        ParamsError: A plug-in cannot be loaded, or has a task whose name is taken.
    """
    return registry_of(TASKS, ENTRY_POINTS, Task, "task")


@chosen_by_params
def task_of(name: str) -> Task:
    """One task.

    Raises:
        ParamsError: There is none of that name.
    """
    if name not in tasks():
        raise ParamsError(
            f"no task {name!r}: {unknown('task', name, tasks())}",
            needed=f"one of {', '.join(tasks())}",
            fix="install the package of the task on this machine, or correct task in params.yaml",
        )
    return tasks()[name]
