# SPDX-License-Identifier: Apache-2.0
"""The player over real DDS: sensor topics with their stamps, /clock, rate, loop, and refusals."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import QoSDurabilityPolicy, QoSProfile, QoSReliabilityPolicy
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import JointState
from support.policy_stage import wait_until

from groot_ros.bags.definitions import MessageDefinitions
from groot_ros.bags.episode import describe_recording
from groot_ros.bags.qos import offered_qos
from groot_ros.bags.writer import BagWriter
from groot_ros.bridge import qos
from groot_ros.core.share import robot_path
from groot_ros.core.time import time_to_ns
from groot_ros.msg import PolicyStatus
from groot_ros.nodes.player_node import PlayerNode

pytestmark = pytest.mark.ros
START = 1_700_000_000 * 10**9
STEP = 20_000_000


def joint_state_cdr(number: int) -> bytes:
    """CDR bytes of an otherwise empty JointState with this stamp."""
    stamp = START + number * STEP
    seconds, nanoseconds = divmod(stamp, 10**9)
    head = seconds.to_bytes(4, "little") + nanoseconds.to_bytes(4, "little")
    return b"\0\1\0\0" + head + b"\1\0\0\0\0\0\0\0" + bytes(16)


@pytest.fixture
def bag(tmp_path) -> Path:
    """A second of joint states at 50 Hz, and a command."""
    find = MessageDefinitions().find
    writer = BagWriter(tmp_path / "bag", episode=describe_recording(robot_path("so101")))
    offer = [offered_qos(qos.SENSOR)]
    writer.add_topic("/joint_states", find("sensor_msgs/msg/JointState"), offer)
    writer.add_topic("/arm/joint_trajectory", find("trajectory_msgs/msg/JointTrajectory"))
    writer.add_topic("/action_chunk", find("groot_ros/msg/ActionChunk"))
    writer.add_topic("/instruction", find("std_msgs/msg/String"))
    for i in range(50):
        writer.write("/joint_states", START + i * STEP, joint_state_cdr(i))
    writer.close()
    return tmp_path / "bag"


class Stage:
    """A player, and a node that receives what it plays."""

    def __init__(self, bag: Path, arguments: tuple[str, ...]) -> None:
        rclpy.init(args=["--ros-args", "-p", f"bag:={bag}", *arguments])
        self.node = rclpy.create_node("receiver")
        self.stamps: list[int] = []
        self.clock: list[int] = []
        # Deep queues: the player publishes faster than this node is spun.
        best_effort = QoSProfile(depth=1000, reliability=QoSReliabilityPolicy.BEST_EFFORT)
        self.node.create_subscription(JointState, "/joint_states", self._on_joints, best_effort)
        self.node.create_subscription(Clock, "/clock", self._on_clock, 1000)
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self.node)
        self.player = PlayerNode()
        self._executor.add_node(self.player)
        self.status: int | None = None

    def _on_joints(self, msg: JointState) -> None:
        self.stamps.append(time_to_ns(msg.header.stamp))

    def _on_clock(self, msg: Clock) -> None:
        self.clock.append(time_to_ns(msg.clock))

    def spin_until(self, condition, what: str) -> None:
        def spun() -> bool:
            try:
                self._executor.spin_once(timeout_sec=0.05)
            except SystemExit as ended:  # the player ends its process
                self.status = ended.code
                self._executor.remove_node(self.player)
            return bool(condition())

        wait_until(spun, what)

    def end(self) -> None:
        self.player.close()
        self._executor.shutdown()
        self.player.destroy_node()
        self.node.destroy_node()
        rclpy.shutdown()


@pytest.fixture
def stage(ros_domain, bag):
    stages = []

    def begin(*arguments: str) -> Stage:
        stages.append(Stage(bag, ("-p", "topics:=[/joint_states]", *arguments)))
        return stages[-1]

    yield begin
    for made in stages:
        made.end()


def test_messages_have_their_stamps_and_the_clock_passes_them(stage):
    on = stage("-p", "rate:=4.0")
    on.spin_until(lambda: on.clock and on.clock[-1] == START + 49 * STEP, "the clock ends with it")
    on.spin_until(lambda: len(on.stamps) == 50, "everything is received")
    assert on.stamps == [START + i * STEP for i in range(50)]
    assert on.clock == sorted(on.clock)
    assert on.clock[0] == START
    # 100 Hz of real time at four times the speed.
    assert len(on.clock) == 26
    on.spin_until(lambda: on.status is not None, "the player ends")
    assert (on.status, on.player.problem) == (0, "")
    assert on.player.played == {"/joint_states": 50}


def test_playing_begins_after_the_offset(stage):
    on = stage("-p", "rate:=10.0", "-p", "start_offset:=0.5")
    on.spin_until(lambda: on.player.finished and len(on.stamps) == 25, "the rest is played")
    assert (on.stamps[0], on.clock[0]) == (START + 25 * STEP, START + 25 * STEP)


def test_a_loop_sets_the_clock_back(stage):
    on = stage("-p", "rate:=20.0", "-p", "loop:=true")
    on.spin_until(lambda: on.clock.count(START) >= 3, "the clock has begun three times")
    on.spin_until(lambda: on.stamps.count(START) >= 3, "the messages have begun three times")
    on.player.close()
    assert on.player.problem == ""


def test_the_publishers_offer_what_was_recorded(stage):
    on = stage()
    infos = on.node.get_publishers_info_by_topic
    on.spin_until(lambda: infos("/joint_states"), "the player is discovered")
    (info,) = infos("/joint_states")
    assert info.qos_profile.reliability == QoSReliabilityPolicy.BEST_EFFORT
    assert info.qos_profile.durability == QoSDurabilityPolicy.VOLATILE
    assert info.node_name == "player_node"


def test_playing_waits_for_an_active_policy(stage):
    on = stage("-p", "rate:=10.0", "-p", "wait_for_policy:=60.0")
    policy = on.node.create_publisher(PolicyStatus, "policy_status", qos.LATCHED)
    policy.publish(PolicyStatus(lifecycle=PolicyStatus.INACTIVE))
    on.spin_until(policy.get_subscription_count, "the player reads the status")
    assert on.clock == []
    policy.publish(PolicyStatus(lifecycle=PolicyStatus.ACTIVE))
    on.spin_until(lambda: len(on.stamps) == 50, "the bag is played")


def test_without_a_policy_in_time_nothing_is_played(stage):
    on = stage("-p", "wait_for_policy:=0.2")
    on.spin_until(lambda: on.player.finished, "the player gives up")
    assert "no policy became active within 0.2 s" in on.player.problem
    on.spin_until(lambda: on.status is not None, "the player ends")
    assert (on.status, on.stamps) == (1, [])


def test_nothing_is_played_where_a_robot_publishes(stage):
    on = stage()
    driver = on.node.create_publisher(JointState, "/joint_states", qos.DRIVER)
    on.spin_until(lambda: on.player.finished, "the player refuses")
    assert "/receiver publishes on /joint_states as well" in on.player.problem
    assert "use another ROS_DOMAIN_ID" in on.player.problem
    assert on.stamps == []
    on.node.destroy_publisher(driver)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["-p", "bag:=/nowhere"], "there is no bag at /nowhere"),
        (["-p", "topics:=[/nothing]"], "has no topic /nothing: is it of another robot? It has "),
        ([], "has no topic /front/image_raw: is it of another robot?"),
        (["-p", "topics:=[/arm/joint_trajectory]"], "is never played: it would command a robot"),
        (["-p", "topics:=[/action_chunk]"], "is never played"),
        (["-p", "topics:=[/instruction]"], "is never played"),
        (["-p", "topics:=[/joint_states]", "-p", "start_offset:=2.0"], "nothing is left after 2 s"),
        (["-p", "use_sim_time:=true"], "the player publishes /clock itself"),
    ],
)
def test_what_cannot_be_played_is_one_line_and_status_2(ros_domain, bag, arguments, problem):
    command = [sys.executable, "-m", "groot_ros.nodes", "player_node", "--ros-args"]
    command += ["-p", f"bag:={bag}", *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 2, ended.stderr
    assert problem in ended.stderr
    assert "Traceback" not in ended.stderr


def test_the_process_ends_with_the_bag_and_status_0(ros_domain, bag):
    command = [sys.executable, "-m", "groot_ros.nodes", "player_node", "--ros-args"]
    command += ["-p", f"bag:={bag}", "-p", "topics:=[/joint_states]", "-p", "rate:=10.0"]
    began = time.monotonic()
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0, ended.stderr
    assert "played 1.0 of 1.0 s: 50 messages" in ended.stderr
    assert time.monotonic() - began > 0.1
