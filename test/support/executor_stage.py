"""An executor node on a stage: a robot that stands, somebody who sends chunks, an onlooker."""

import threading
from pathlib import Path

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
from groot_ros.msg import CommittedTimeline, ExecutorState, PolicyStatus
from groot_ros.nodes.executor_node import ExecutorNode
from support.policy_stage import Inbox, answer_of, wait_until

ARM = ("pan", "lift")
GRIPPER = "finger"
DT = 1 / 30

CONTRACT = """
robot: stage
action_dt: 0.0333333
joints:
  pan: {position: [-2.0, 2.0], velocity: 3.0, acceleration: 15.0}
  lift: {position: [-2.0, 2.0], velocity: 3.0, acceleration: 15.0}
  finger: {position: [-1.0, 1.0], velocity: 3.0, acceleration: 15.0}
groups:
  arm: {joints: [pan, lift]}
  gripper: {joints: [finger], kind: gripper}
cameras:
  front: {topic: front, rate: 30.0}
joint_states:
  - {topic: joint_states, joints: [pan, lift]}
  - {topic: gripper/joint_states, joints: [finger]}
controllers:
  - {name: arm, topic: arm/joint_trajectory, joints: [lift, pan]}
  - {name: finger, type: forward_command_controller, topic: finger/commands, joints: [finger]}
"""


class ExecutorStage:
    """Both nodes spin in the background; messages land in inboxes."""

    def __init__(self, folder: Path, **parameters: object) -> None:
        contract = folder / "stage.yaml"
        contract.write_text(CONTRACT)
        given = {"robot": contract, "discovery_timeout": 0.0, **parameters}
        arguments = [a for k, v in given.items() for a in ("-p", f"{k}:={v}")]
        rclpy.init(args=["--ros-args", *arguments])
        self.node = ExecutorNode()
        self._onlooker = rclpy.create_node("onlooker")
        self.trajectories, self.streamed, self.timelines = Inbox(), Inbox(), Inbox()
        self.states, self.diagnostics = Inbox(), Inbox()
        for kind, topic, inbox, profile in (
            (JointTrajectory, "arm/joint_trajectory", self.trajectories, qos.CHUNKS),
            (Float64MultiArray, "finger/commands", self.streamed, qos.CHUNKS),
            (CommittedTimeline, "committed_timeline", self.timelines, qos.LATCHED),
            (ExecutorState, "executor_state", self.states, qos.LATCHED),
            (DiagnosticArray, "/diagnostics", self.diagnostics, qos.DRIVER),
        ):
            self._onlooker.create_subscription(kind, topic, inbox.put, profile)
        self._chunks = self._onlooker.create_publisher(ActionChunkMsg, "action_chunk", qos.COMMAND)
        self._instruction = self._onlooker.create_publisher(String, "instruction", qos.LATCHED)
        self._clock = self._onlooker.create_publisher(Clock, "/clock", qos.DRIVER)
        self._joints = {
            topic: self._onlooker.create_publisher(JointState, topic, qos.DRIVER)
            for topic in ("joint_states", "gripper/joint_states")
        }
        self.robot_speaks = True
        self._clients: dict = {}
        self._ids = 0
        steady = SteadyClock(clock_type=ClockType.STEADY_TIME)
        self._onlooker.create_timer(0.01, self._speak, clock=steady)
        self._ended = threading.Event()
        # One thread each, as in production: what the node destroys, nobody else waits for.
        self._threads = [
            threading.Thread(target=self._spin, args=(node,), name=node.get_name())
            for node in (self.node, self._onlooker)
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
        for node in (self.node, self._onlooker):
            node.destroy_node()
        rclpy.shutdown()

    @property
    def now_ns(self) -> int:
        return self.node.get_clock().now().nanoseconds

    def _speak(self) -> None:
        if not self.robot_speaks:
            return
        stamp = ns_to_time(self.now_ns)
        # The arm's source also speaks of the gripper, wrongly: it is not trusted for it.
        arm = JointState(name=["finger", "lift", "pan"], position=[9.0, 0.0, 0.0])
        gripper = JointState(name=["finger"], position=[0.0])
        for topic, msg in (("joint_states", arm), ("gripper/joint_states", gripper)):
            msg.header.stamp = stamp
            self._joints[topic].publish(msg)

    def give(self, change=lambda msg: None, *, latency: float = 0.0, **fields: object) -> None:
        """Publish a chunk that sways the arm by 0.2 rad; `change` may spoil the message."""
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
        """As an ordinary publisher does, and the ros2 command line."""
        publisher = self._onlooker.create_publisher(String, "instruction", 10)
        wait_until(lambda: publisher.get_subscription_count() == 1, "the executor listens")
        publisher.publish(String(data=text))

    def speak_from_the_future(self) -> None:
        """One joint state, stamped a minute ahead."""
        arm = JointState(name=["lift", "pan"], position=[0.0, 0.0])
        arm.header.stamp = ns_to_time(self.now_ns + s_to_ns(60.0))
        self._joints["joint_states"].publish(arm)

    def command_the_arm_too(self):
        """Be a second publisher on a command topic; what ends that."""
        conflicting_publisher = self._onlooker.create_publisher(
            JointTrajectory, "arm/joint_trajectory", 1
        )
        return lambda: self._onlooker.destroy_publisher(conflicting_publisher)

    def tell_policy_status(self, msg: PolicyStatus) -> None:
        publisher = self._onlooker.create_publisher(PolicyStatus, "policy_status", qos.LATCHED)
        publisher.publish(msg)

    def diagnosed(self, name: str, words: str) -> bytes:
        """The level of the first diagnosis of this name that says these words."""

        def found(array: DiagnosticArray) -> list:
            return [s for s in array.status if name in s.name and words in s.message]

        return found(self.diagnostics.wait(found))[0].level

    def tell_time(self, now_ns: int) -> None:
        """Publish /clock and wait until it is heard."""
        self._clock.publish(Clock(clock=ns_to_time(now_ns)))
        wait_until(lambda: self.now_ns == now_ns, "/clock is heard")

    def call(self, kind, name: str, request):
        if name not in self._clients:
            self._clients[name] = self._onlooker.create_client(kind, f"executor_node/{name}")
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
                and self._instruction.get_subscription_count() == 2  # latched and spoken
                and all(p.get_subscription_count() == 1 for p in self._joints.values())
                and self.node.count_subscribers("arm/joint_trajectory") == 1
                and self.node.count_subscribers("finger/commands") == 1
            ),
            "everybody is connected",
        )
        room = self.node._control
        wait_until(lambda: room._measured.oldest_ns is not None, "joint states are heard")

    def run(self) -> ExecutorState:
        """Give a chunk until one runs: where a busy machine delays the joints, it is rejected."""
        for _ in range(20):
            before = len(self.states)
            self.give()
            judged = self.states.wait(lambda s: s.received == self._ids, after=before)
            if judged.accepted:
                break
        return self.states.wait(lambda s: s.status == ExecutorState.RUNNING, after=before)

    def rejected(self, reason: str) -> ExecutorState:
        """The first state that counts this reason."""
        return self.states.wait(lambda s: reason in [r.code for r in s.rejections])
