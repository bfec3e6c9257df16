# SPDX-License-Identifier: Apache-2.0
"""The simulated robot over real DDS: what it publishes, follows, rejects and resets."""

import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.executors import SingleThreadedExecutor
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image, JointState
from std_srvs.srv import Trigger
from support.so101 import HOME, JOINTS
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from groot_ros.bridge import qos
from groot_ros.bridge.messages import ns_to_time
from groot_ros.core import time_to_ns
from groot_ros.nodes.sim_robot_node import SimRobotNode

pytestmark = pytest.mark.ros

ROBOT = str(Path(__file__).parents[2] / "config/robots/so101.yaml")
TIMEOUT = 60.0


class World:
    """A running SimRobotNode and a node that watches it."""

    def __init__(self, parameters):
        arguments = ["--ros-args", "-p", f"robot:={ROBOT}"]
        arguments += ["-p", "image_width:=64", "-p", "image_height:=48"]
        for name, value in parameters.items():
            arguments += ["-p", f"{name}:={value}"]
        rclpy.init(args=arguments)

        self.robot = SimRobotNode()
        self.node = rclpy.create_node("watcher", use_global_arguments=False)
        self.changed = threading.Condition()
        self.seen = {}
        for topic, kind in (
            ("joint_states", JointState),
            ("front/image_raw", Image),
            ("wrist/image_raw", Image),
            ("/clock", Clock),
            ("/diagnostics", DiagnosticArray),
        ):
            self.seen[topic] = []
            self.node.create_subscription(kind, topic, self.keep(topic), qos.DRIVER)
        self.commands = self.node.create_publisher(
            JointTrajectory, "arm_controller/joint_trajectory", qos.COMMAND
        )
        self.resets = self.node.create_client(Trigger, "sim_robot_node/reset")
        self.executor = SingleThreadedExecutor()
        self.executor.add_node(self.robot)
        self.executor.add_node(self.node)
        self.thread = threading.Thread(target=self.executor.spin, daemon=True)
        self.thread.start()

    def keep(self, topic):
        def on_message(msg):
            with self.changed:
                self.seen[topic].append(msg)
                self.changed.notify_all()

        return on_message

    def wait(self, condition):
        with self.changed:
            assert self.changed.wait_for(condition, timeout=TIMEOUT), {
                topic: len(messages) for topic, messages in self.seen.items()
            }

    def wait_for(self, topic, count=1):
        with self.changed:
            already = len(self.seen[topic])
        self.wait(lambda: len(self.seen[topic]) >= already + count)
        return self.seen[topic][already : already + count]

    def position(self, joint):
        latest = self.seen["joint_states"][-1]
        return latest.position[latest.name.index(joint)]

    def reset(self):
        assert self.resets.wait_for_service(TIMEOUT)
        done = threading.Event()
        answer = self.resets.call_async(Trigger.Request())
        answer.add_done_callback(lambda _: done.set())
        assert done.wait(TIMEOUT)
        return answer.result()

    def command(self, stamp_ns, pan, *, velocity=0.0, seconds=0.3):
        names = JOINTS[:5]
        positions = [pan, *HOME[1:5].tolist()]
        points = [
            JointTrajectoryPoint(
                positions=positions,
                velocities=[velocity] * 5,
                time_from_start=_duration(seconds),
            )
        ]
        msg = JointTrajectory(joint_names=list(names), points=points)
        msg.header.stamp = ns_to_time(stamp_ns)
        self.commands.publish(msg)

    def close(self):
        self.robot.close()
        self.executor.shutdown()
        self.thread.join()
        self.node.destroy_node()
        self.robot.destroy_node()
        rclpy.shutdown()


def _duration(seconds):
    from builtin_interfaces.msg import Duration

    return Duration(sec=int(seconds), nanosec=int(seconds % 1 * 1e9))


@pytest.fixture
def world(ros_domain, request):
    world = World(getattr(request, "param", {}))
    yield world
    world.close()


def test_joint_states_and_images_are_stamped_with_one_clock(world):
    world.wait_for("joint_states", 50)
    world.wait_for("front/image_raw", 5)
    world.wait_for("wrist/image_raw", 5)
    now = time.time_ns()
    state = world.seen["joint_states"][-1]
    assert tuple(state.name) == JOINTS
    np.testing.assert_allclose(state.position, HOME, atol=0.01)
    assert len(state.velocity) == len(state.effort) == 6
    for camera in ("front", "wrist"):
        images = world.seen[f"{camera}/image_raw"]
        assert all(len(i.data) == i.step * i.height == 64 * 3 * 48 for i in images)
        assert {(i.encoding, i.header.frame_id) for i in images} == {("rgb8", camera)}
        stamps = [time_to_ns(i.header.stamp) for i in images]
        assert abs(stamps[-1] - now) < 5e9
        gaps = np.diff(stamps) / 1e9
        assert (gaps > 0.029).all()
        assert np.array(images[-1].data, dtype=np.uint8).std() > 10
    stamps = [time_to_ns(s.header.stamp) for s in world.seen["joint_states"]]
    assert np.diff(stamps).min() >= 7_999_000


def test_it_follows_a_trajectory(world):
    world.wait_for("joint_states")
    world.wait(lambda: world.commands.get_subscription_count() > 0)
    world.command(0, 0.6)
    world.wait(lambda: abs(world.position("shoulder_pan") - 0.6) < 0.01)


