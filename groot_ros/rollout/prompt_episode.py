# SPDX-License-Identifier: Apache-2.0
"""Tasks with prompts in the simulator: the table of a process, and its pictures."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from groot_ros.robot import RobotContract
from groot_ros.rollout.simulation import simulator
from groot_ros.sim.camera import CameraRenderer
from groot_ros.sim.prompt_objects import ROBOT
from groot_ros.sim.prompt_scene import TABLE
from groot_ros.sim.prompt_table import PromptTable
from groot_ros.sim.robot import SimulatedRobot
from groot_ros.vision.objects import Objects, View, find_objects

#: Views of the policy, and (width, height) of their images.
VIEWS, SIZE = ("front", "top"), (256, 128)
#: What the shipped robot of these tasks has.
END_EFFECTOR = "suction"


@dataclass(frozen=True)
class PromptSimulator:
    """The simulated robot of the tasks with prompts, its cameras and its table."""

    contract: RobotContract
    robot: SimulatedRobot
    renderer: CameraRenderer
    table: PromptTable


@lru_cache(maxsize=1)
def prompt_simulator() -> PromptSimulator:
    """Return the simulator of this process.

    Its parts are kept together: the table moves the objects of the model that the cameras show.
    """
    contract, robot, renderer = simulator(ROBOT, SIZE)
    return PromptSimulator(contract, robot, renderer, PromptTable(robot.arm))


def prompt_table() -> PromptTable:
    """Return the table of this process."""
    return prompt_simulator().table


def take_pictures(picture: str = TABLE) -> dict[str, View]:
    """Return view -> image and labels: of the table now, or the picture of a placeholder."""
    renderer, table = prompt_simulator().renderer, prompt_table()
    layout, labels = table.layout(picture), table.labels(picture)
    return {
        view: View(renderer.render(layout, view), renderer.render_labels(layout, view, labels))
        for view in VIEWS
    }


class HiddenObjectError(Exception):
    """A view does not show an object of the scene, as the rim of a container may hide it."""


def objects_of(views: dict[str, View], picture: str = TABLE) -> Objects:
    """Return the objects of a picture.

    Raises:
        HiddenObjectError: a view does not show one of them.

    """
    try:
        return find_objects(views, sorted(prompt_table().scene.labels[picture].values()))
    except ValueError as error:
        raise HiddenObjectError(str(error)) from error


def identities(objects: Objects, picture: str = TABLE) -> NDArray[np.int64]:
    """Return the number of each object, the same for one object in all pictures, [N]."""
    numbers = prompt_table().scene.identities(picture)
    return np.array([numbers[label] for label in objects.ids], np.int64)
