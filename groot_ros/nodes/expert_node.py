# SPDX-License-Identifier: Apache-2.0
"""Scripted expert, simulated robot and recorder as nodes of one process: episodes in bags.

The expert sees the simulation, like `groot_ros.rollout.collect`. Everything that a data set has is
on the topics of a real robot: joint states and images of the simulated robot, the commands that its
controllers execute, and the expert's own commands, without disturbances, as the committed motion of
an executor. Simulated time goes on by one control period after all of it has been received, so the
motion is that of `groot_ros.rollout.collect`, and a bag is converted to the same rows.
"""

import json
import shutil
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from numpy.typing import NDArray
from rclpy.client import Client
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from std_srvs.srv import Trigger

from groot_ros.bags import graph_topics
from groot_ros.bridge.parameters import Parameters
from groot_ros.core import NS_PER_S, s_to_ns
from groot_ros.core.node_config import ExpertConfig
from groot_ros.core.share import robot_path
from groot_ros.nodes.expert_commands import ExpertNode
from groot_ros.nodes.lockstep import SteppedNodes
from groot_ros.nodes.recorder_node import RecorderNode
from groot_ros.nodes.sim_robot_node import SimRobotNode
from groot_ros.robot import load_contract
from groot_ros.rollout.expert_episode import ExpertRobot, run_expert
from groot_ros.rollout.simulation import ATTEMPTS, collected_scene
from groot_ros.sim.disturbance import UNDISTURBED, DisturbanceSettings
from groot_ros.sim.judge import Judge
from groot_ros.sim.table import Scene
from groot_ros.sim.table_expert import STEP
from groot_ros.sim.tasks import load_table_task
from groot_ros.srv import StartEpisode, StopEpisode

#: From the start of a bag to the first row: what is published once is in the bag before the row.
_BEFORE_NS = s_to_ns(STEP)
#: Name of the recorder, in which its services are.
_RECORDER = "recorder_node"


class Interrupted(Exception):  # noqa: N818 - asked for by a signal, not an error
    """A signal has ended the collection."""


