# SPDX-License-Identifier: Apache-2.0
"""Grippers of the simulated robot behind an action or a digital output, over DDS."""

import time
from types import SimpleNamespace

import numpy as np
import pytest
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.node import Node
from support.policy_stage import SO101
from support.so101 import HOME, JOINTS

from groot_ros.bridge import qos
from groot_ros.bridge.messages import chunk_to_msg
from groot_ros.core import ActionChunk, ActionGroup, ActionKind, s_to_ns
from groot_ros.msg import ActionChunk as ActionChunkMsg
from groot_ros.nodes.executor_node import ExecutorNode
from groot_ros.nodes.guarded import GuardedNode
from groot_ros.nodes.sim_robot_node import SimRobotNode
from groot_ros.robot import load_contract
from groot_ros.robot.controller import controller_type

pytestmark = pytest.mark.ros

_JOINT_TRAJECTORY = """    type: joint_trajectory_controller
    topic: gripper_controller/joint_trajectory
    joints: [gripper]
"""


class World:
    """A simulated robot whose gripper has another type of controller, and its output."""

    def __init__(self, folder, kind: str) -> None:
        text = SO101.read_text(encoding="utf-8")
        assert _JOINT_TRAJECTORY in text
        path = folder / "robot.yaml"
        path.write_text(
            text.replace(_JOINT_TRAJECTORY, f"    type: {kind}\n    joints: [gripper]\n")
        )
        given = {"robot": path, "image_width": 64, "image_height": 48, "discovery_timeout": 0.0}
        rclpy.init(args=["--ros-args", *(a for k, v in given.items() for a in ("-p", f"{k}:={v}"))])
        self.sim = SimRobotNode()
        self.node = GuardedNode("commander", use_global_arguments=False)
        self._spinner = SingleThreadedExecutor()
        self._nodes: list[Node] = [self.sim, self.node]
        self._ids = 0
        for node in self._nodes:
            self._spinner.add_node(node)
        controller = load_contract(path).controllers[1]
        self.output = controller_type(kind).connect(self.node, controller, self.node.guarded)
        self.spin_until(lambda: self._connected(controller.topic), "it is connected")

    def _connected(self, topic: str) -> bool:
        services = [name for name, _ in self.node.get_service_names_and_types()]
        found = f"/{topic}/_action/send_goal" in services or self.node.count_subscribers(topic)
        return bool(found) and not self.output.fault()

    @property
    def gripper(self) -> float:
        return float(self.sim.robot.reading(["gripper"]).positions[0])

    def send(self, position: float) -> None:
        now_ns = self.node.get_clock().now().nanoseconds + s_to_ns(0.2)
        self.output.send(np.array([position]), now_ns)

    def spin_until(self, condition, what: str) -> None:
        end = time.monotonic() + 30.0
        while not condition():
            assert time.monotonic() < end, f"never: {what}"
            self._spinner.spin_once(timeout_sec=0.02)

    def add_executor(self) -> ExecutorNode:
        """Bring up an executor that has the robot's joint states and can receive chunks."""
        executor = ExecutorNode()
        self._nodes.append(executor)
        self._spinner.add_node(executor)
        self._chunks = self.node.create_publisher(ActionChunkMsg, "action_chunk", qos.COMMAND)
        for trigger in (executor.trigger_configure, executor.trigger_activate):
            assert trigger() == TransitionCallbackReturn.SUCCESS
        self.spin_until(
            lambda: (
                self._chunks.get_subscription_count()
                and self.node.count_subscribers("joint_states")
                and self.node.count_publishers("joint_states")
            ),
            "the executor is connected",
        )
        return executor

    def move_gripper(self, executor: ExecutorNode, position: float) -> None:
        """Send chunks that move only the gripper until one is accepted."""
        accepted = executor.control.state(0).accepted
        values = np.tile([*HOME[:5], position], (16, 1))

        def has_accepted() -> bool:
            self._ids += 1
            now_ns = self.node.get_clock().now().nanoseconds
            groups = tuple(
                ActionGroup(ActionKind.JOINT_POSITION, name, joints, ("rad",) * len(joints), v)
                for name, joints, v in (
                    ("single_arm", JOINTS[:5], values[:, :5]),
                    ("gripper", JOINTS[5:], values[:, 5:]),
                )
            )
            chunk = ActionChunk(
                stamp_ns=now_ns,
                start_ns=now_ns,
                dt=1 / 30,
                session="a",
                id=self._ids,
                groups=groups,
            )
            self._chunks.publish(chunk_to_msg(chunk))
            end = time.monotonic() + 0.2
            while time.monotonic() < end:
                self._spinner.spin_once(timeout_sec=0.02)
            return executor.control.state(now_ns).accepted > accepted

        self.spin_until(has_accepted, "a chunk is accepted")

    def end(self) -> None:
        self.sim.close()
        self.output.destroy()
        for node in self._nodes[2:]:
            node.close()
        self._spinner.shutdown()
        for node in self._nodes:
            node.destroy_node()
        rclpy.shutdown()


@pytest.fixture
def world(ros_domain, tmp_path):
    made = SimpleNamespace(world=None)

    def begin(kind: str) -> World:
        made.world = World(tmp_path, kind)
        return made.world

    yield begin
    if made.world is not None:
        made.world.end()


@pytest.mark.parametrize(
    "kind", ["gripper_action_controller", "parallel_gripper_action_controller"]
)
def test_the_gripper_moves_to_the_goals_of_its_action(world, kind):
    on = world(kind)
    on.send(1.2)
    on.spin_until(lambda: abs(on.gripper - 1.2) < 0.02, "the gripper has reached its goal")
    assert on.output.fault() == ""


def test_a_cancelled_goal_lets_the_gripper_hold_where_it_is(world):
    on = world("gripper_action_controller")
    on.send(1.7)
    on.spin_until(lambda: on.gripper > 0.5, "the gripper moves")
    on.output.cancel()
    seen = [on.gripper]

    def has_stopped() -> bool:
        seen.append(on.gripper)
        return len(seen) > 30 and abs(seen[-1] - seen[-20]) < 1e-4

    on.spin_until(has_stopped, "the gripper has stopped")
    assert on.gripper < 1.65


def test_a_gripper_that_cannot_reach_its_goal_stalls(world):
    on = world("gripper_action_controller")
    # Beyond its open end, 1.75 rad; the executor would not command it.
    on.send(2.0)
    on.spin_until(on.output.fault, "the goal was aborted")
    assert "stalled while opening to 2, at 1.7" in on.output.fault()


def test_a_digital_output_opens_and_closes_the_gripper(world):
    on = world("digital_output")
    on.send(1.7)
    on.spin_until(lambda: on.gripper > 1.7, "the gripper is open")
    assert on.sim.robot.flag("gripper_controller") is True
    on.send(0.0)
    on.spin_until(lambda: on.gripper < -0.1, "the gripper is closed")


def test_the_gripper_opens_and_closes_as_the_executor_moves_it(world):
    on = world("gripper_action_controller")
    executor = on.add_executor()
    on.move_gripper(executor, 1.2)
    on.spin_until(lambda: abs(on.gripper - 1.2) < 0.05, "the last target is delivered")
    on.move_gripper(executor, -0.17)
    on.spin_until(lambda: on.gripper < -0.1, "the gripper is closed")
    assert [f for f in executor.control.state(0).rejections if "tracking" in f] == []
