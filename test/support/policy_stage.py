# SPDX-License-Identifier: Apache-2.0
"""A policy node under test, with a scripted policy inside and a scripted robot around it."""

import itertools
import threading
import time
from array import array
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import rclpy
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.msg import Log
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.executors import MultiThreadedExecutor
from rclpy.qos import QoSDurabilityPolicy, QoSProfile
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import String
from std_srvs.srv import Trigger

from groot_ros.bridge import qos
from groot_ros.bridge.messages import ns_to_time
from groot_ros.core import ActionChunk, ActionGroup, ActionKind
from groot_ros.families.family import PolicySpec
from groot_ros.msg import ActionChunk as ActionChunkMsg
from groot_ros.msg import Instruction, PolicyStatus
from groot_ros.nodes.policy_node import PolicyNode
from groot_ros.srv import SetInstruction

SO101 = Path(__file__).parents[2] / "config" / "robots" / "so101.yaml"
JOINTS = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper")
HORIZON = 8
MS = 1_000_000
_STAGES = itertools.count()
_ROSOUT = QoSProfile(depth=1000, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)
#: s until a condition over DDS must hold; reached only by a test that fails.
TIMEOUT = 60.0


class ScriptedPolicy:
    """Stand-in for a loaded policy, without a model: its chunks repeat the observed state."""

    spec = PolicySpec(
        family="scripted",
        embodiment="scripted",
        views=("front", "wrist"),
        image_history=(0,),
        state_history=(0,),
        state_groups={"single_arm": 5, "gripper": 1},
        action_groups={"single_arm": 5, "gripper": 1},
        action_space={"single_arm": "joint", "gripper": "joint"},
        horizon=HORIZON,
        supports_prefix=True,
    )
    joint_groups = ("single_arm", "gripper")
    first_step = 0.0
    dt = 1 / 30
    device = "cpu"
    memory_bytes = 123
    notes = ()
    engine = SimpleNamespace(name="scripted")

    def __init__(self, *, script=None) -> None:
        self.script = script or (lambda _policy, _observation: None)
        self.observations = []
        self.seeds = []
        self.warm = self.closed = False
        self.resets = 0

    def reset(self) -> None:
        self.resets += 1

    def warm_up(self) -> float:
        self.warm = True
        return 0.001

    def close(self) -> None:
        self.closed = True

    def infer(self, observation, prefix=None, seed=None) -> ActionChunk:
        self.observations.append(observation)
        self.seeds.append(seed)
        self.script(self, observation)
        arm = np.repeat(observation.state["single_arm"][-1:], HORIZON, axis=0)
        group = ActionGroup(ActionKind.JOINT_POSITION, "single_arm", JOINTS[:5], ("rad",) * 5, arm)
        return ActionChunk(
            stamp_ns=observation.stamp_ns,
            start_ns=observation.stamp_ns,
            dt=self.dt,
            groups=(group,),
            engine="scripted",
            stage_seconds={"preprocess": 0.0, "backbone": 0.0, "head": 0.0, "decode": 0.0},
        )


class Inbox:
    """Received messages, and a way to wait for one."""

    def __init__(self) -> None:
        self._arrived = threading.Condition()
        self._messages: list = []

    def put(self, message) -> None:
        with self._arrived:
            self._messages.append(message)
            self._arrived.notify_all()

    def __len__(self) -> int:
        return len(self._messages)

    def all(self) -> list:
        return list(self._messages)

    def wait(self, matches=lambda _: True, *, after: int = 0):
        """Return the first message from index `after` on that matches."""
        seen = after

        def found():
            nonlocal seen
            while seen < len(self._messages):
                if matches(self._messages[seen]):
                    return True
                seen += 1
            return False

        with self._arrived:
            assert self._arrived.wait_for(found, TIMEOUT), (
                f"never came; the last of {len(self._messages)} was {self._messages[-1:]}"
            )
            return self._messages[seen]


