# SPDX-License-Identifier: Apache-2.0
"""Streams of a bag: what is read, repaired and rejected, for bags of any recorder."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rosbags.rosbag2 import CompressionMode, StoragePlugin, Writer
from support.input_bags import START, TYPES, image, joint_state, message, so101_inputs, trajectory

from groot_ros.bags import BagError
from groot_ros.bags.commands import EXECUTOR, LEADER, CommandCollector
from groot_ros.bags.playback import Playback
from groot_ros.bags.reader import open_bag
from groot_ros.bags.recording import RobotBag
from groot_ros.bags.streams import JointSamples, interpolate
from groot_ros.core import MalformedError
from groot_ros.core.share import robot_path
from groot_ros.robot import load_contract

SO101 = load_contract(robot_path("so101"))
JOINTS = SO101.joint_names
ARM = SO101.controllers[0].joints


def ns(seconds: float) -> int:
    return START + round(seconds * 1e9)


def times(*seconds: float) -> np.ndarray:
    return np.array([ns(s) for s in seconds], dtype=np.int64)


@pytest.mark.parametrize(
    ("plugin", "compression"),
    [
        (StoragePlugin.MCAP, CompressionMode.NONE),
        (StoragePlugin.MCAP, CompressionMode.STORAGE),
        (StoragePlugin.SQLITE3, CompressionMode.NONE),
        (StoragePlugin.SQLITE3, CompressionMode.FILE),
        (StoragePlugin.SQLITE3, CompressionMode.MESSAGE),
    ],
)
def test_bags_of_every_storage_and_compression_give_the_same_streams(
    tmp_path: Path, plugin: StoragePlugin, compression: CompressionMode
) -> None:
    path = so101_inputs(JOINTS, seconds=1.0).write(
        tmp_path / "bag", plugin=plugin, compression=compression
    )
    bag = RobotBag(path, SO101).read()
    front = bag.images["front"]
    assert (front.stamps_ns - START).tolist() == [i * 100_000_000 for i in range(10)]
    assert (front.received_ns - front.stamps_ns).tolist() == [1_000_000] * 10
    np.testing.assert_allclose(bag.joints.at("elbow_flex", times(0.03, 0.5)), [0.003, 0.05])
    assert list(bag.instructions) == [(START, "touch the cube")]
    assert not bag.repairs
    seen = [(v, i, int(rgb[0, 0, 0])) for v, i, rgb in bag.frames({"front": [2, 7], "wrist": [5]})]
    assert seen == [("front", 2, 2), ("wrist", 5, 5), ("front", 7, 7)]


def test_inputs_are_yielded_in_the_order_of_their_reception(tmp_path: Path) -> None:
    bag = RobotBag(so101_inputs(JOINTS, seconds=0.5).write(tmp_path / "bag"), SO101)
    inputs = list(bag.stream())
    assert [i.received_ns for i in inputs] == sorted(i.received_ns for i in inputs)
    assert sum(i.image for i in inputs) == 10
    assert sum(i.name == "joint_states" for i in inputs) == 25
    assert {i.received_ns - i.header_ns for i in inputs} == {1_000_000}


def test_the_latency_and_stamp_of_the_contract_apply(tmp_path: Path) -> None:
    cameras = dict(SO101.cameras)
    cameras["front"] = replace(cameras["front"], latency_ns=5_000_000)
    cameras["wrist"] = replace(cameras["wrist"], stamp="arrival")
    contract = replace(SO101, cameras=cameras)
    bag = RobotBag(so101_inputs(JOINTS, seconds=0.5).write(tmp_path / "bag"), contract).read()
    assert bag.images["front"].stamps_ns[0] == START - 5_000_000
    assert bag.images["wrist"].stamps_ns[0] == START + 1_000_000


def test_repeated_stamps_are_left_out_and_reported(tmp_path: Path) -> None:
    sent = so101_inputs(JOINTS, seconds=1.0)
    sent.add("/front/image_raw", ns(0.55), image(ns(0.5), 200))
    sent.add("/joint_states", ns(0.552), joint_state(ns(0.3), JOINTS, [9.0] * 6))
    sent.add("/joint_states", ns(0.553), joint_state(ns(0.555), JOINTS, [np.nan] * 6))
    bag = RobotBag(sent.write(tmp_path / "bag"), SO101).read()
    assert len(bag.images["front"]) == 10
    assert [int(rgb[0, 0, 0]) for _, _, rgb in bag.frames({"front": [5]})] == [5]
    assert bag.joints.positions["gripper"].max() < 1.0
    assert bag.repairs[0] == "camera 'front': left out 1 samples whose stamps repeat or go back"
    assert any("joint 'gripper' on 'joint_states': left out 1" in line for line in bag.repairs)
    assert any("left out 6 malformed joint states" in line for line in bag.repairs)


def test_a_clock_that_was_reset_is_an_error_with_its_place(tmp_path: Path) -> None:
    sent = so101_inputs(JOINTS, seconds=3.0)
    sent.add("/front/image_raw", ns(2.95), image(ns(0.1), 0))
    with pytest.raises(BagError, match=r"camera 'front' go back by 2\.800 s, 2\.950 s after"):
        RobotBag(sent.write(tmp_path / "bag"), SO101).read()


def test_a_camera_whose_clock_is_not_synchronised_is_an_error(tmp_path: Path) -> None:
    sent = so101_inputs(JOINTS, seconds=4.0)
    for at, (received, topic, _) in enumerate(sent.sent):
        if topic == "/wrist/image_raw":
            late = image(received - 1_000_000 - 1_500_000_000, 0)
            sent.sent[at] = (received, topic, late)
    bag = RobotBag(sent.write(tmp_path / "bag"), SO101)
    with pytest.raises(
        BagError, match=r"camera 'wrist' are 1\.500 s behind those of .*synchronise"
    ):
        bag.read()


def test_a_missing_topic_is_an_error_that_names_the_recorded_ones(tmp_path: Path) -> None:
    sent = so101_inputs(JOINTS, seconds=0.2)
    sent.sent = [each for each in sent.sent if each[1] != "/wrist/image_raw"]
    path = sent.write(tmp_path / "bag")
    with pytest.raises(BagError, match=r"missing: .*/wrist/image_raw; recorded topics: /front"):
        RobotBag(path, SO101)
    assert set(RobotBag(path, SO101, views=["front"]).read().images) == {"front"}


def test_another_message_type_is_an_error_that_names_both(tmp_path: Path) -> None:
    sent = so101_inputs(JOINTS, seconds=0.2)
    sent.sent = [each for each in sent.sent if each[1] != "/wrist/image_raw"]
    jpeg = message(
        "sensor_msgs/msg/CompressedImage", header=image(START, 0).header, format="jpeg",
        data=np.zeros(4, np.uint8),
    )  # fmt: skip
    sent.add("/wrist/image_raw", START, jpeg)
    with pytest.raises(BagError, match=r"has sensor_msgs/msg/CompressedImage, expected .*'encodi"):
        RobotBag(sent.write(tmp_path / "bag"), SO101)


def test_a_bag_of_another_robot_is_an_error_that_names_its_joints(tmp_path: Path) -> None:
    path = so101_inputs(["a", "b"], seconds=0.2).write(tmp_path / "bag")
    with pytest.raises(BagError, match=r"none of the joints of robot 'so101' but a, b"):
        RobotBag(path, SO101).read()


def test_an_image_that_the_contract_does_not_promise_is_an_error_with_its_time(
    tmp_path: Path,
) -> None:
    sent = so101_inputs(JOINTS, seconds=0.2)
    grey = image(ns(0.15), 0)
    grey.encoding = "mono8"
    sent.add("/front/image_raw", ns(0.15), grey)
    bag = RobotBag(sent.write(tmp_path / "bag"), SO101).read()
    with pytest.raises(BagError, match=r"camera 'front', 0\.150 s: .*mono8"):
        list(bag.frames({"front": [2]}))


def test_a_truncated_bag_is_an_error_that_names_the_remedy(tmp_path: Path) -> None:
    path = so101_inputs(JOINTS, seconds=1.0).write(tmp_path / "bag")
    file = next(path.glob("*.mcap"))
    file.write_bytes(file.read_bytes()[:-4000])
    with pytest.raises(BagError, match="groot-ros bag recover"):
        RobotBag(path, SO101)


def damaged(path: Path, of_message: bytes, plugin: StoragePlugin, mode: CompressionMode) -> Path:
    """Write a bag whose bytes after these are overwritten."""
    bag = so101_inputs(JOINTS, seconds=1.0).write(path, plugin=plugin, compression=mode)
    file = next(f for f in bag.iterdir() if f.suffix != ".yaml")
    data = file.read_bytes()
    # Behind the beginning of the last one.
    at = data.rindex(of_message) + 6
    file.write_bytes(data[:at] + b"\xff" * 24 + data[at + 24 :])
    return bag


@pytest.mark.parametrize(
    ("plugin", "mode", "of_message"),
    [
        (StoragePlugin.MCAP, CompressionMode.STORAGE, b"\x28\xb5\x2f\xfd"),
        (StoragePlugin.SQLITE3, CompressionMode.MESSAGE, b"\x28\xb5\x2f\xfd"),
        (StoragePlugin.MCAP, CompressionMode.NONE, b"sensor_msgs/msg/JointState"),
    ],
)
def test_damaged_data_is_one_clear_line(tmp_path: Path, plugin, mode, of_message) -> None:
    bag = damaged(tmp_path / "bag", of_message, plugin, mode)
    for read in (
        lambda: RobotBag(bag, SO101).read(),
        lambda: list(Playback(bag, ["/joint_states", "/front/image_raw"]).messages()),
    ):
        with pytest.raises(BagError, match=r"^bag .*/bag cannot be read: \S.*$"):
            read()


@pytest.mark.parametrize("raw", [b"", b"\0\1\0\0", b"\0\1\0\0" + b"\xff" * 40])
def test_a_message_that_is_not_of_its_type_is_one_clear_line(tmp_path: Path, raw: bytes) -> None:
    path = so101_inputs(JOINTS, seconds=1.0).write(tmp_path / "bag")
    with Writer(tmp_path / "odd", version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        with open_bag(path) as (reader, _):
            topics = {
                c.id: writer.add_connection(c.topic, c.msgtype, typestore=TYPES)
                for c in reader.connections
            }
            for connection, stamp, data in reader.messages():
                writer.write(topics[connection.id], stamp, data)
                if connection.topic == "/joint_states":
                    joints = connection.id
        writer.write(topics[joints], ns(1.0), raw)
    with pytest.raises(BagError, match=r"cannot be read: a message .* wrote messages that are"):
        RobotBag(tmp_path / "odd", SO101).read()


def test_a_trajectory_is_in_force_from_its_reception_and_begins_at_the_previous_command(
    tmp_path: Path,
) -> None:
    sent = so101_inputs(JOINTS, seconds=2.0)
    topic = "/arm_controller/joint_trajectory"
    sent.add(topic, ns(0.5), trajectory(ns(0.5), ARM, [(0.0, [1.0] * 5), (0.4, [2.0] * 5)]))
    # Received while the first one moves, due to reach 0 at 1.0 s.
    sent.add(topic, ns(0.7), trajectory(0, ARM, [(0.3, [0.0] * 5)]))
    sent.add("/gripper_controller/joint_trajectory", ns(0.2), trajectory(0, ["gripper"], []))
    commands = RobotBag(sent.write(tmp_path / "bag"), SO101).read().commands
    assert set(commands.sources) == set(ARM)
    assert commands.since("elbow_flex") == ns(0.5)
    at = commands.at("elbow_flex", times(0.4, 0.5, 0.6, 0.7, 0.85, 1.0, 1.9))
    np.testing.assert_allclose(at, [np.nan, 1.0, 1.25, 1.5, 0.75, 0.0, 0.0], atol=1e-9)


@pytest.mark.parametrize(
    ("points", "why"),
    [
        ([(0.4, [9.0] * 5), (0.2, [9.0] * 5)], "the times of its points do not increase"),
        ([(0.2, [9.0] * 4)], "point 0 has 4 positions for 5 joints"),
        ([(0.2, [9.0] * 5), (0.4, [])], "point 1 has 0 positions for 5 joints"),
        ([(0.2, [9.0, 9.0, np.nan, 9.0, 9.0])], "a position of point 0 is not finite"),
    ],
)
def test_a_trajectory_that_the_controller_rejects_is_no_command_and_is_reported(
    tmp_path: Path, points: list, why: str
) -> None:
    sent = so101_inputs(JOINTS, seconds=1.0)
    topic = "/arm_controller/joint_trajectory"
    sent.add(topic, ns(0.2), trajectory(0, ARM, [(0.0, [1.0] * 5)]))
    sent.add(topic, ns(0.5), trajectory(0, ARM, points))
    bag = RobotBag(sent.write(tmp_path / "bag"), SO101).read()
    np.testing.assert_allclose(bag.commands.at("wrist_roll", times(0.3, 0.6, 0.9)), 1.0)
    (repair,) = bag.repairs
    assert repair.startswith("command: left out 1 malformed messages, ")
    assert why in repair


@pytest.mark.parametrize("values", [[1.0] * 4, [1.0] * 6, [1.0, np.inf, 1.0, 1.0, 1.0]])
def test_positions_that_the_controller_rejects_are_no_command(values: list[float]) -> None:
    collector = CommandCollector(SO101)
    collector.add_positions("arm/commands", ARM, [0.5] * 5, ns(0.1))
    with pytest.raises(MalformedError):
        collector.add_positions("arm/commands", ARM, values, ns(0.2))
    np.testing.assert_allclose(collector.commands().at(ARM[0], times(0.1, 0.3)), 0.5)


def test_a_leader_takes_precedence_over_controllers(tmp_path: Path) -> None:
    sent = so101_inputs(JOINTS, seconds=1.0)
    sent.add("/arm_controller/joint_trajectory", ns(0.1), trajectory(0, ARM, [(0.0, [1.0] * 5)]))
    for number in range(10):
        stamp = ns(0.1 * number)
        sent.add("/leader/joint_states", stamp, joint_state(stamp, JOINTS[:4], [0.1 * number] * 4))
    bag = RobotBag(sent.write(tmp_path / "bag"), SO101, leader="leader/joint_states").read()
    assert bag.commands.sources["shoulder_pan"] == LEADER
    assert bag.commands.sources["wrist_roll"] == "arm_controller/joint_trajectory"
    assert EXECUTOR not in bag.commands.sources.values()
    np.testing.assert_allclose(bag.commands.at("shoulder_pan", times(0.25, 0.95)), [0.25, np.nan])


@given(
    gaps=st.lists(st.integers(1, 10**9), min_size=1, max_size=20),
    share=st.floats(0, 1),
    data=st.data(),
)
def test_interpolated_values_lie_between_their_neighbours(
    gaps: list[int], share: float, data: st.DataObject
) -> None:
    stamps = START + np.cumsum([0, *gaps]).astype(np.int64)
    values = np.array(
        data.draw(st.lists(st.floats(-3, 3), min_size=len(stamps), max_size=len(stamps)))
    )
    time = int(stamps[0] + round(share * int(stamps[-1] - stamps[0])))
    found = float(interpolate(stamps, values, np.array([time]))[0])
    after = min(int(np.searchsorted(stamps, time)), len(stamps) - 1)
    low, high = sorted((values[max(after - 1, 0)], values[after]))
    assert low - 1e-9 <= found <= high + 1e-9
    outside = interpolate(stamps, values, np.array([stamps[0] - 1, stamps[-1] + 1]))
    assert np.isnan(outside).all()


def test_a_continuous_joint_is_interpolated_the_shorter_way_round() -> None:
    stamps = {"wheel": times(0.0, 1.0)}
    samples = JointSamples(stamps, {"wheel": np.array([3.0, -3.0])}, frozenset({"wheel"}))
    assert samples.at("wheel", times(0.5))[0] == pytest.approx(np.pi)
    assert samples.gap_at("wheel", times(-1.0, 0.0, 0.5)).tolist() == [np.inf, 0.0, 1.0]
