# SPDX-License-Identifier: Apache-2.0
"""A bag that is played in a loop to policy and executor in shadow, and the verb that does it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import rclpy
from rclpy.serialization import serialize_message
from sensor_msgs.msg import JointState
from support.policy_stage import rgb_image, wait_until
from support.robot_checkpoint import write_robot_checkpoint
from support.robot_world import FOLDER, NodeThreads
from support.tiny_checkpoint import TAG
from trajectory_msgs.msg import JointTrajectory

from groot_ros.bags.definitions import MessageDefinitions
from groot_ros.bags.episode import EpisodeInfo, describe_recording
from groot_ros.bags.writer import BagWriter
from groot_ros.bridge.messages import ns_to_time
from groot_ros.msg import ActionChunk
from groot_ros.nodes.executor_node import ExecutorNode
from groot_ros.nodes.player_node import PlayerNode
from groot_ros.nodes.policy_node import PolicyNode
from groot_ros.robot import load_contract

pytestmark = [pytest.mark.ros, pytest.mark.slow]

SO101 = FOLDER / "so101.yaml"
CONTRACT = load_contract(SO101)
START = 1_700_000_000 * 10**9
COMMAND = Path(__file__).parents[2] / "bin" / "groot-ros"
#: s of the bag.
LENGTH = 3


def write_bag(path: Path, info: EpisodeInfo) -> Path:
    """Write a bag of a robot that stands still: images at 10 Hz, joint states at 50 Hz."""
    writer = BagWriter(path, episode=info)
    find = MessageDefinitions().find
    cameras = [f"/{camera.topic}" for camera in CONTRACT.cameras.values()]
    for topic in cameras:
        writer.add_topic(topic, find("sensor_msgs/msg/Image"))
    writer.add_topic("/joint_states", find("sensor_msgs/msg/JointState"))
    names = list(CONTRACT.joints)
    joints = JointState(
        name=names, position=[0.1] * len(names), velocity=[0.0] * len(names), effort=[0.0]
    )
    for i in range(50 * LENGTH):
        stamp = START + i * 20_000_000
        joints.header.stamp = ns_to_time(stamp)
        writer.write("/joint_states", stamp, serialize_message(joints))
        if i % 5 == 0:
            image = rgb_image(i)
            image.header.stamp = ns_to_time(stamp)
            for topic in cameras:
                writer.write(topic, stamp, serialize_message(image))
    writer.close()
    return path


@pytest.fixture
def bag(tmp_path):
    return write_bag(tmp_path / "bag", describe_recording(SO101))


@pytest.fixture
def checkpoint(tmp_path):
    return write_robot_checkpoint(CONTRACT, tmp_path / "checkpoint")


class Replay(NodeThreads):
    """Policy, executor in shadow and a player in a loop, in this process."""

    def __init__(self, bag, checkpoint):
        given = {
            "robot": SO101,
            "checkpoint": checkpoint,
            "embodiment": TAG,
            "device": "cpu",
            "torch_threads": 1,
            "instruction": "move",
            "discovery_timeout": 0.0,
            "shadow": "true",
            "bag": bag,
            "loop": "true",
            "wait_for_policy": 60.0,
        }
        arguments = [a for name, value in given.items() for a in ("-p", f"{name}:={value}")]
        # The player publishes /clock; the others follow it.
        for node in ("policy_node", "executor_node"):
            arguments += ["-p", f"{node}:use_sim_time:=true"]
        rclpy.init(args=["--ros-args", *arguments])
        self.chunks: list[int] = []
        self.trajectories = 0
        self.watch = rclpy.create_node("watch", use_global_arguments=False)
        self.watch.close = lambda: None
        self.watch.create_subscription(ActionChunk, "action_chunk", self._on_chunk, 10)
        for controller in CONTRACT.controllers:
            self.watch.create_subscription(
                JointTrajectory, controller.topic, self._on_trajectory, 10
            )
        self.executor, self.policy, self.player = ExecutorNode(), PolicyNode(), PlayerNode()
        super().__init__((self.watch, self.executor, self.policy, self.player))
        assert self.executor.autostart()
        assert self.policy.autostart()

    def _on_chunk(self, msg):
        self.chunks.append(msg.header.stamp.sec * 10**9 + msg.header.stamp.nanosec - START)

    def _on_trajectory(self, _):
        self.trajectories += 1

    def state(self):
        return self.executor.control.state(self.executor.get_clock().now().nanoseconds)


def test_a_loop_goes_on_after_the_clock_was_set_back_and_nothing_is_commanded(
    ros_domain, bag, checkpoint
):
    replay = Replay(bag, checkpoint)
    try:
        wait_until(lambda: replay.state().accepted >= 3, "chunks of the first round are accepted")
        wait_until(
            lambda: any(b < a for a, b in zip(replay.chunks, replay.chunks[1:], strict=False)),
            "the second round has chunks",
        )
        first = replay.state().accepted
        wait_until(lambda: replay.state().accepted >= first + 3, "they are accepted")
        assert replay.state().shadow
        assert not replay.state().latched
        assert replay.trajectories == 0
        assert max(replay.chunks) <= LENGTH * 10**9
        assert replay.player.problem == ""
    finally:
        replay.end()


def test_the_verb_plays_the_bag_in_a_domain_of_its_own_and_counts_the_chunks(bag, checkpoint):
    command = [sys.executable, str(COMMAND), "replay", str(bag), "--checkpoint", str(checkpoint)]
    command += ["--embodiment", TAG, "--device", "cpu", "--instruction", "move"]
    ended = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "ROS_DOMAIN_ID": "0", "OMP_NUM_THREADS": "1"},
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    first, *_, last = ended.stdout.splitlines()
    assert first.startswith(f"replay of {bag} in ROS_DOMAIN_ID=")
    assert "ROS_DOMAIN_ID=0;" not in first
    assert int(last.partition(" chunks")[0]) >= 1
    assert "played 3.0 of 3.0 s" in ended.stdout