def test_a_bad_trajectory_is_rejected_with_the_reason_and_moves_nothing(world):
    world.wait_for("joint_states")
    world.command(0, 0.6, velocity=1.0)

    def warned():
        return [
            s
            for array in world.seen["/diagnostics"]
            for s in array.status
            if s.level == DiagnosticStatus.WARN
        ]

    world.wait(warned)
    assert warned()[-1].name.endswith("arm_controller")
    assert "Velocity of last trajectory point of joint shoulder_pan" in warned()[-1].message
    assert abs(world.position("shoulder_pan")) < 0.01


@pytest.mark.parametrize("world", [{"controller_distro": "humble"}], indirect=True)
def test_with_the_rules_of_humble_a_trajectory_may_end_in_motion(world):
    world.wait_for("joint_states")
    world.command(0, 0.6, velocity=0.1)
    world.wait(lambda: abs(world.position("shoulder_pan") - 0.6) < 0.01)


def test_reset_brings_the_arm_home_and_reports_the_cubes(world):
    world.wait_for("joint_states")
    world.command(0, 0.6)
    world.wait(lambda: world.position("shoulder_pan") > 0.58)
    world.wait(lambda: not world.robot.robot.busy)
    answer = world.reset()
    assert answer.success
    assert "cubes at red (" in answer.message
    world.wait_for("joint_states", 3)
    assert abs(world.position("shoulder_pan")) < 0.01


def test_an_arm_in_motion_is_not_reset(world):
    world.wait_for("joint_states")
    world.command(0, 0.6, seconds=30.0)
    world.wait(lambda: world.robot.robot.busy)
    answer = world.reset()
    assert not answer.success
    assert "hold the executor first" in answer.message


def test_without_publish_clock_there_is_no_clock_publisher(world):
    world.wait_for("joint_states")
    assert world.robot.count_publishers("/clock") == 0


def clock_status(world):
    return [s for a in world.seen["/diagnostics"] for s in a.status if s.name.endswith(": clock")]


@pytest.mark.parametrize("world", [{"publish_clock": "true"}], indirect=True)
def test_a_second_clock_is_an_error_for_the_first_simulation(world):
    world.robot.publisher_conflicts.begin(0)
    world.node.create_publisher(Clock, "/clock", qos.DRIVER)
    world.wait(lambda: clock_status(world))
    status = clock_status(world)[0]
    assert status.level == DiagnosticStatus.ERROR
    assert status.message.endswith("publishes on /clock: stop one of them")


def test_a_simulation_that_finds_another_clock_ends_with_the_reason(ros_domain):
    rclpy.init()
    first = rclpy.create_node("first")
    first.create_publisher(Clock, "/clock", qos.DRIVER)
    command = [sys.executable, "-m", "groot_ros.nodes", "sim_robot_node", "--ros-args"]
    command += ["-p", f"robot:={ROBOT}", "-p", "publish_clock:=true"]
    try:
        ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
    finally:
        first.destroy_node()
        rclpy.shutdown()
    # The name of the other node may be discovered later than its publisher.
    assert "two clocks: " in ended.stderr
    assert "publishes on /clock: stop one of them" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert ended.returncode == 1


@pytest.mark.parametrize(
    "world", [{"publish_clock": "true", "real_time_factor": 4.0}], indirect=True
)
def test_as_the_source_of_the_clock_it_renders_every_image_at_any_speed(world):
    world.wait_for("wrist/image_raw", 20)
    world.wait_for("/clock", 20)
    stamps = [time_to_ns(i.header.stamp) for i in world.seen["wrist/image_raw"][:20]]
    assert np.diff(stamps) / 1e9 == pytest.approx(1 / 30, abs=0.0041)
    ticks = [time_to_ns(c.clock) for c in world.seen["/clock"]]
    assert min(ticks) < 60e9
    assert (np.diff(ticks) > 0).all()
    assert time_to_ns(world.seen["joint_states"][-1].header.stamp) < 600e9


@pytest.mark.parametrize("world", [{"controller_state_rate": 25.0}], indirect=True)
def test_its_trajectory_controllers_report_their_state(world):
    control_msgs = pytest.importorskip("control_msgs.msg", reason="control_msgs is not installed")
    world.seen["state"] = []
    world.node.create_subscription(
        control_msgs.JointTrajectoryControllerState,
        "arm_controller/controller_state",
        world.keep("state"),
        qos.DRIVER,
    )
    world.wait_for("state")
    now = time_to_ns(world.seen["state"][-1].header.stamp)
    world.command(now + 200_000_000, 0.4)
    world.wait(lambda: world.seen["state"][-1].reference.positions[0] == pytest.approx(0.4))
    world.wait(lambda: abs(world.seen["state"][-1].feedback.positions[0] - 0.4) < 0.02)
    last = world.seen["state"][-1]
    assert tuple(last.joint_names) == JOINTS[:5]
    assert last.output.positions[0] == pytest.approx(0.4)
    error = np.subtract(last.reference.positions, last.feedback.positions)
    np.testing.assert_allclose(last.error.positions, error)
    assert last.speed_scaling_factor == 1.0
    stamps = [time_to_ns(s.header.stamp) for s in world.seen["state"]]
    assert np.diff(stamps).min() / 1e9 == pytest.approx(0.04, abs=0.0041)


def test_a_parameter_that_is_read_once_cannot_be_changed(world):
    from rclpy.parameter import Parameter

    (answer,) = world.robot.set_parameters([Parameter("control_rate", value=100.0)])
    assert not answer.successful
    assert "control_rate" in answer.reason


def test_the_error_of_a_parameter_out_of_range_names_it(ros_domain):
    rclpy.init(args=["--ros-args", "-p", f"robot:={ROBOT}", "-p", "control_rate:=5.0"])
    try:
        with pytest.raises(Exception, match="control_rate"):
            SimRobotNode()
    finally:
        rclpy.shutdown()
