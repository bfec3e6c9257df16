# SPDX-License-Identifier: Apache-2.0
"""All nodes of a robot that ships, in one process, over real DDS."""

import threading
from pathlib import Path

import rclpy
from rclpy.executors import MultiThreadedExecutor, SingleThreadedExecutor

from groot_ros.nodes.executor_node import ExecutorNode
from groot_ros.nodes.policy_node import PolicyNode
from groot_ros.nodes.sim_robot_node import SimRobotNode
from support.tiny_checkpoint import TAG

FOLDER = Path(__file__).parents[2] / "config/robots"


class NodeThreads:
    """Nodes of this process, each spun in a separate thread."""

    def __init__(self, nodes):
        self.nodes = tuple(nodes)
        spinners = [
            MultiThreadedExecutor(4) if isinstance(node, PolicyNode) else SingleThreadedExecutor()
            for node in self.nodes
        ]
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

    def end(self):
        for node in reversed(self.nodes):
            node.close()
        self.ended.set()
        for thread in self.threads:
            thread.join()
        for node in self.nodes:
            node.destroy_node()
        rclpy.shutdown()


class World(NodeThreads):
    """Simulated robot, executor and policy in this process, one thread each.

    Args:
        robot: name of a shipped robot.
        checkpoint: directory of a checkpoint with the embodiment TAG.
        more: node types that run as well.
        parameters: of all nodes.

    """

    def __init__(self, robot, checkpoint, *more, **parameters):
        given = {
            "robot": FOLDER / f"{robot}.yaml",
            "checkpoint": checkpoint,
            "embodiment": TAG,
            "device": "cpu",
            "instruction": "move",
            "discovery_timeout": 0.0,
            "image_width": 64,
            "image_height": 48,
            "torch_threads": 1,
            **parameters,
        }
        arguments = [a for name, value in given.items() for a in ("-p", f"{name}:={value}")]
        rclpy.init(args=["--ros-args", *arguments])
        self.sim, self.executor, self.policy = SimRobotNode(), ExecutorNode(), PolicyNode()
        self.more = [kind() for kind in more]
        super().__init__((self.sim, self.executor, self.policy, *self.more))

    def start(self):
        assert self.executor.autostart()
        assert self.policy.autostart()
