# SPDX-License-Identifier: Apache-2.0
"""Policy, executor and simulated robot as nodes of one process, whose time waits for all of them.

Nodes with a wall clock are asynchronous: which frame an inference sees, and when its chunk arrives,
depends on the load of the machine. Here simulated time goes on by one control period only after all
that was published has been received and answered, in the order of the data: inputs, inference,
execution, commands. Messages, callbacks, timers and DDS are those of the nodes.
"""

import json
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from types import TracebackType

import rclpy
from rclpy.executors import SingleThreadedExecutor, TimeoutException
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
from groot_ros.nodes.policy_node import PolicyNode
from groot_ros.nodes.sim_robot_node import SimRobotNode
from groot_ros.rollout.evaluate import EpisodeOutcome, EvaluationSettings, judged
from groot_ros.rollout.simulation import evaluation_scene, noise_seed
from groot_ros.sim.table import Scene
from groot_ros.sim.tasks import load_table_task

#: From the activation of the nodes to the start of an episode. A multiple of the periods of their
#: timers, so that these are due at the start as well.
_BEFORE_NS = NS_PER_S
#: s within which the nodes must have found each other.
_DISCOVERY_TIMEOUT = 60.0


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
        #: In the order in which the nodes work in a period.
        self._spinners = [(node, SingleThreadedExecutor()) for node in self._nodes()]
        for node, spinner in self._spinners:
            spinner.add_node(node)

    def __enter__(self) -> "Lockstep":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for node, spinner in self._spinners:
            node.close()
            spinner.remove_node(node)
            spinner.shutdown()
            node.destroy_node()

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
        self._settle()
        for node in self._managed():
            _require(node, "configured", node.trigger_configure())
        self._wait_for_subscriptions()
        begin_ns = robot.now_ns + _BEFORE_NS
        for node in self._managed():
            _require(node, "activated", node.trigger_activate())
        # In steps, as nodes take a long one for a clock that was set.
        step_ns = 5 * robot.period_ns
        for now_ns in range(robot.now_ns + step_ns, begin_ns, step_ns):
            self.robot.publish_clock(now_ns)
            self._settle()
        self.robot.restart_at(begin_ns)
        self.robot.seed_lost_frames(seed)
        robot.reset(scene.apply)
        self._chunks = 0
        self._publish()
        self._instruction.publish(String(data=scene.instruction))
        self._settle()

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
        self._settle()
        for node in self._managed():
            node.trigger_deactivate()
            node.trigger_cleanup()

    def _on_chunk(self, _: ActionChunk) -> None:
        self._chunks += 1

    def _nodes(self) -> Iterator[PolicyNode | ExecutorNode | SimRobotNode]:
        yield from (self.policy, self.executor, self.robot)

    def _managed(self) -> tuple[ManagedNode, ...]:
        return self.executor, self.policy

    def _publish(self) -> None:
        # The inputs are in the nodes before their timers are due.
        self.robot.publish_inputs()
        self._settle()
        self.robot.publish_clock(self.robot.robot.now_ns)
        self._settle()

    def _settle(self) -> None:
        """Run callbacks, and wait for the inference, until there is nothing left to do."""
        quiet = False
        while not quiet:
            quiet = True
            for node, spinner in self._spinners:
                quiet = not _run_ready(spinner) and quiet
                if node is self.policy:
                    self.policy.wait_until_idle()

    def _wait_for_subscriptions(self) -> None:
        """Wait until every publisher has found its subscribers."""
        deadline = time.monotonic() + _DISCOVERY_TIMEOUT
        while missing := [t for n in self._nodes() for t in _unmatched(n)]:
            if time.monotonic() > deadline:
                raise RuntimeError(f"nobody receives {', '.join(missing)}")
            self._settle()


def _require(node: Node, what: str, result: TransitionCallbackReturn) -> None:
    if result != TransitionCallbackReturn.SUCCESS:
        raise RuntimeError(f"{node.get_name()} cannot be {what}: see its log")


def _unmatched(node: Node) -> list[str]:
    """Return the topics of publishers that fewer subscriptions have found than there are."""
    return [
        publisher.topic_name
        for publisher in node.publishers
        if publisher.get_subscription_count() < node.count_subscribers(publisher.topic_name)
    ]


def _run_ready(spinner: SingleThreadedExecutor) -> bool:
    """Run all callbacks that are ready; return whether there was one."""
    found = False
    while True:
        try:
            handler, _, _ = spinner.wait_for_ready_callbacks(timeout_sec=0.0)
        except TimeoutException:
            return found
        found = True
        handler()
        if (error := handler.exception()) is not None:
            raise error


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
