# SPDX-License-Identifier: Apache-2.0
"""The recorder over real DDS: the bag contains the published messages, byte for byte."""

import resource
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import rclpy
from rclpy.duration import Duration
from rclpy.executors import SingleThreadedExecutor
from rclpy.serialization import deserialize_message
from rosbags.highlevel import AnyReader
from rosbags.rosbag2 import Reader
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import Int32, String
from support.policy_stage import wait_until

from groot_ros.bags import BagError
from groot_ros.bags.clock import require_steady_clock
from groot_ros.bags.reader import open_bag
from groot_ros.bags.recovery import recover
from groot_ros.bridge import qos
from groot_ros.bridge.messages import chunk_to_msg
from groot_ros.core import ActionChunk, ActionGroup, ActionKind, StampedInput
from groot_ros.core.messages import chunk_from_msg
from groot_ros.msg import ActionChunk as ActionChunkMsg
from groot_ros.nodes.recorder_node import RecorderNode

pytestmark = pytest.mark.ros
SO101 = Path(__file__).parents[2] / "config" / "robots" / "so101.yaml"
#: s until a condition over DDS must hold; reached only by a test that fails.
TIMEOUT = 60.0


class Stage:
    """A recorder and a node that publishes, spun together until a condition holds."""

    def __init__(self, bag: Path, arguments: tuple[str, ...]) -> None:
        rclpy.init(args=["--ros-args", "-p", f"output:={bag}", *arguments])
        self.bag = bag
        self.publisher = rclpy.create_node("publisher")
        self.recorder = RecorderNode()
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self.recorder)
        self._executor.add_node(self.publisher)

    def spin_until(self, condition) -> None:
        deadline = time.monotonic() + TIMEOUT
        while not condition():
            assert time.monotonic() < deadline, f"never came true; written: {self.written}"
            self._executor.spin_once(timeout_sec=0.05)

    @property
    def written(self) -> dict[str, int]:
        return self.recorder.counts

    def spin_until_connected(self, publisher) -> None:
        self.spin_until(lambda: publisher.get_subscription_count() > 0)

    def close(self) -> list[tuple[str, int, bytes]]:
        self.recorder.close()
        with Reader(self.bag) as reader:
            return [(c.topic, stamp, bytes(data)) for c, stamp, data in reader.messages()]

    def end(self) -> None:
        self._executor.shutdown()
        self.recorder.close()
        self.recorder.destroy_node()
        self.publisher.destroy_node()
        rclpy.shutdown()


@pytest.fixture
def stage(ros_domain, tmp_path):
    stages = []

    def begin(*arguments: str) -> Stage:
        stages.append(Stage(tmp_path / "bag", arguments))
        return stages[-1]

    yield begin
    for made in stages:
        made.end()


def make_chunk(number: int) -> ActionChunk:
    rng = np.random.default_rng(number)
    return ActionChunk(
        stamp_ns=10**18 + number,
        start_ns=10**18 + number + 7,
        dt=1 / 30,
        groups=(
            ActionGroup(
                ActionKind.JOINT_POSITION,
                "arm",
                ("a", "b"),
                ("rad", "rad"),
                rng.normal(size=(16, 2)),
            ),
            ActionGroup(ActionKind.GRIPPER, "gripper", ("g",), ("rad",), rng.normal(size=(16, 1))),
        ),
        session="4be1c4b2-4c0e-4e6d-b2c7-6f2f2f5f7a01",
        id=number,
        instruction="put the Würfel into the box",
        inputs=(StampedInput("front", 10**18), StampedInput("joint_states", 10**18 + number)),
        stage_seconds={"backbone": 0.25, "head": 0.125},
    )


def same(a: ActionChunk, b: ActionChunk) -> bool:
    return repr(a) == repr(b) and all(
        np.array_equal(x.values, y.values) for x, y in zip(a.groups, b.groups, strict=True)
    )


