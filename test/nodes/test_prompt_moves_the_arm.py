# SPDX-License-Identifier: Apache-2.0
"""A prompt over ROS moves an object in the simulator, through the executor.

The model is a stand-in that knows where the objects are; everything else is what a robot runs.
"""

from dataclasses import replace
from pathlib import Path

import mujoco
import numpy as np
import pytest
import yaml
from geometry_msgs.msg import PoseArray
from support import robot_world
from support.policy_stage import wait_until
from support.robot_world import World
from support.table_robot import SPEC

from groot_ros.bridge import qos
from groot_ros.bridge.graph_client import GraphClient
from groot_ros.bridge.operator_commands import Outcome, prompt_command, run_command
from groot_ros.core.prompt import ALL_VIEWS, PromptImage
from groot_ros.families.vima.actions import PickPlace, TablePose
from groot_ros.nodes.policy_node import PolicyNode
from groot_ros.policy.arm_planner import ArmPlanner
from groot_ros.policy.pick_place import PickPlacePolicy

pytestmark = [pytest.mark.ros, pytest.mark.slow]

GREY = np.full((32, 32, 3), 90, np.uint8)
#: Places on the table that the arm reaches, x and y in m.
PLACES = [(x, y) for x in (0.4, 0.5, 0.6) for y in (-0.2, 0.0, 0.2)]


class Table:
    """The objects of a simulated robot."""

    def __init__(self, robot) -> None:
        self.robot, model = robot, robot.model
        drawn = {int(model.geom_bodyid[g]) for g in np.flatnonzero(model.geom_group <= 2)}
        loose = np.flatnonzero(model.jnt_type == mujoco.mjtJoint.mjJNT_FREE)
        self.rows = {
            model.body(b).name: int(model.jnt_qposadr[j])
            for j, b in zip(loose, model.jnt_bodyid[loose], strict=True)
            if b in drawn
        }

    def place(self, name: str) -> np.ndarray:
        row = self.rows[name]
        return self.robot.scene[row : row + 2]


class KnowingModel:
    """Model that picks the first object it sees and puts it where the table is most empty."""

    memory_bytes = 0

    def __init__(self, robot) -> None:
        self.robot, self.goal, self.name = robot, None, ""
        self.labels: list[dict] = []

    def session(self, text, pictures, low, high) -> "KnowingModel":
        return self

    def warm_up(self, low, high) -> None:
        """Do nothing."""

    def step(self, images, labels, tool) -> PickPlace:
        self.labels.append(labels)
        table = Table(self.robot)
        self.name = min(table.rows)
        others = [table.place(name) for name in table.rows]
        if self.goal is None:
            self.goal = max(PLACES, key=lambda p: min(np.hypot(*(p - other)) for other in others))
        x, y = table.place(self.name)
        upright = (0.0, 0.0, 0.0, 1.0)
        return PickPlace(TablePose(x, y, upright), TablePose(*self.goal, upright), bins={})

    def take_back(self) -> None:
        """Do nothing."""


def two_slow_cameras(folder: Path) -> Path:
    """Write the contract with two cameras at a low rate, which are drawn quickly."""
    contract = yaml.safe_load((robot_world.FOLDER / "arm7_suction_table.yaml").read_text())
    cameras = contract["cameras"]
    contract["cameras"] = {view: {**cameras[view], "rate": 5.0} for view in ("front", "top")}
    path = folder / "table.yaml"
    path.write_text(yaml.safe_dump(contract))
    return path


def test_a_prompt_moves_an_object_from_where_it_is_to_where_the_policy_puts_it(
    ros_domain, monkeypatch, tmp_path
) -> None:
    models = []

    def load(_config, robot, **_):
        planner = ArmPlanner(robot)
        spec = replace(SPEC, views=("front", "top"), horizon=32)
        return PickPlacePolicy(spec, models[0], planner, robot)

    class Node(PolicyNode):
        def __init__(self) -> None:
            super().__init__(load)

    monkeypatch.setattr(robot_world, "PolicyNode", Node)
    world = World(
        str(two_slow_cameras(tmp_path).with_suffix("")),
        "unused",
        instruction="''",
        image_width=64,
        image_height=32,
        max_image_age=1.0,
        use_sim_time=True,
        publish_clock=True,
        real_time_factor=0.3,
    )
    try:
        models.append(KnowingModel(world.sim.robot))
        poses: list[PoseArray] = []
        world.sim.create_subscription(PoseArray, "pick_place_poses", poses.append, qos.LATCHED)
        world.start()
        pictures = {"0": {ALL_VIEWS: PromptImage(GREY)}}
        with GraphClient() as client:
            outcome, replies = run_command(
                client, prompt_command(pictures), "put {0} there", timeout=30.0
            )
        assert outcome is Outcome.ACCEPTED, replies
        (model,) = models
        table = Table(world.sim.robot)
        wait_until(
            lambda: (
                model.goal is not None and np.hypot(*(table.place(model.name) - model.goal)) < 0.03
            ),
            "the object is where the policy puts it",
        )
        assert poses[0].header.frame_id == "table"
        assert (poses[0].poses[1].position.x, poses[0].poses[1].position.y) == model.goal
        # Every object has a label, the same in both views.
        seen = [set(np.unique(own)) - {0} for own in model.labels[0].values()]
        assert len(seen[0]) == len(table.rows)
        assert seen[0] == seen[1]
    finally:
        world.end()
