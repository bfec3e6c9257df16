# SPDX-License-Identifier: Apache-2.0
"""The whole bag of a run, played while a live robot stands, moves nothing."""

import importlib
import threading
import time

import numpy as np
import pytest
import rclpy
from std_msgs.msg import String
from support.intruder import Intruder
from support.policy_stage import wait_until
from support.robot_checkpoint import write_robot_checkpoint
from support.robot_world import FOLDER, World

from groot_ros.bags import graph_topics
from groot_ros.bags.recovery import mcap_file, read_messages
from groot_ros.bridge import qos
from groot_ros.core import s_to_ns
from groot_ros.nodes.recorder_node import RecorderNode
from groot_ros.robot import load_contract

pytestmark = [pytest.mark.ros, pytest.mark.slow]

CONTRACT = load_contract(FOLDER / "so101.yaml")
LATCHED = ("/instruction", "/active_instruction", "/executor_state", "/policy_status")
#: s from the start of an executor in which it yields to others.
DISCOVERY = 6.5
#: Published in the run that is recorded; the default topics are without the first one.
MOVING = (
    "/instruction",
    "/active_instruction",
    "/action_chunk",
    "/arm_controller/joint_trajectory",
)


def state_of(world):
    return world.executor.control.state(world.executor.get_clock().now().nanoseconds)


def pass_time(world, seconds):
    end = world.sim.robot.now_ns + s_to_ns(seconds)
    wait_until(lambda: world.sim.robot.now_ns > end, f"the simulation runs for {seconds} s")


def record(checkpoint, bag):
    """Record a run with everything that was ever recorded; return its messages by time."""
    topics = ["/instruction", *graph_topics(CONTRACT)]
    world = World("so101", checkpoint, RecorderNode, output=bag, topics=f"[{', '.join(topics)}]")
    (recorder,) = world.more
    operator = rclpy.create_node("operator", use_global_arguments=False)
    instruct = operator.create_publisher(String, "instruction", qos.LATCHED)
    try:
        world.start()
        instruct.publish(String(data="touch the red cube"))
        wait_until(
            lambda: all(recorder.counts.get(t, 0) >= 1 for t in MOVING), "the run is recorded"
        )
        wait_until(lambda: recorder.counts["/action_chunk"] >= 5, "chunks are recorded")
        wait_until(lambda: state_of(world).accepted >= 1, "the robot moves")
    finally:
        operator.destroy_node()
        world.end()
    return sorted(read_messages(mcap_file(bag)), key=lambda message: message[1])


def play(messages):
    """Publish all messages in real time, as `ros2 bag play` does; return topic -> count."""
    node = rclpy.create_node("rosbag2_player", use_global_arguments=False)
    publishers = {}
    for topic, _, _ in messages:
        if topic.name not in publishers:
            package, _, kind = topic.definition.name.split("/")
            publishers[topic.name] = node.create_publisher(
                getattr(importlib.import_module(f"{package}.msg"), kind),
                topic.name,
                qos.LATCHED if topic.name in LATCHED else qos.DRIVER,
            )
    for name in MOVING:
        wait_until(publishers[name].get_subscription_count, f"{name} is subscribed to")
    counts = dict.fromkeys(publishers, 0)
    began, first_ns = time.monotonic(), messages[0][1]
    for topic, stamp_ns, data in messages:
        threading.Event().wait(max(0.0, began + (stamp_ns - first_ns) / 1e9 - time.monotonic()))
        publishers[topic.name].publish(bytes(data))
        counts[topic.name] += 1
    node.destroy_node()
    return counts


def test_a_played_run_moves_nothing_and_nothing_drives_on_afterwards(ros_domain, tmp_path):
    checkpoint = write_robot_checkpoint(CONTRACT, tmp_path / "checkpoint")
    messages = record(checkpoint, tmp_path / "bag")
    world = World("so101", checkpoint, instruction="''")
    try:
        world.start()
        # An executor that starts beside another one yields to it; this one is there first.
        pass_time(world, DISCOVERY)
        joints = world.sim.robot.joints
        before = world.sim.robot.reading(joints).positions
        counts = play(messages)
        assert all(counts[topic] >= 1 for topic in MOVING)
        # What was played has arrived: each part of it was refused by its own rule.
        assert state_of(world).rejections.keys() >= {"too_old", "competing_publishers"}
        assert world.policy.instruction.id == 0
        pass_time(world, 1.0)
        state = state_of(world)
        assert (state.accepted, world.executor.control.live_session) == (0, None)
        assert world.policy.instruction.id == 0
        moved = world.sim.robot.reading(joints).positions - before
        assert np.abs(moved).max() < 1e-3
        # An operator is followed once nothing of the player can be on its way.
        go = Intruder(
            "operator", String, "instruction", qos.LATCHED, lambda: String(data="go"), 0.5
        )
        with go:
            wait_until(lambda: state_of(world).accepted >= 1, "the operator is followed")
    finally:
        world.end()
