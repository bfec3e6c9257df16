# SPDX-License-Identifier: Apache-2.0
"""Observations for the engine commands: npz files, bags, synthetic ones, and subsampling."""

import argparse
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from rosbags.rosbag2 import Writer
from rosbags.typesys import Stores, get_typestore
from support.tiny_checkpoint import write_tiny_checkpoint
from support.tiny_policy import load

from groot_ros.bags.reader import full_topic, robot_namespace
from groot_ros.cli.observations import (
    StreamSubsampler,
    add_source_options,
    evenly_spaced,
    from_bag,
    gather,
    image_size,
    observation_at,
)
from groot_ros.core import s_to_ns
from groot_ros.core.share import robot_path
from groot_ros.policy import Policy
from groot_ros.processing.observation_file import read_observation, save_observation
from groot_ros.robot import load_contract

START = 1_700_000_000_000_000_000
TYPES = get_typestore(Stores.ROS2_JAZZY)


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Policy:
    torch.set_num_threads(1)
    directory = write_tiny_checkpoint(tmp_path_factory.mktemp("checkpoint"))
    return load(directory, robot=load_contract(robot_path("so101")))


def write_bag(
    path: Path,
    *,
    joints: tuple[str, ...],
    seconds: float = 1.0,
    offsets: Mapping[str, int] | None = None,
) -> Path:
    """Write a bag with two cameras at 10 Hz, and a joint state before each image, per namespace.

    Args:
        path: must not exist yet.
        joints: names in the joint states.
        seconds: duration.
        offsets: namespace ("", "/left") -> pixel value of frame 0; frame n has n more.

    """
    header, time = TYPES.types["std_msgs/msg/Header"], TYPES.types["builtin_interfaces/msg/Time"]
    image, state, text = (
        TYPES.types[name]
        for name in ("sensor_msgs/msg/Image", "sensor_msgs/msg/JointState", "std_msgs/msg/String")
    )
    with Writer(path, version=9) as writer:
        offsets = {"": 0} if offsets is None else offsets
        kinds = {
            f"{robot}/{topic}": kind
            for robot in offsets
            for topic, kind in (
                ("front/image_raw", image),
                ("wrist/image_raw", image),
                ("joint_states", state),
                ("instruction", text),
            )
        }
        topics = {
            name: writer.add_connection(name, kind.__msgtype__, typestore=TYPES)
            for name, kind in kinds.items()
        }

        def write(name: str, stamp: int, message: object) -> None:
            connection = topics[name]
            writer.write(connection, stamp, TYPES.serialize_cdr(message, connection.msgtype))

        for robot in offsets:
            write(f"{robot}/instruction", START, text(data="touch the cube"))
        none = np.empty(0)
        for number in range(round(10 * seconds)):
            stamp = START + number * 100_000_000
            own = header(stamp=time(sec=stamp // 10**9, nanosec=stamp % 10**9), frame_id="")
            for robot, offset in offsets.items():
                angles = np.full(len(joints), 0.01 * (number + offset))
                measured = state(
                    header=own, name=list(joints), position=angles, velocity=none, effort=none
                )
                write(f"{robot}/joint_states", stamp, measured)
                frame = image(
                    header=own,
                    height=48,
                    width=64,
                    encoding="rgb8",
                    is_bigendian=0,
                    step=192,
                    data=np.full(48 * 192, number + offset, dtype=np.uint8),
                )
                for view in ("front", "wrist"):
                    write(f"{robot}/{view}/image_raw", stamp + 1_000_000, frame)
    return path


def parsed(*options: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_source_options(parser, 4)
    return parser.parse_args(options)


def test_a_bag_gives_the_observations_of_the_policy_node(tmp_path: Path, policy: Policy) -> None:
    assert policy.robot is not None
    bag = write_bag(tmp_path / "bag", joints=policy.robot.joint_names)
    found = list(from_bag(bag, policy))
    # Every 0.2 s; after the first, an observation is due while the front camera is one frame ahead.
    assert [int(o.images["front"][0, 0, 0, 0]) for o in found] == [0, 1, 3, 5, 7]
    for observation in found:
        number = int(observation.images["wrist"][0, 0, 0, 0])
        np.testing.assert_allclose(observation.state["single_arm"], 0.01 * number)
        assert observation.instruction == "touch the cube"
    spoken = list(from_bag(bag, policy, "something else"))
    assert {o.instruction for o in spoken} == {"something else"}
    chosen, source = gather(parsed("--bag", str(bag), "--count", "2"), policy)
    assert [o.stamp_ns for o in chosen] == [found[0].stamp_ns, found[-1].stamp_ns]
    assert source == str(bag)
    assert all(policy.encode(o)[0]["input_ids"].size for o in chosen)


def test_an_observation_at_a_time_of_a_bag_can_be_saved_and_read_again(
    tmp_path: Path, policy: Policy
) -> None:
    assert policy.robot is not None
    bag = write_bag(tmp_path / "bag", joints=tuple(policy.robot.joints))
    every = list(from_bag(bag, policy))
    found = observation_at(bag, policy, 0.4, instruction="look")
    assert found.stamp_ns == next(o.stamp_ns for o in every if o.stamp_ns >= START + s_to_ns(0.4))
    assert every[0].stamp_ns < found.stamp_ns < every[-1].stamp_ns
    save_observation(found, tmp_path / "seen.npz")
    again = read_observation(tmp_path / "seen.npz")
    assert again.instruction == "look"
    for name, image in found.images.items():
        np.testing.assert_array_equal(np.squeeze(again.images[name]), np.squeeze(image))
    for name, state in found.state.items():
        np.testing.assert_array_equal(np.squeeze(again.state[name]), np.squeeze(state))


def test_a_time_after_the_end_of_a_bag_is_an_error(tmp_path: Path, policy: Policy) -> None:
    assert policy.robot is not None
    bag = write_bag(tmp_path / "bag", joints=tuple(policy.robot.joints))
    with pytest.raises(ValueError, match=r"no observation at 60 s or later; it lasts"):
        observation_at(bag, policy, 60.0)


def test_the_error_names_the_joint_that_a_bag_lacks(tmp_path: Path, policy: Policy) -> None:
    assert policy.robot is not None
    bag = write_bag(tmp_path / "bag", joints=policy.robot.joint_names[:-1], seconds=0.3)
    with pytest.raises(ValueError, match=r"no complete observation .*gripper"):
        list(from_bag(bag, policy))


def test_a_bag_of_two_robots_gives_only_the_observations_of_the_chosen_one(
    tmp_path: Path, policy: Policy
) -> None:
    assert policy.robot is not None
    joints = policy.robot.joint_names
    bag = write_bag(
        tmp_path / "bag", joints=joints, seconds=0.5, offsets={"/left": 0, "/right": 100}
    )
    with pytest.raises(ValueError, match=r"bag: contains several robots: .*/left, /right with"):
        list(from_bag(bag, policy))
    for namespace in ("right", "/right"):
        args = parsed("--bag", str(bag), "--namespace", namespace)
        chosen, _ = gather(args, policy)
        assert chosen
        for observation in chosen:
            seen = [int(observation.images[view].min()) for view in ("front", "wrist")]
            assert min(seen) >= 100
            assert observation.state["single_arm"].min() >= 1.0
    with pytest.raises(
        ValueError, match=r"bag: topics missing: /up/joint_states, .* recorded topics: /left/f"
    ):
        list(from_bag(bag, policy, namespace="up"))


@pytest.mark.parametrize(
    ("recorded", "namespace"),
    [
        ({"/joint_states", "/rail/joint_states", "/front/image"}, ""),
        ({"/a/joint_states", "/a/rail/joint_states", "/a/front/image", "/joint_states"}, "/a"),
        ({"/joint_states", "/rail/joint_states", "/front/image", "/robot2_front/image"}, ""),
    ],
)
def test_the_namespace_is_the_one_that_has_every_topic(recorded: set[str], namespace: str) -> None:
    topics = ["joint_states", "rail/joint_states", "front/image"]
    assert robot_namespace(topics, recorded, None) == namespace
    with pytest.raises(ValueError, match=r"missing: /joint_states, .*; recorded topics: none"):
        robot_namespace(topics, set(), None)


def test_a_topic_that_only_has_the_same_ending_does_not_match() -> None:
    with pytest.raises(
        ValueError, match="missing: /front/image; recorded topics: /robot2_front/imag"
    ):
        robot_namespace(["front/image"], {"/robot2_front/image"}, None)


def test_absolute_topics_are_the_same_in_every_namespace() -> None:
    recorded = {"/clock/joints", "/left/front/image"}
    assert robot_namespace(["/clock/joints", "front/image"], recorded, None) == "/left"
    assert robot_namespace(["/clock/joints"], recorded, None) == ""
    assert [full_topic(own, "a/b") for own in ("", "/", "x", "/x/")] == [
        "/a/b",
        "/a/b",
        "/x/a/b",
        "/x/a/b",
    ]
    assert full_topic("x", "/a") == "/a"


def test_a_directory_of_npz_files_gives_all_their_observations(
    tmp_path: Path, policy: Policy
) -> None:
    images = {f"image.{view}": np.zeros((3, 1, 48, 64, 3), np.uint8) for view in policy.spec.views}
    state = {"state.single_arm": np.zeros((3, 1, 5)), "state.gripper": np.zeros((3, 1, 1))}
    words = np.array(["one", "two", "three"])
    np.savez(tmp_path / "batch.npz", **images, **state, instruction=words)
    one = {key: array[0] for key, array in {**images, **state}.items()}
    np.savez(tmp_path / "single.npz", **one, instruction="four")
    found, _ = gather(parsed("--observations", str(tmp_path), "--count", "9"), policy)
    assert [o.instruction for o in found] == ["one", "two", "three", "four"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="empty: holds no npz file"):
        gather(parsed("--observations", str(tmp_path / "empty")), policy)


def test_synthetic_observations_fit_the_policy_and_are_repeatable(policy: Policy) -> None:
    args = parsed("--count", "3", "--image-size", "48x64")
    first, second = (gather(args, policy)[0] for _ in range(2))
    assert len({o.instruction for o in first}) == 3
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a.images["front"], b.images["front"])
        encoded = policy.encode(a)[0]["state"]
        np.testing.assert_array_equal(encoded, policy.encode(b)[0]["state"])
        assert np.abs(encoded).max() <= 1.0
        assert np.abs(encoded).max() > 0.1


@pytest.mark.parametrize("text", ["480", "480x", "0x4", "axb", "4x5x6"])
def test_a_wrong_size_is_rejected(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="such as 480x640"):
        image_size(text)
    assert image_size("480x640") == (480, 640)


def test_the_number_of_image_sizes_is_checked_for_every_source(
    tmp_path: Path, policy: Policy
) -> None:
    sizes = ["--image-size", "4x4", "5x5", "6x6"]
    for source in ([], ["--observations", str(tmp_path)]):
        with pytest.raises(ValueError, match="give one, or one for each of front, wrist, not 3"):
            gather(parsed(*source, *sizes), policy)


def test_each_view_can_have_its_own_size(policy: Policy) -> None:
    (seen,), _ = gather(parsed("--count", "1", "--image-size", "48x64", "56x32"), policy)
    assert [seen.images[view].shape[1:3] for view in policy.spec.views] == [(48, 64), (56, 32)]


@pytest.mark.parametrize(("count", "expected"), [(1, [0]), (2, [0, 9]), (4, [0, 3, 6, 9])])
def test_samples_are_evenly_spaced(count: int, expected: list[int]) -> None:
    assert evenly_spaced(range(10), count) == expected


@given(length=st.integers(1, 3000), count=st.integers(2, 40))
def test_a_stream_of_any_length_is_sampled_evenly_in_bounded_memory(
    length: int, count: int
) -> None:
    sampler: StreamSubsampler[int] = StreamSubsampler(count)
    most = 0
    for number in range(length):
        sampler.add_item(number)
        most = max(most, sampler.held)
    samples = sampler.samples()
    assert most <= 2 * count + 1
    assert len(samples) == min(length, count)
    assert (samples[0], samples[-1]) == (0, length - 1)
    gaps = [b - a for a, b in pairwise(samples)]
    assert all(gap >= 1 for gap in gaps)
    assert max(gaps, default=0) <= 3 * max(1.0, (length - 1) / (count - 1))


def test_a_short_stream_gives_the_samples_of_a_list() -> None:
    sampler: StreamSubsampler[int] = StreamSubsampler(4)
    for number in range(8):
        sampler.add_item(number)
    assert sampler.samples() == evenly_spaced(range(8), 4)
