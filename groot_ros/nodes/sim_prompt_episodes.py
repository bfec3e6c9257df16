# SPDX-License-Identifier: Apache-2.0
"""Scenes of tasks with words and pictures in the simulated robot: it asks, judges and asks again.

`prompt` (groot_ros/MultimodalPrompt) is what the policy is to do in the present scene; an empty one
ends it. `sim_robot_node/episode` (std_msgs/String, JSON) states what was achieved, with the keys of
`groot_ros.nodes.sim_episodes`, and `over`: whether the scene has ended. The arm stays where it is
after a scene that was fulfilled, and is put home after another one.
"""

import json
from collections.abc import Sequence

from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from std_msgs.msg import String

from groot_ros.bridge import qos
from groot_ros.bridge.prompt_messages import prompt_to_msg
from groot_ros.core.prompt import Pictures, PromptImage
from groot_ros.msg import MultimodalPrompt
from groot_ros.nodes.sim_episodes import EPISODE_TOPIC
from groot_ros.rollout.prompt_episode import VIEWS
from groot_ros.rollout.simulation import EVALUATED, episode_rng
from groot_ros.sim.arm import SimulatedArm
from groot_ros.sim.camera import CameraRenderer
from groot_ros.sim.prompt_judge import PromptJudge
from groot_ros.sim.prompt_scene import PromptScene
from groot_ros.sim.prompt_table import PromptTable
from groot_ros.sim.robot import SimulatedRobot
from groot_ros.sim.tasks import load_prompt_task

#: s that a scene has for each of its moves, for which the arm needs about 8 s.
_SECONDS_PER_MOVE = 20.0
#: s for which a scene is shown after its end, and between two looks whether it has ended.
_SHOWN, _PERIOD = 1.5, 0.2


class SimPromptEpisodes:
    """Evaluation scenes of tasks with prompts, which begin by themselves one after another.

    The time of the first scene counts from the first motion, as a policy needs long to load.

    Args:
        node: publisher of the prompts and of the state.
        robot: the simulation, of the robot of these tasks.
        tasks: names of the tasks, which take turns.
        seed: of the scenes, as of `groot-ros sim evaluate`.
        size: (width, height) of the pictures in the prompts.

    Raises:
        ValueError: there is no such task.

    """

    def __init__(
        self,
        node: Node,
        robot: SimulatedRobot,
        tasks: Sequence[str],
        seed: int,
        size: tuple[int, int],
    ) -> None:
        self._tasks = [load_prompt_task(name) for name in tasks]
        self._robot, self._seed, self._size = robot, seed, size
        self._table = PromptTable(robot.arm)
        self._index = -1
        self._judge: PromptJudge | None = None
        self._over_at: float | None = None
        self._has_moved = False
        self._prompts = node.create_publisher(MultimodalPrompt, "prompt", qos.LATCHED)
        self._states = node.create_publisher(String, EPISODE_TOPIC, qos.LATCHED)
        self._published = ""
        self.begin_next()
        node.create_timer(_PERIOD, self._continue, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def begin_next(self) -> str:
        """Put the objects where the next scene has them, and ask; return the text of the prompt."""
        self._index += 1
        task = self._tasks[self._index % len(self._tasks)]
        scene = task.scene(episode_rng(self._seed, self._index, EVALUATED))
        self._robot.observer = None
        if self._judge is not None and self._judge.succeeded_after is None:
            # It may be anywhere, with an object in its hand.
            self._robot.reset(lambda _: self._table.reset(scene))
        else:
            with self._robot.lock:
                self._table.show(scene)
        with self._robot.lock:
            self._judge, self._over_at = PromptJudge(self._table), None
            self._robot.observer = self._observe
        self._publish()
        self._prompts.publish(prompt_to_msg(scene.text, self._pictures(scene)))
        return scene.text

    def _pictures(self, scene: PromptScene) -> Pictures:
        with CameraRenderer(self._robot.model, *self._size) as renderer:
            return {
                name: {
                    view: PromptImage(
                        renderer.render(self._table.layout(name), view),
                        renderer.render_labels(
                            self._table.layout(name), view, self._table.labels(name)
                        ),
                    )
                    for view in VIEWS
                }
                for name in scene.pictures
            }

    def _observe(self, arm: SimulatedArm) -> None:
        assert self._judge is not None
        if not self._has_moved:
            # Time counts from the first motion.
            self._judge = PromptJudge(self._table)
        self._judge.observe()

    def _continue(self) -> None:
        """End a scene that is fulfilled or whose time is over, and begin the next one."""
        self._has_moved = self._has_moved or self._robot.busy
        judge = self._judge
        assert judge is not None
        if self._over_at is None:
            if judge.succeeded_after is not None or judge.seconds > _seconds_allowed(judge.scene):
                self._over_at = judge.seconds
                self._prompts.publish(MultimodalPrompt())
            self._publish()
        elif judge.seconds > self._over_at + _SHOWN and not self._robot.busy:
            self.begin_next()

    def _publish(self) -> None:
        """Publish the state if it has changed."""
        judge = self._judge
        assert judge is not None
        with self._robot.lock:
            displaced = sorted(self._table.displaced())
        state = {
            "index": self._index,
            "instruction": judge.scene.text,
            "seconds_allowed": _seconds_allowed(judge.scene),
            "success": judge.succeeded_after is not None,
            "seconds": judge.succeeded_after,
            "wrong_touches": displaced,
            "over": self._over_at is not None,
        }
        text = json.dumps(state)
        if text != self._published:
            self._published = text
            self._states.publish(String(data=text))


def _seconds_allowed(scene: PromptScene) -> float:
    return _SECONDS_PER_MOVE * len(scene.moves)