class Robot:
    """Two small cameras and a joint state, every 20 ms; tests change what they publish.

    Labels have the stamp of their image.
    """

    def __init__(self, images, labels) -> None:
        self.node = rclpy.create_node("robot")
        self.silent: set[str] = set()
        self.offset_ns = {"front": 0, "wrist": 0, "joints": 0}
        self.joints = dict.fromkeys(JOINTS, 0.25)
        self.image = {"front": rgb_image(10), "wrist": rgb_image(20), **images}
        self.labels = dict(labels)
        self._start_drivers()
        self.node.create_timer(0.02, self.publish)

    def _start_drivers(self) -> None:
        self._cameras = {
            view: self.node.create_publisher(type(image), topic_of(view, image), qos.DRIVER)
            for view, image in self.image.items()
        }
        self._joints = self.node.create_publisher(JointState, "joint_states", qos.DRIVER)
        self._labels = {
            view: self.node.create_publisher(Image, f"{view}/labels", qos.DRIVER)
            for view in self.labels
        }

    def restart_drivers(self) -> None:
        """End the publishers and start new ones; the robot must be silent meanwhile."""
        old = (*self._cameras.values(), *self._labels.values(), self._joints)
        self._start_drivers()
        for publisher in old:
            self.node.destroy_publisher(publisher)

    def reaches(self, topics: set[str]) -> bool:
        """Return whether a node receives what is published on those of these topics it has."""
        publishers = (*self._cameras.values(), *self._labels.values(), self._joints)
        return all(p.get_subscription_count() for p in publishers if p.topic_name in topics)

    def publish(self) -> None:
        now = self.node.get_clock().now().nanoseconds
        if "joints" not in self.silent:
            msg = JointState(name=list(self.joints), position=list(self.joints.values()))
            msg.header.stamp = ns_to_time(now + self.offset_ns["joints"])
            self._joints.publish(msg)
        for view, publisher in self._cameras.items():
            if view not in self.silent:
                self.image[view].header.stamp = ns_to_time(now + self.offset_ns[view])
                publisher.publish(self.image[view])
                if view in self._labels:
                    self.labels[view].header.stamp = self.image[view].header.stamp
                    self._labels[view].publish(self.labels[view])


def topic_of(view: str, image) -> str:
    """Return the topic of a camera; each topic has one type."""
    return f"{view}/image_raw" if isinstance(image, Image) else f"{view}/compressed"


def rgb_image(value: int) -> Image:
    """Return 16 x 16 pixels of one grey value."""
    data = array("B", bytes([value]) * (16 * 16 * 3))
    return Image(width=16, height=16, step=48, encoding="rgb8", data=data)