class TopicRobot(ExpertRobot):
    """Simulated robot, expert and recorder, which take their parameters from the context.

    Use it as a context manager.

    Args:
        robot: name of the robot contract.
        signals: end signals that were received; one of them interrupts the collection.

    Attributes:
        sim_node: node of the simulated robot.
        recorder: node of the recorder.
        rows: number of rows of the present episode.

    """

    def __init__(self, robot: str, signals: Sequence[int] = ()) -> None:
        self._contract = load_contract(robot_path(robot))
        self.sim_node = SimRobotNode(stepped=True)
        self._expert = ExpertNode(self._contract)
        self.recorder = RecorderNode()
        self._nodes = SteppedNodes((self.sim_node, self._expert, self.recorder))
        self._clients = {
            name: self._expert.create_client(kind, f"{_RECORDER}/{name}")
            for name, kind in (
                ("start_episode", StartEpisode),
                ("stop_episode", StopEpisode),
                ("discard_episode", Trigger),
            )
        }
        self._signals = signals
        self._action = np.zeros(0)
        self.rows = 0

    def __enter__(self) -> "TopicRobot":
        return self

    def __exit__(self, *_: object) -> None:
        self._nodes.close()

    def begin(self, scene: Scene) -> None:
        """Put robot and objects where the scene has them, and begin a bag.

        Raises:
            Interrupted: a signal was received.
            RuntimeError: the recorder does not receive a topic, or cannot begin a bag.

        """
        robot = self.sim_node.robot
        begin_ns = (robot.now_ns // NS_PER_S + 2) * NS_PER_S
        robot.reset(scene.apply)
        before_ns = begin_ns - _BEFORE_NS

        def not_recorded() -> list[str]:
            self._check_signals()
            # The recorder waits for the time, and may not have found its publisher yet.
            self.sim_node.publish_clock(before_ns)
            return self._not_recorded()

        self._nodes.wait_for(not_recorded, "the recorder does not receive all topics")
        start = robot.arm.data.ctrl.copy()
        self._expert.instruct(scene.instruction, before_ns)
        self._expert.commit(start, start, before_ns)
        self._nodes.settle()
        request = StartEpisode.Request(instruction=scene.instruction)
        _require(self._answer("start_episode", request))
        self.sim_node.restart_at(begin_ns)
        self.rows = 0

    def watch(self, judge: Judge) -> None:
        """Show the judge of the episode every control cycle."""
        self.sim_node.robot.observer = judge.observe

    def add_row(self, action: NDArray[np.float64]) -> None:
        """Publish the present images and state."""
        self._publish_inputs()
        self._action = action
        self.rows += 1

    def move(self, commands: NDArray[np.float64], intended: NDArray[np.float64]) -> None:
        """Let the controllers execute one step.

        Raises:
            Interrupted: a signal was received.
            RuntimeError: they have not executed it.

        """
        self._check_signals()
        robot = self.sim_node.robot
        self._expert.commit(self._action, intended, robot.now_ns)
        self._expert.command(commands, robot.now_ns)
        self._nodes.settle()
        for cycle in range(len(commands)):
            if cycle:
                self._publish_inputs()
            robot.cycle()
        executed = robot.arm.data.ctrl
        if not np.allclose(executed, np.clip(commands[-1], *robot.arm.limits.T), atol=1e-9):
            raise RuntimeError(
                f"the controllers have not executed the commands: they are at {executed.tolist()} "
                f"rad instead of {commands[-1].tolist()} rad"
            )

    def end(self) -> Path:
        """Keep the bag as a success; return its directory.

        Raises:
            RuntimeError: messages are missing in it, and it was deleted.

        """
        self.sim_node.robot.observer = None
        success = StopEpisode.Request(outcome=StopEpisode.Request.SUCCESS)
        answer = self._answer("stop_episode", success)
        problems = [] if answer.success else [answer.message]
        for topic, rate in self._input_rates():
            count, due = self.recorder.counts.get(topic, 0), int(rate * STEP * self.rows)
            if count < due:
                problems.append(f"{due - count} of {due} messages of {topic} are missing")
        if problems:
            shutil.rmtree(answer.bag, ignore_errors=True)
            raise RuntimeError(f"{answer.bag} was deleted: {'; '.join(problems)}")
        return Path(answer.bag)

    def discard(self) -> None:
        """Delete the bag."""
        self.sim_node.robot.observer = None
        _require(self._answer("discard_episode", Trigger.Request()))

    def _check_signals(self) -> None:
        if self._signals:
            raise Interrupted

    def _publish_inputs(self) -> None:
        # First the time, so that no message is older than the time at which it is received.
        self.sim_node.publish_clock(self.sim_node.robot.now_ns)
        self._nodes.settle(self.recorder)
        self.sim_node.publish_inputs()
        self._nodes.settle(self.recorder)

    def _input_rates(self) -> Iterator[tuple[str, float]]:
        """Yield topic and rate of each camera and source."""
        for camera in self._contract.cameras.values():
            yield self.sim_node.resolve_topic_name(camera.topic), camera.rate
        for source in self._contract.sources:
            yield self.sim_node.resolve_topic_name(source.topic), source.rate

    def _not_recorded(self) -> list[str]:
        """Return the topics that the recorder has not found yet, or a publisher its subscribers."""
        names = graph_topics(self._contract, use_sim_time=True)
        recorded = {self.sim_node.resolve_topic_name(name) for name in names}
        published = {
            p.topic_name for node in (self.sim_node, self._expert) for p in node.publishers
        }
        unknown = [
            topic
            for topic in sorted(recorded & published)
            if _RECORDER
            not in {own.node_name for own in self.sim_node.get_subscriptions_info_by_topic(topic)}
        ]
        return unknown or self._nodes.unmatched()

    def _answer(self, name: str, request: Any) -> Any:
        """Return the recorder's answer; RuntimeError if there is none."""
        client: Client = self._clients[name]
        self._nodes.wait_for(
            lambda: [] if client.service_is_ready() else [client.srv_name],
            "the recorder does not offer its services",
        )
        future = client.call_async(request)
        self._nodes.wait_for(
            lambda: [] if future.done() else [client.srv_name], "the recorder does not answer"
        )
        return future.result()


def _require(answer: Any) -> None:
    if not answer.success:
        raise RuntimeError(f"the recorder refuses: {answer.message}")


def record_episode(robot: TopicRobot, config: ExpertConfig, index: int) -> tuple[Path | None, int]:
    """Record one episode, in another scene if the expert fails.

    Returns:
        The bag, None if it failed in all scenes; and the number of scenes in which it failed.

    Raises:
        Interrupted: a signal was received; the bag was deleted.
        RuntimeError: the controllers have not executed the commands, and the bag was deleted; or
            the recorder does not work.

    """
    task = load_table_task(config.task)
    disturbances = UNDISTURBED if config.calm else DisturbanceSettings()
    simulated = robot.sim_node.robot
    for attempt in range(ATTEMPTS):
        scene, disturbance, _ = collected_scene(task, config.seed, index, attempt, disturbances)
        robot.begin(scene)
        judge, expert = task.judge(simulated.model, scene), task.expert(simulated.model, scene)
        robot.watch(judge)
        try:
            run_expert(task, expert, judge, simulated.arm, robot, disturbance)
        except (Interrupted, RuntimeError):
            robot.discard()
            raise
        if judge.succeeded:
            return robot.end(), attempt
        robot.discard()
    return None, ATTEMPTS


def main() -> None:
    """Record the episodes, and append the result of each to a file as a line of JSON."""
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    received: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda own, _: received.append(own))
    node = Node("expert_node")
    config = Parameters(node, ExpertConfig).config
    node.destroy_node()
    try:
        with (
            TopicRobot(load_table_task(config.task).robot, received) as robot,
            Path(config.results).open("w", encoding="utf-8") as file,
        ):
            for index in range(config.episodes):
                bag, failures = record_episode(robot, config, index)
                result = {
                    "index": index,
                    "bag": None if bag is None else str(bag),
                    "rows": 0 if bag is None else robot.rows,
                    "failures": failures,
                }
                file.write(json.dumps(result) + "\n")
                file.flush()
    except Interrupted:
        pass
    except (RuntimeError, ValueError) as error:
        sys.exit(str(error))
    finally:
        rclpy.try_shutdown()