def test_every_action_chunk_comes_back_equal(stage):
    stage = stage("-p", "topics:=[action_chunk]")
    publisher = stage.publisher.create_publisher(ActionChunkMsg, "action_chunk", qos.CHUNKS)
    stage.spin_until_connected(publisher)
    chunks = [make_chunk(i) for i in range(1, 21)]
    for i, chunk in enumerate(chunks, start=1):
        publisher.publish(chunk_to_msg(chunk))
        stage.spin_until(lambda: stage.written["/action_chunk"] == i)  # noqa: B023
    recorded = [chunk_from_msg(deserialize_message(d, ActionChunkMsg)) for *_, d in stage.close()]
    assert len(recorded) == 20
    assert all(same(a, b) for a, b in zip(chunks, recorded, strict=True))
    # AnyReader uses only the definitions in the bag, and compares their hashes.
    with AnyReader([stage.bag]) as reader:
        for chunk, (connection, _, data) in zip(chunks, reader.messages(), strict=True):
            message = reader.deserialize(data, connection.msgtype)
            assert message.id == chunk.id
            assert message.groups[0].values.tolist() == chunk.groups[0].values.ravel().tolist()


def test_a_joint_state_with_empty_arrays_is_recorded_in_its_exact_52_bytes(stage):
    stage = stage("-p", "topics:=[joint_states]")
    publisher = stage.publisher.create_publisher(JointState, "joint_states", qos.DRIVER)
    stage.spin_until_connected(publisher)
    publisher.publish(JointState(name=["a"], position=[0.5]))
    stage.spin_until(lambda: stage.written["/joint_states"] == 1)
    ((_, _, data),) = stage.close()
    assert len(data) == 52


def test_the_graph_of_the_contract_is_recorded_as_its_topics_appear(stage):
    stage = stage("-p", f"robot:={SO101}")
    node = stage.publisher
    image = Image(height=2, width=2, step=6, encoding="rgb8", data=bytes(12))
    front = node.create_publisher(Image, "front/image_raw", qos.SENSOR)
    stage.spin_until_connected(front)
    front.publish(image)
    stage.spin_until(lambda: stage.written.get("/front/image_raw") == 1)
    joints = node.create_publisher(JointState, "joint_states", qos.DRIVER)
    stage.spin_until_connected(joints)
    joints.publish(JointState(name=["gripper"], position=[0.1]))
    stage.spin_until(lambda: stage.written.get("/joint_states") == 1)
    assert [topic for topic, *_ in stage.close()] == ["/front/image_raw", "/joint_states"]


def test_a_latched_instruction_that_was_given_before_is_in_the_bag(stage):
    stage = stage("-p", "topics:=[instruction]")
    publisher = stage.publisher.create_publisher(String, "instruction", qos.LATCHED)
    publisher.publish(String(data="pick up the cube"))
    stage.spin_until(lambda: stage.written.get("/instruction") == 1)
    ((_, stamp_ns, data),) = stage.close()
    assert deserialize_message(data, String).data == "pick up the cube"
    assert abs(stamp_ns - time.time_ns()) < TIMEOUT * 1e9
    with Reader(stage.bag) as reader:
        (offer,) = reader.connections[0].ext.offered_qos_profiles
    assert (offer.durability.name, offer.reliability.name) == ("TRANSIENT_LOCAL", "RELIABLE")


def test_a_publisher_that_joins_later_and_offers_less_is_recorded_too(stage):
    stage = stage("-p", "topics:=[joint_states]")
    first = stage.publisher.create_publisher(JointState, "joint_states", qos.DRIVER)
    stage.spin_until_connected(first)
    first.publish(JointState(name=["reliable"]))
    stage.spin_until(lambda: stage.written["/joint_states"] == 1)
    second = stage.publisher.create_publisher(JointState, "joint_states", qos.SENSOR)

    def recorded_second() -> bool:
        second.publish(JointState(name=["best effort"]))
        return stage.written["/joint_states"] > 1

    stage.spin_until(recorded_second)
    names = [deserialize_message(data, JointState).name for *_, data in stage.close()]
    assert names[:2] == [["reliable"], ["best effort"]]


