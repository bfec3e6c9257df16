# SPDX-License-Identifier: Apache-2.0
"""An executor node under test, with a robot at rest, a sender of chunks and an observer."""

import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rcl_interfaces.srv import SetParameters
from rclpy.clock import Clock as SteadyClock
from rclpy.clock import ClockType
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray, String
from std_srvs.srv import SetBool, Trigger
from trajectory_msgs.msg import JointTrajectory

from groot_ros.bridge import qos
from groot_ros.bridge.messages import chunk_to_msg, ns_to_time
from groot_ros.core import ActionChunk, ActionGroup, ActionKind, s_to_ns
from groot_ros.msg import ActionChunk as ActionChunkMsg
from groot_ros.msg import CommittedTimeline, ExecutorState, Instruction, PolicyStatus
from groot_ros.nodes import executor_node
from groot_ros.nodes.executor_inputs import ExecutorInputs
from groot_ros.nodes.executor_node import ExecutorNode
from groot_ros.robot import JointStateSource
from support.policy_stage import Inbox, answer_of, wait_until

ARM = ("pan", "lift")
GRIPPER = "finger"
DT = 1 / 30

CONTRACT = """
version: 2
robot: stage
action_dt: 0.0333333
joints:
  pan: {limits: {position: [-2.0, 2.0], velocity: 3.0, acceleration: 15.0}}
  lift: {limits: {position: [-2.0, 2.0], velocity: 3.0, acceleration: 15.0}}
  finger: {limits: {position: [-1.0, 1.0], velocity: 3.0, acceleration: 15.0}, gripper: true}
inputs:
  sources:
    arm: {topic: joint_states}
    hand: {topic: gripper/joint_states}
  state:
    arm: [{joint: pan, source: arm}, {joint: lift, source: arm}]
    gripper: [{joint: finger, source: hand}]
outputs:
  arm: [{controller: arm, joints: [pan, lift]}]
  gripper: [{controller: finger, joints: [finger]}]
cameras:
  front: {topic: front, rate: 30.0}
controllers:
  - {name: arm, topic: arm/joint_trajectory, joints: [lift, pan]}
  - {name: finger, type: forward_command_controller, topic: finger/commands, joints: [finger]}
"""


class CountingInputs(ExecutorInputs):
    """Counts the messages that its callbacks have handled, by topic."""

    def __init__(self, *arguments: object) -> None:
        self.handled = Counter[str]()
        super().__init__(*arguments)

    def on_joint_state(
        self, source: JointStateSource, msg: JointState, number: int | None = None
    ) -> None:
        super().on_joint_state(source, msg, number)
        self.handled[source.topic] += 1

    def on_policy_status(self, msg: PolicyStatus) -> None:
        super().on_policy_status(msg)
        self.handled["policy_status"] += 1


