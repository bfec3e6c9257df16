# SPDX-License-Identifier: Apache-2.0
"""Simulator tasks: one module each, found by its name.

A task is a module of this package with an object `TASK` that provides `Task`. Adding one adds a
module; nothing else lists it.
"""

import importlib
import pkgutil
from typing import Protocol, cast

import numpy as np

from groot_ros.sim.arm import SimulatedArm
from groot_ros.sim.table import ROBOT
from groot_ros.sim.table_task import TableTask

#: The task of the demo and its checkpoint.
DEFAULT_TASK = "touch"


class Task(Protocol):
    """Part of a task that a simulated robot uses.

    Attributes:
        robot: name of the model that the task is made for.
        instructions: all that the task understands.

    """

    robot: str
    instructions: tuple[str, ...]

    def reset(self, arm: SimulatedArm, rng: np.random.Generator) -> None:
        """Reset an arm to the start of a random scene."""


def task_names() -> tuple[str, ...]:
    """Return the names of all tasks."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(__path__)))


def load_task(name: str = DEFAULT_TASK) -> Task:
    """Return a task by name; ValueError lists the names for an unknown one."""
    if name not in task_names():
        raise ValueError(f"there is no simulator task '{name}' (tasks: {', '.join(task_names())})")
    return cast(Task, importlib.import_module(f"{__name__}.{name}").TASK)


def table_task_names() -> tuple[str, ...]:
    """Return the names of the tasks with scenes, an expert and a judge."""
    return tuple(name for name in task_names() if isinstance(load_task(name), TableTask))


def load_table_task(name: str) -> TableTask:
    """Return a task with scenes, an expert and a judge.

    Raises:
        ValueError: there is no such task; lists the names.

    """
    names = table_task_names()
    if name not in names:
        raise ValueError(f"there is no task '{name}' with an expert (tasks: {', '.join(names)})")
    return cast(TableTask, load_task(name))


def default_task(robot: str) -> Task | None:
    """Return the task whose scenes a simulated robot has; None for one without a task."""
    task = load_task("pick_place" if robot == ROBOT else DEFAULT_TASK)
    return task if task.robot == robot else None
