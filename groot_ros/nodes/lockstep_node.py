# SPDX-License-Identifier: Apache-2.0
"""Policy, executor and simulated robot as nodes of one process, whose time waits for all of them.

Nodes with a wall clock are asynchronous: which frame an inference sees, and when its chunk arrives,
depends on the load of the machine. Here simulated time goes on by one control period only after all
that was published has been received and answered, in the order of the data: inputs, inference,
execution, commands. Messages, callbacks, timers and DDS are those of the nodes.
"""

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import rclpy
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.signals import SignalHandlerOptions
from std_msgs.msg import String

from groot_ros.bridge import qos
from groot_ros.bridge.parameters import Parameters
from groot_ros.core import NS_PER_S
from groot_ros.core.node_config import LockstepConfig
from groot_ros.msg import ActionChunk
from groot_ros.nodes.executor_node import ExecutorNode
from groot_ros.nodes.lifecycle import ManagedNode
from groot_ros.nodes.lockstep import SteppedNodes
from groot_ros.nodes.policy_node import PolicyNode
from groot_ros.nodes.sim_robot_node import SimRobotNode
from groot_ros.rollout.evaluate import EpisodeOutcome, EvaluationSettings, judged
from groot_ros.rollout.simulation import evaluation_scene, noise_seed
from groot_ros.sim.table import Scene
from groot_ros.sim.tasks import load_table_task

#: From the activation of the nodes to the start of an episode. A multiple of the periods of their
#: timers, so that these are due at the start as well.
_BEFORE_NS = NS_PER_S


class Lockstep:
    """The nodes, which take their parameters from the context; use it as a context manager.

    Attributes:
        robot: node of the simulated robot.
        policy: the policy node.
        executor: the executor node.

    """

    def __init__(self) -> None:
        self.robot = SimRobotNode(stepped=True)
        self.policy = PolicyNode()
        self.executor = ExecutorNode()
        self._chunks = 0
        self._instruction = self.robot.create_publisher(String, "instruction", qos.LATCHED)
        self.robot.create_subscription(ActionChunk, "action_chunk", self._on_chunk, qos.CHUNKS)
        self._nodes = SteppedNodes(
            (self.policy, self.executor, self.robot), {self.policy: self.policy.wait_until_idle}
        )

    def __enter__(self) -> "Lockstep":
        return self

    def __exit__(self, *_: object) -> None:
        self._nodes.close()

    def begin(self, scene: Scene, seed: int) -> None:
        """Begin an episode with nodes that were just activated.

        Args:
            scene: where robot and objects are.
            seed: of the policy's noise and of lost frames.

        Raises:
            RuntimeError: a node cannot be configured or activated; its log has the reason.

        """
        robot = self.robot.robot
        self.policy.set_parameters([Parameter("noise_seed", value=seed)])
        self.robot.publish_clock(robot.now_ns)
        self._nodes.settle()
        for node in self._managed():
            _require(node, "configured", node.trigger_configure())
        self._nodes.wait_for(self._nodes.unmatched, "topics are not received")
        begin_ns = robot.now_ns + _BEFORE_NS
        for node in self._managed():
            _require(node, "activated", node.trigger_activate())
        # In steps, as nodes take a long one for a clock that was set.
        step_ns = 5 * robot.period_ns
        for now_ns in range(robot.now_ns + step_ns, begin_ns, step_ns):
            self.robot.publish_clock(now_ns)
            self._nodes.settle()
        self.robot.restart_at(begin_ns)
        self.robot.seed_lost_frames(seed)
        robot.reset(scene.apply)
        self._chunks = 0
        self._publish()
        self._instruction.publish(String(data=scene.instruction))
        self._nodes.settle()

    def cycle(self) -> None:
        """Run one control period of the robot, and all that follows from it."""
        self.robot.robot.cycle()
        self._publish()

    def counts(self) -> tuple[int, Mapping[str, int]]:
        """Return the number of executed chunks, and code -> number of rejected ones."""
        control = self.executor.control
        rejected = control.state(self.robot.robot.now_ns).rejections if control else {}
        return self._chunks - sum(rejected.values()), rejected

    def end(self) -> None:
        """Deactivate the nodes, and release what they have of this episode."""
        self._instruction.publish(String(data=""))
        self._nodes.settle()
        for node in self._managed():
            node.trigger_deactivate()
            node.trigger_cleanup()

    def _on_chunk(self, _: ActionChunk) -> None:
        self._chunks += 1

    def _managed(self) -> tuple[ManagedNode, ...]:
        return self.executor, self.policy

    def _publish(self) -> None:
        # The inputs are in the nodes before their timers are due.
        self.robot.publish_inputs()
        self._nodes.settle()
        self.robot.publish_clock(self.robot.robot.now_ns)
        self._nodes.settle()


def _require(node: Node, what: str, result: TransitionCallbackReturn) -> None:
    if result != TransitionCallbackReturn.SUCCESS:
        raise RuntimeError(f"{node.get_name()} cannot be {what}: see its log")


def evaluate(lockstep: Lockstep, settings: EvaluationSettings, index: int) -> EpisodeOutcome:
    """Run one episode and return its outcome."""
    task = load_table_task(settings.task)
    scene = evaluation_scene(task, settings.seed, index, settings.camera_shift)
    lockstep.begin(scene, noise_seed(settings.seed, index))
    robot = lockstep.robot.robot
    outcome = judged(index, settings, task, scene, robot, lockstep.cycle, lockstep.counts)
    lockstep.end()
    return outcome


def main() -> None:
    """Run the episodes, and append the outcome of each to a file as a line of JSON."""
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    node = Node("lockstep_node")
    config = Parameters(node, LockstepConfig).config
    node.destroy_node()
    settings = EvaluationSettings(
        task=config.task,
        seed=config.seed,
        camera_shift=config.camera_shift,
        videos=Path(config.videos) if config.videos else None,
    )
    try:
        with Lockstep() as lockstep, Path(config.output).open("w", encoding="utf-8") as file:
            for index in range(config.episodes):
                outcome = evaluate(lockstep, settings, index)
                file.write(json.dumps(asdict(outcome)) + "\n")
                file.flush()
    except (RuntimeError, ValueError) as error:
        sys.exit(str(error))
    finally:
        rclpy.try_shutdown()
