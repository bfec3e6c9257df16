# SPDX-License-Identifier: Apache-2.0
"""Episodes of tasks in the simulated robot: scenes one after another, each with its judge.

`sim_robot_node/episode` (std_msgs/String, JSON) states the present scene and what was achieved:
keys index, instruction, seconds_allowed, success, seconds, wrong_touches.
"""

import json
import threading
from collections.abc import Sequence

from rclpy.node import Node
from std_msgs.msg import String

from groot_ros.bridge import qos
from groot_ros.rollout.simulation import evaluation_scene
from groot_ros.sim.arm import SimulatedArm
from groot_ros.sim.judge import Judge
from groot_ros.sim.robot import SimulatedRobot
from groot_ros.sim.tasks import load_table_task

#: Name of the topic, relative to the node.
EPISODE_TOPIC = "~/episode"


class SimEpisodes:
    """Evaluation scenes of tasks; `begin_next` starts the next one.

    Args:
        node: publisher of the state.
        robot: the simulation.
        tasks: names of the tasks, which take turns.
        seed: of the scenes, as of `groot-ros sim evaluate`.
        shift: distance by which the cameras are moved, m.

    Raises:
        ValueError: there is no such task.

    """

    def __init__(
        self, node: Node, robot: SimulatedRobot, tasks: Sequence[str], seed: int, shift: float
    ) -> None:
        self._tasks = [load_table_task(name) for name in tasks]
        self._robot = robot
        self._seed, self._camera_shift = seed, shift
        self._index = -1
        self._seconds_allowed = 0.0
        self._judge: Judge | None = None
        self._lock = threading.Lock()
        self._publisher = node.create_publisher(String, EPISODE_TOPIC, qos.LATCHED)
        self._published = ""

    def begin_next(self) -> str:
        """Put robot and objects where the next scene has them; return its instruction."""
        with self._lock:
            self._index += 1
            task = self._tasks[self._index % len(self._tasks)]
            scene = evaluation_scene(task, self._seed, self._index, self._camera_shift)
            self._robot.observer = None
            self._robot.reset(scene.apply)
            self._seconds_allowed = task.seconds
            self._judge = task.judge(self._robot.model, scene)
            self._robot.observer = self._observe
        self.publish()
        return scene.instruction

    def publish(self) -> None:
        """Publish the state if it has changed."""
        with self._lock:
            judge = self._judge
            if judge is None:
                return
            state = {
                "index": self._index,
                "instruction": judge.scene.instruction,
                "seconds_allowed": self._seconds_allowed,
                "success": judge.succeeded,
                "seconds": judge.succeeded_after,
                "wrong_touches": sorted(judge.wrong_touches),
            }
        text = json.dumps(state)
        if text != self._published:
            self._published = text
            self._publisher.publish(String(data=text))

    def _observe(self, arm: SimulatedArm) -> None:
        judge = self._judge
        if judge is not None:
            judge.observe(arm)