def test_a_topic_with_two_types_is_rejected_and_the_others_are_recorded(stage, capfd):
    # One process cannot publish two types on one topic.
    other = rclpy.Context()
    rclpy.init(context=other)
    stage = stage("-p", "topics:=[torn, whole]")
    stage.publisher.create_publisher(String, "torn", 1)
    whole = stage.publisher.create_publisher(String, "whole", qos.LATCHED)
    whole.publish(String(data="x"))
    contrarian = rclpy.create_node("contrarian", context=other)
    contrarian.create_publisher(Int32, "torn", 1)
    both = partial(stage.publisher.get_publishers_info_by_topic, "torn")
    wait_until(lambda: len(both()) == 2, "both publishers are known")
    stage.spin_until(lambda: stage.written.get("/whole") == 1)
    assert [topic for topic, *_ in stage.close()] == ["/whole"]
    contrarian.destroy_node()
    rclpy.shutdown(context=other)
    assert (
        "/torn is NOT recorded: its publishers disagree on its type: "
        "std_msgs/msg/Int32, std_msgs/msg/String" in capfd.readouterr().err
    )


def test_names_belong_to_the_namespace_of_the_recorder(stage):
    stage = stage("-r", "__ns:=/left", "-p", "topics:=[instruction, /shared]")
    node = stage.publisher
    for topic in ("/left/instruction", "/shared", "/instruction"):
        node.create_publisher(String, topic, qos.LATCHED).publish(String(data=topic))
    stage.spin_until(lambda: sum(stage.written.values()) == 2)
    assert sorted(topic for topic, *_ in stage.close()) == ["/left/instruction", "/shared"]


def test_with_a_followed_clock_stamps_are_of_that_clock(stage):
    stage = stage("-p", "use_sim_time:=true", "-p", "topics:=[instruction]")
    node = stage.publisher
    node.create_publisher(String, "instruction", qos.LATCHED).publish(String(data="x"))
    clock = node.create_publisher(Clock, "/clock", 10)
    message = Clock()
    message.clock.sec = 42

    def written() -> bool:
        clock.publish(message)
        return stage.written.get("/instruction") == 1

    stage.spin_until(written)
    ((_, stamp_ns, _),) = stage.close()
    assert stamp_ns == 42 * 10**9


def test_a_clock_that_is_reset_while_recording_is_an_error_and_the_bag_is_rejected(stage, capfd):
    stage = stage("-p", "use_sim_time:=true", "-p", "topics:=[instruction]")
    node = stage.publisher
    texts = node.create_publisher(String, "instruction", 10)
    clock = node.create_publisher(Clock, "/clock", 10)
    message = Clock()

    def set_to(seconds: int) -> None:
        def followed() -> bool:
            message.clock.sec = seconds
            clock.publish(message)
            return stage.recorder.get_clock().now().nanoseconds == seconds * 10**9

        stage.spin_until(followed)

    set_to(42)
    stage.spin_until_connected(texts)
    for number, seconds in enumerate((42, 43, 2)):
        set_to(seconds)
        texts.publish(String(data="x"))
        stage.spin_until(lambda n=number: stage.written.get("/instruction") == n + 1)
    assert len(stage.close()) == 3
    assert stage.recorder.failed
    assert (
        "the clock went back by 41.000 s, as when a simulation is reset" in capfd.readouterr().err
    )
    with open_bag(stage.bag) as (reader, _), pytest.raises(BagError, match=r"back by 41\.000 s"):
        require_steady_clock(stage.bag, reader)