class PolicyStage:
    """The node under test, the robot and an observer, spun in a separate thread."""

    def __init__(self, *, load, images=None, labels=None, robot=SO101, **parameters) -> None:
        given = {
            "checkpoint": "scripted",
            "robot": robot,
            "rate_hz": 50.0,
            "torch_threads": 1,
            **parameters,
        }
        arguments = [a for k, v in given.items() for a in ("-p", f"{k}:={v}")]
        # One namespace per stage: the log of a node is lost on /rosout while an earlier node of
        # the same name is still being destroyed.
        namespace = f"stage_{next(_STAGES)}"
        rclpy.init(args=["--ros-args", "-r", f"__ns:=/{namespace}", *arguments])
        self.node = PolicyNode(load)
        self.robot = Robot(images or {}, labels or {})
        self.chunks, self.statuses, self.instructions, self.logs = (Inbox() for _ in range(4))
        self._observer = rclpy.create_node("observer")
        group = ReentrantCallbackGroup()
        for kind, topic, inbox, profile in (
            (ActionChunkMsg, "action_chunk", self.chunks, qos.CHUNKS),
            (PolicyStatus, "policy_status", self.statuses, qos.LATCHED),
            (Instruction, "active_instruction", self.instructions, qos.LATCHED),
            (Log, "/rosout", self.logs, _ROSOUT),
        ):
            self._observer.create_subscription(
                kind, topic, inbox.put, profile, callback_group=group
            )
        self.instruction = self._observer.create_publisher(String, "instruction", qos.LATCHED)
        self._clock = self._observer.create_publisher(Clock, "/clock", qos.LATCHED)
        self._clients: dict = {}
        self._executor = MultiThreadedExecutor(num_threads=5)
        for node in (self.node, self.robot.node, self._observer):
            self._executor.add_node(node)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._spin, name="stage")
        self._thread.start()

    def end(self) -> None:
        self.robot.silent.update({"front", "wrist", "joints"})
        self.node.close()
        self._ended.set()
        self._thread.join()
        self._executor.shutdown()
        for node in (self.node, self.robot.node, self._observer):
            node.destroy_node()
        rclpy.shutdown()

    def _spin(self) -> None:
        # An executor that is shut down while it spins in another thread may raise InvalidHandle.
        while not self._ended.is_set():
            self._executor.spin_once(timeout_sec=0.1)

    def late_instructions(self) -> Inbox:
        """Return an inbox of a subscription to the active instruction that begins now."""
        inbox = Inbox()
        self._observer.create_subscription(
            Instruction, "active_instruction", inbox.put, qos.LATCHED
        )
        return inbox

    def set_time(self, now_ns: int) -> None:
        """Publish /clock and wait until the node and the robot have received it."""
        clocks = [node.get_clock() for node in (self.node, self.robot.node)]
        self._clock.publish(Clock(clock=ns_to_time(now_ns)))
        wait_until(
            lambda: all(clock.now().nanoseconds == now_ns for clock in clocks), "/clock is received"
        )

    def begin_call(self, kind, name, request):
        """Call a service and return the future of its response."""
        if name not in self._clients:
            self._clients[name] = self._observer.create_client(kind, name)
        assert self._clients[name].wait_for_service(TIMEOUT), f"{name} is not there"
        return self._clients[name].call_async(request)

    def call(self, kind, name, request):
        return answer_of(self.begin_call(kind, name, request))

    def begin_change(self, transition: int):
        request = ChangeState.Request(transition=Transition(id=transition))
        return self.begin_call(ChangeState, "policy_node/change_state", request)

    def change(self, transition: int) -> bool:
        return answer_of(self.begin_change(transition)).success

    def state(self) -> int:
        response = self.call(GetState, "policy_node/get_state", GetState.Request())
        return response.current_state.id

    def configure(self) -> bool:
        return self.change(Transition.TRANSITION_CONFIGURE)

    def activate(self) -> bool:
        return self.change(Transition.TRANSITION_ACTIVATE)

    def deactivate(self) -> bool:
        return self.change(Transition.TRANSITION_DEACTIVATE)

    def cleanup(self) -> bool:
        return self.change(Transition.TRANSITION_CLEANUP)

    def bring_up(self) -> None:
        assert self.configure(), self.state()
        inputs = {subscription.topic_name for subscription in self.node.subscriptions}
        wait_until(lambda: self.robot.reaches(inputs), "the node receives from the robot")
        assert self.activate(), self.state()
        assert self.state() == State.PRIMARY_STATE_ACTIVE

    def instruct(self, text: str):
        return self.call(
            SetInstruction,
            "policy_node/set_instruction",
            SetInstruction.Request(instruction=text),
        )

    def reset(self):
        return self.call(Trigger, "policy_node/reset", Trigger.Request())

    def idles(self) -> None:
        """Wait until the node has logged that it waits for an instruction."""
        self.logs.wait(lambda m: m.msg.startswith("no_instruction"))

    def rejected(self, reason: str) -> PolicyStatus:
        """Wait for a new status that counts this reason, and return it."""
        return self.statuses.wait(
            lambda s: reason in [r.code for r in s.rejections], after=len(self.statuses)
        )


def stages():
    """Yield a function that begins a stage, then end all stages; for a fixture.

    The function takes a scripted policy, or `load` that returns one, and parameters.
    """
    begun = []

    def begin(policy=None, *, load=None, **parameters) -> PolicyStage:
        policy = policy or ScriptedPolicy()
        begun.append(PolicyStage(load=load or (lambda *_, **__: policy), **parameters))
        return begun[-1]

    yield begin
    for each in begun:
        each.end()


def active(stage, policy=None, **parameters) -> PolicyStage:
    """Return a stage whose node is active with the instruction to pick the cube."""
    on = stage(policy, **{"instruction": "pick the cube", **parameters})
    on.bring_up()
    return on


def answer_of(future):
    """Wait for a response that another thread spins for."""
    done = threading.Event()
    future.add_done_callback(lambda _: done.set())
    assert done.wait(TIMEOUT), "the service never answered"
    return future.result()


def wait_until(condition, what: str) -> None:
    """Poll a condition that changes without a notification, such as DDS discovery."""
    deadline = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < deadline, f"never came true: {what}"
        threading.Event().wait(0.01)
