# SPDX-License-Identifier: Apache-2.0
"""Simulator tasks: one module each, found by its name.

A task is a module of this package with an object `TASK`, a `TableTask`. Adding one adds a module;
nothing else lists it.
"""

import importlib
import pkgutil
from typing import cast

from groot_ros.sim.table import ROBOT
from groot_ros.sim.table_task import TableTask

#: The task whose scenes a robot at the table has that is not told another one.
_DEFAULT_TASK = "pick_place"


def table_task_names() -> tuple[str, ...]:
    """Return the names of all tasks."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(__path__)))


def load_table_task(name: str) -> TableTask:
    """Return a task by name; ValueError lists the names for an unknown one."""
    names = table_task_names()
    if name not in names:
        raise ValueError(f"there is no simulator task '{name}' (tasks: {', '.join(names)})")
    return cast(TableTask, importlib.import_module(f"{__name__}.{name}").TASK)


def default_task(robot: str) -> TableTask | None:
    """Return the task whose scenes a simulated robot has; None for one without a task."""
    return load_table_task(_DEFAULT_TASK) if robot == ROBOT else None