def test_a_camera_of_another_type_than_in_the_contract_is_an_error(stage, capfd):
    stage = stage("-p", f"robot:={SO101}")
    wrong = stage.publisher.create_publisher(String, "front/image_raw", 1)
    stage.spin_until_connected(wrong)
    stage.close()
    assert (
        "/front/image_raw has the type std_msgs/msg/String, but the robot contract expects "
        "sensor_msgs/msg/Image: the bag can neither be evaluated nor converted"
    ) in capfd.readouterr().err


def test_topics_without_messages_are_named_at_the_end(stage, capfd):
    stage = stage("-p", "topics:=[nobody, mute]")
    mute = stage.publisher.create_publisher(String, "mute", 1)
    stage.spin_until_connected(mute)
    stage.close()
    assert "nothing was received on /mute, /nobody" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ([], "output is not set: name the directory of the bag"),
        (["-p", "output:=/tmp", "-p", "topics:=[a]"], "/tmp already exists: choose another"),
        (["-p", "output:=/tmp/new_bag"], "robot is not set"),
    ],
)
def test_wrong_parameters_are_one_line_and_status_2(ros_domain, arguments, problem):
    command = [sys.executable, "-m", "groot_ros.nodes", "recorder_node", "--ros-args", *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 2
    assert problem in ended.stderr
    assert "Traceback" not in ended.stderr


class RecorderProcess:
    """The recorder's process, and a publisher that it records."""

    def __init__(self, bag: Path, largest_file: int = resource.RLIM_INFINITY) -> None:
        def prepare() -> None:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))

        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "groot_ros.nodes", "recorder_node", "--ros-args"),
                *("-p", f"output:='{bag}'", "-p", "topics:=[instruction]"),
            ],
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
            preexec_fn=prepare,
        )
        rclpy.init()
        node = rclpy.create_node("publisher")
        self._publisher = node.create_publisher(String, "instruction", qos.LATCHED)
        wait_until(self._connected_or_dead, "the recorder has subscribed")
        assert self.process.poll() is None

    def _connected_or_dead(self) -> bool:
        return bool(self._publisher.get_subscription_count()) or self.process.poll() is not None

    def publish(self, text: str) -> None:
        self._publisher.publish(String(data=text))
        assert self._publisher.wait_for_all_acked(Duration(seconds=TIMEOUT))

    def end(self) -> str:
        """Wait for its end; return its log."""
        return self.process.communicate(timeout=TIMEOUT)[1]


@pytest.fixture
def recorder_process(ros_domain, tmp_path):
    made = []

    def start(**options) -> RecorderProcess:
        made.append(RecorderProcess(tmp_path / "a bag", **options))
        return made[-1]

    yield start
    rclpy.shutdown()
    for started in made:
        started.process.kill()
        started.process.wait()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_closes_the_bag_with_everything_in_it(recorder_process, tmp_path, number):
    recorder = recorder_process()
    for i in range(5):
        recorder.publish(str(i))
    recorder.process.send_signal(number)
    log = recorder.end()
    assert recorder.process.returncode == 0, log
    with Reader(tmp_path / "a bag") as reader:
        texts = [deserialize_message(bytes(d), String).data for *_, d in reader.messages()]
    assert texts == [str(i) for i in range(5)]


def test_a_write_error_ends_the_recorder_with_an_error_and_the_bag_can_be_recovered(
    recorder_process, tmp_path
):
    recorder = recorder_process(largest_file=3 * 2**20)
    for _ in range(4):
        recorder.publish("x" * (2**20 + 1))
    log = recorder.end()
    assert recorder.process.returncode == 1, log
    assert "cannot be written: File too large" in log
    assert "Traceback" not in log
    assert recover(tmp_path / "a bag", tmp_path / "saved").counts["/instruction"] == 2


def test_messages_lost_in_transport_are_logged_with_a_hint(stage, capfd):
    stage = stage("-p", "topics:=[images]")
    stage.recorder.on_message_lost("/images", SimpleNamespace(total_count=5, total_count_change=3))
    stage.close()
    assert "3 messages of /images were lost in transport" in capfd.readouterr().err