class ExecutorStage:
    """Both nodes spin in the background; messages are collected in inboxes."""

    def __init__(self, folder: Path, text: str = CONTRACT, **parameters: object) -> None:
        contract = folder / "stage.yaml"
        contract.write_text(text)
        given = {"robot": contract, "discovery_timeout": 0.0, **parameters}
        arguments = [a for k, v in given.items() for a in ("-p", f"{k}:={v}")]
        rclpy.init(args=["--ros-args", *arguments])
        self._counting = patch.object(executor_node, "ExecutorInputs", CountingInputs)
        self._counting.start()
        self.node = ExecutorNode()
        self.observer = rclpy.create_node("observer")
        self.trajectories, self.streamed, self.timelines = Inbox(), Inbox(), Inbox()
        self.states, self.diagnostics = Inbox(), Inbox()
        for kind, topic, inbox, profile in (
            (JointTrajectory, "arm/joint_trajectory", self.trajectories, qos.CHUNKS),
            (Float64MultiArray, "finger/commands", self.streamed, qos.CHUNKS),
            (CommittedTimeline, "committed_timeline", self.timelines, qos.LATCHED),
            (ExecutorState, "executor_state", self.states, qos.LATCHED),
            (DiagnosticArray, "/diagnostics", self.diagnostics, qos.DRIVER),
        ):
            self.observer.create_subscription(kind, topic, inbox.put, profile)
        self._chunks = self.observer.create_publisher(ActionChunkMsg, "action_chunk", qos.COMMAND)
        self._instruction = self.observer.create_publisher(String, "instruction", qos.LATCHED)
        self._clock = self.observer.create_publisher(Clock, "/clock", qos.DRIVER)
        self._joints = {
            topic: self.observer.create_publisher(JointState, topic, qos.DRIVER)
            for topic in ("joint_states", "gripper/joint_states")
        }
        self.robot_publishes = True
        self.stamps = True
        self._clients: dict = {}
        self._ids = 0
        steady = SteadyClock(clock_type=ClockType.STEADY_TIME)
        self.observer.create_timer(0.01, self._publish_joint_states, clock=steady)
        self._ended = threading.Event()
        # One thread each, as in production: no other node waits for what this one destroys.
        self._threads = [
            threading.Thread(target=self._spin, args=(node,), name=node.get_name())
            for node in (self.node, self.observer)
        ]
        for thread in self._threads:
            thread.start()

    def _spin(self, node: Node) -> None:
        spinner = SingleThreadedExecutor()
        spinner.add_node(node)
        while not self._ended.is_set():
            spinner.spin_once(timeout_sec=0.05)
        spinner.shutdown()

    def end(self) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()
        self.node.close()
        self._counting.stop()
        for node in (self.node, self.observer):
            node.destroy_node()
        rclpy.shutdown()

    @property
    def now_ns(self) -> int:
        return self.node.get_clock().now().nanoseconds

    def _publish_joint_states(self) -> None:
        if not self.robot_publishes:
            return
        stamp = ns_to_time(self.now_ns if self.stamps else 0)
        # The arm's source publishes a wrong gripper position too; it is not trusted for it.
        arm = JointState(name=["finger", "lift", "pan"], position=[9.0, 0.0, 0.0])
        gripper = JointState(name=["finger"], position=[0.0])
        for topic, msg in (("joint_states", arm), ("gripper/joint_states", gripper)):
            msg.header.stamp = stamp
            self._joints[topic].publish(msg)

    def give(self, change=lambda msg: None, *, latency: float = 0.0, **fields: object) -> None:
        """Publish a chunk that moves the arm by 0.2 rad; `change` may modify the message."""
        self._ids += 1
        stamp = self.now_ns - s_to_ns(latency)
        t = stamp / 1e9 % 1000 + DT * np.arange(16)[:, None]
        arm = 0.2 * np.sin(2 * np.pi * 0.5 * t + [0.0, 1.0])
        groups = (
            ActionGroup(ActionKind.JOINT_POSITION, "arm", ARM, ("rad", "rad"), arm),
            ActionGroup(ActionKind.GRIPPER, "gripper", (GRIPPER,), ("rad",), arm[:, :1]),
        )
        plain = {
            "stamp_ns": stamp,
            "start_ns": stamp,
            "dt": DT,
            "session": "a",
            "id": self._ids,
            "groups": groups,
        }
        msg = chunk_to_msg(ActionChunk(**{**plain, **fields}))
        change(msg)
        self._chunks.publish(msg)

    def instruct(self, text: str) -> None:
        self._instruction.publish(String(data=text))

    def instruct_volatile(self, text: str) -> None:
        """Publish as an ordinary publisher and the ros2 command line do."""
        publisher = self.observer.create_publisher(String, "instruction", 10)
        wait_until(lambda: publisher.get_subscription_count() == 1, "the executor has subscribed")
        publisher.publish(String(data=text))

    def publish_future_joint_state(self) -> None:
        """Publish a joint state that is stamped a minute ahead."""
        self.publish_joint_state_of(self.now_ns + s_to_ns(60.0))

    def publish_joint_state_of(self, stamp_ns: int) -> None:
        """Publish a joint state with this stamp."""
        arm = JointState(name=["lift", "pan"], position=[0.0, 0.0])
        arm.header.stamp = ns_to_time(stamp_ns)
        self._joints["joint_states"].publish(arm)

    def publish_active_instruction(self, text: str, session: str) -> None:
        """Publish the instruction that a policy follows, once the executor has subscribed."""
        publisher = self.observer.create_publisher(Instruction, "active_instruction", qos.LATCHED)
        publisher.publish(Instruction(text=text, instruction_id=2, session=session))

    def add_conflicting_publisher(self) -> Callable[[], object]:
        """Add a second publisher on a command topic; return a function that removes it."""
        publisher = self.observer.create_publisher(JointTrajectory, "arm/joint_trajectory", 1)
        return lambda: self.observer.destroy_publisher(publisher)

    def publish_policy_status(self, msg: PolicyStatus) -> None:
        """Publish a status and wait until the executor has handled it."""
        before = self.node.inputs.handled["policy_status"]
        publisher = self.observer.create_publisher(PolicyStatus, "policy_status", qos.LATCHED)
        publisher.publish(msg)
        wait_until(
            lambda: self.node.inputs.handled["policy_status"] > before, "the status is handled"
        )

    def diagnosed(self, name: str, text: str) -> bytes:
        """Return the level of the first diagnostic status with this name and text."""

        def found(array: DiagnosticArray) -> list:
            return [s for s in array.status if name in s.name and text in s.message]

        return found(self.diagnostics.wait(found))[0].level

    def set_time(self, now_ns: int) -> None:
        """Publish /clock and wait until the node has received it."""
        self._clock.publish(Clock(clock=ns_to_time(now_ns)))
        wait_until(lambda: self.now_ns == now_ns, "/clock is received")

    def call(self, kind, name: str, request):
        if name not in self._clients:
            self._clients[name] = self.observer.create_client(kind, f"executor_node/{name}")
        assert self._clients[name].wait_for_service(20.0), f"{name} is not there"
        return answer_of(self._clients[name].call_async(request))

    def switch(self, name: str, on: bool):
        return self.call(SetBool, name, SetBool.Request(data=on))

    def trigger(self, name: str):
        return self.call(Trigger, name, Trigger.Request())

    def change(self, transition: int) -> bool:
        request = ChangeState.Request(transition=Transition(id=transition))
        return self.call(ChangeState, "change_state", request).success

    def set_parameter(self, name: str, value: object):
        request = SetParameters.Request(
            parameters=[Parameter(name, value=value).to_parameter_msg()]
        )
        return self.call(SetParameters, "set_parameters", request).results[0]

    def bring_up(self) -> None:
        assert self.change(Transition.TRANSITION_CONFIGURE)
        assert self.change(Transition.TRANSITION_ACTIVATE)
        wait_until(
            lambda: (
                self._chunks.get_subscription_count() == 1
                and self._instruction.get_subscription_count() == 2  # latched and best effort
                and all(p.get_subscription_count() == 1 for p in self._joints.values())
                and self.node.count_subscribers("arm/joint_trajectory") == 1
                and self.node.count_subscribers("finger/commands") == 1
            ),
            "all topics are connected",
        )
        before = self.node.inputs.handled.copy()
        wait_until(
            lambda: all(self.node.inputs.handled[topic] > before[topic] for topic in self._joints),
            "joint states are received",
        )

    def run(self) -> ExecutorState:
        """Send chunks until one runs; a machine that delays joint states causes rejections."""
        for _ in range(20):
            before = len(self.states)
            self.give()
            counted = self.states.wait(lambda s: s.received == self._ids, after=before)
            if counted.accepted:
                break
        return self.states.wait(lambda s: s.status == ExecutorState.RUNNING, after=before)

    def rejected(self, reason: str) -> ExecutorState:
        """Return the first state that counts this reason."""
        return self.states.wait(lambda s: reason in [r.code for r in s.rejections])
