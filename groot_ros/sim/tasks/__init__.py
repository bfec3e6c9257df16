# SPDX-License-Identifier: Apache-2.0
"""Simulator tasks: one module each, found by its name.

A task is a module of this package, or of a package in it, with an object `TASK` that provides
`Task`: "push", "vima/rotate". Adding one adds a module; nothing else lists it.
"""

import importlib
import pkgutil
from typing import Protocol, cast

import numpy as np

from groot_ros.sim.arm import SimulatedArm
from groot_ros.sim.prompt_objects import ROBOT as PROMPT_ROBOT
from groot_ros.sim.prompt_task import PromptTask
from groot_ros.sim.table import ROBOT
from groot_ros.sim.table_task import TableTask

#: The task whose scenes a robot has that is not told another one.
_DEFAULT_TASKS = {ROBOT: "pick_place", PROMPT_ROBOT: "vima/put_into"}


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
    modules = pkgutil.walk_packages(__path__, prefix=f"{__name__}.")
    found = (module.name.removeprefix(f"{__name__}.") for module in modules if not module.ispkg)
    return tuple(sorted(name.replace(".", "/") for name in found))


def chosen_tasks(text: str, robot: str) -> tuple[str, ...]:
    """Return the names in a text, separated by commas; "vima" stands for all tasks vima/....

    Raises:
        ValueError: there is no such task, or it is made for another robot.

    """
    chosen: list[str] = []
    for name in filter(None, (part.strip() for part in text.split(","))):
        chosen += [n for n in task_names() if n.startswith(f"{name}/")] or [name]
    for name in chosen:
        task = load_task(name)
        if task.robot != robot:
            raise ValueError(f"task '{name}' is for the robot {task.robot}, not for {robot}")
    return tuple(chosen)


def load_task(name: str) -> Task:
    """Return a task by name; ValueError lists the names for an unknown one."""
    if name not in task_names():
        raise ValueError(f"there is no simulator task '{name}' (tasks: {', '.join(task_names())})")
    return cast(Task, importlib.import_module(f"{__name__}.{name.replace('/', '.')}").TASK)


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


def prompt_task_names() -> tuple[str, ...]:
    """Return the names of the tasks with prompts of words and pictures."""
    return tuple(name for name in task_names() if isinstance(load_task(name), PromptTask))


def load_prompt_task(name: str) -> PromptTask:
    """Return a task with prompts of words and pictures.

    Raises:
        ValueError: there is no such task; lists the names.

    """
    names = prompt_task_names()
    if name not in names:
        raise ValueError(f"there is no task '{name}' with pictures (tasks: {', '.join(names)})")
    return cast(PromptTask, load_task(name))


def default_task(robot: str) -> Task | None:
    """Return the task whose scenes a simulated robot has; None for one without a task."""
    name = _DEFAULT_TASKS.get(robot)
    return None if name is None else load_task(name)
