# SPDX-License-Identifier: Apache-2.0
"""Simulator tasks: one module each, found by its name.

A task is a module of this package with an object `TASK` that provides `Task`. Adding one adds a
module; nothing else lists it.
"""

import importlib
import pkgutil
from collections.abc import Mapping
from typing import Protocol, cast

import mujoco
import numpy as np
from numpy.typing import NDArray

from groot_ros.sim.expert import Expert

#: The task of the demo and its checkpoint.
DEFAULT_TASK = "touch"


class Task(Protocol):
    """Instructions, layout of the scene, measure of success and scripted expert of a task.

    Attributes:
        robot: name of the model that the task is made for.
        instructions: all that the task understands.

    """

    robot: str
    instructions: tuple[str, ...]

    def place_cubes(
        self, rng: np.random.Generator | None = None
    ) -> dict[str, tuple[float, float, float]]:
        """Return colour -> (x, y, yaw) in m and rad; the usual places without `rng`."""

    def distance(
        self,
        instruction: str,
        grasp_point: NDArray[np.float64],
        cubes: Mapping[str, NDArray[np.float64]],
    ) -> float:
        """Return the distance from the grasp point to the target, m; NaN without a target."""

    def succeeded(self, distance: float) -> bool:
        """Return whether this distance at the end, m, counts as success."""

    def expert(self, model: mujoco.MjModel) -> Expert:
        """Return the scripted expert for this model."""


def task_names() -> tuple[str, ...]:
    """Return the names of all tasks."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(__path__)))


def load_task(name: str = DEFAULT_TASK) -> Task:
    """Return a task by name; ValueError lists the names for an unknown one."""
    if name not in task_names():
        raise ValueError(f"there is no simulator task '{name}' (tasks: {', '.join(task_names())})")
    return cast(Task, importlib.import_module(f"{__name__}.{name}").TASK)


def default_task(robot: str) -> Task | None:
    """Return the task of a robot's demo; None for a robot that no task is made for."""
    task = load_task()
    return task if task.robot == robot else None
