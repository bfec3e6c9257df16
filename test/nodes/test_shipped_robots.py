# SPDX-License-Identifier: Apache-2.0
"""Every shipped robot is driven by a random checkpoint through all nodes, over real DDS."""

import threading
from pathlib import Path

import numpy as np
import pytest
import rclpy
from rclpy.executors import MultiThreadedExecutor, SingleThreadedExecutor
from support.policy_stage import wait_until
from support.robot_checkpoint import write_robot_checkpoint
from support.tiny_checkpoint import TAG

from groot_ros.nodes.executor_node import ExecutorNode
from groot_ros.nodes.policy_node import PolicyNode
from groot_ros.nodes.sim_robot_node import SimRobotNode
from groot_ros.robot import load_contract

pytestmark = [pytest.mark.ros, pytest.mark.slow]

FOLDER = Path(__file__).parents[2] / "config/robots"


class World:
    """Simulated robot, executor and policy in this process, one thread each."""

    def __init__(self, robot, checkpoint):
        parameters = {
            "robot": FOLDER / f"{robot}.yaml",
            "checkpoint": checkpoint,
            "embodiment": TAG,
            "device": "cpu",
            "instruction": "move",
            "discovery_timeout": 0.0,
            "image_width": 64,
            "image_height": 48,
            "torch_threads": 1,
        }
        arguments = [a for name, value in parameters.items() for a in ("-p", f"{name}:={value}")]
        rclpy.init(args=["--ros-args", *arguments])
        self.sim, self.executor, self.policy = SimRobotNode(), ExecutorNode(), PolicyNode()
        spinners = [SingleThreadedExecutor(), SingleThreadedExecutor(), MultiThreadedExecutor(4)]
        self.nodes = (self.sim, self.executor, self.policy)
        self.ended = threading.Event()
        self.threads = [
            threading.Thread(target=self._spin, args=pair)
            for pair in zip(spinners, self.nodes, strict=True)
        ]
        for thread in self.threads:
            thread.start()

    def _spin(self, spinner, node):
        spinner.add_node(node)
        while not self.ended.is_set():
            spinner.spin_once(timeout_sec=0.05)
        for _ in range(10):  # answers of goals that have ended meanwhile
            spinner.spin_once(timeout_sec=0.0)
        spinner.shutdown()

    def start(self):
        assert self.executor.autostart()
        assert self.policy.autostart()

    def end(self):
        for node in reversed(self.nodes):
            node.close()
        self.ended.set()
        for thread in self.threads:
            thread.join()
        for node in self.nodes:
            node.destroy_node()
        rclpy.shutdown()


@pytest.fixture(scope="module", params=["arm7", "arm7_suction", "bimanual", "ur5e_robotiq"])
def robot(request):
    return request.param


@pytest.fixture
def world(ros_domain, robot, tmp_path):
    contract = load_contract(FOLDER / f"{robot}.yaml")
    world = World(robot, write_robot_checkpoint(contract, tmp_path / "checkpoint"))
    yield world
    world.end()


def test_a_random_checkpoint_moves_all_joints_within_their_limits(world, robot):
    contract = load_contract(FOLDER / f"{robot}.yaml")
    joints = world.sim.robot.joints
    limits = [contract.joints[joint].limits for joint in joints]
    seen = [world.sim.robot.reading(joints).positions]
    world.start()

    def all_have_moved():
        seen.append(world.sim.robot.reading(joints).positions)
        # 5 mm of a finger, 0.05 rad of a joint; a suction cup jumps from 0 to 1.
        needed = [0.005 if limit.upper < 0.1 else 0.05 for limit in limits]
        return bool((np.ptp(seen, axis=0) >= needed).all())

    wait_until(all_have_moved, f"all joints of {robot} move")
    state = world.executor.control.state(world.executor.get_clock().now().nanoseconds)
    assert not state.latched, state.reason
    assert state.accepted >= 1
    for name, limit, values in zip(joints, limits, np.transpose(seen), strict=True):
        assert limit.lower - 0.002 <= values.min(), name
        assert values.max() <= limit.upper + 0.002, name
