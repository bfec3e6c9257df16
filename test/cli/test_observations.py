"""Observations for engines out of npz files and bags."""

import argparse
from pathlib import Path

import numpy as np
import pytest
import torch
from rosbags.rosbag2 import Writer
from rosbags.typesys import Stores, get_typestore
from tiny_checkpoint import TAG, write_tiny_checkpoint

from groot_ros.cli.observations import add_source_options, evenly, from_bag, gather, size
from groot_ros.policy import Policy, load_policy
from groot_ros.robot import load_contract
from groot_ros.share import robot_path

START = 1_700_000_000_000_000_000
TYPES = get_typestore(Stores.ROS2_JAZZY)


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Policy:
    torch.set_num_threads(1)
    directory = write_tiny_checkpoint(tmp_path_factory.mktemp("checkpoint"))
    return load_policy(directory, TAG, device="cpu", robot=load_contract(robot_path("so101")))


def write_bag(path: Path, *, joints: tuple[str, ...], seconds: float = 1.0) -> Path:
    """Two cameras at 10 Hz, a joint state before each; frame n is filled with n."""
    header, time = TYPES.types["std_msgs/msg/Header"], TYPES.types["builtin_interfaces/msg/Time"]
    image, state, text = (
        TYPES.types[name]
        for name in ("sensor_msgs/msg/Image", "sensor_msgs/msg/JointState", "std_msgs/msg/String")
    )
    with Writer(path, version=9) as writer:
        kinds = {
            "/front/image_raw": image,
            "/wrist/image_raw": image,
            "/joint_states": state,
            "/instruction": text,
        }
        topics = {
            name: writer.add_connection(name, kind.__msgtype__, typestore=TYPES)
            for name, kind in kinds.items()
        }

        def write(name: str, stamp: int, message: object) -> None:
            connection = topics[name]
            writer.write(connection, stamp, TYPES.serialize_cdr(message, connection.msgtype))

        write("/instruction", START, text(data="touch the cube"))
        for number in range(round(10 * seconds)):
            stamp = START + number * 100_000_000
            own = header(stamp=time(sec=stamp // 10**9, nanosec=stamp % 10**9), frame_id="")
            angles = np.full(len(joints), 0.01 * number)
            none = np.empty(0)
            write(
                "/joint_states",
                stamp,
                state(header=own, name=list(joints), position=angles, velocity=none, effort=none),
            )
            for name in ("/front/image_raw", "/wrist/image_raw"):
                frame = image(
                    header=own,
                    height=48,
                    width=64,
                    encoding="rgb8",
                    is_bigendian=0,
                    step=192,
                    data=np.full(48 * 192, number, dtype=np.uint8),
                )
                write(name, stamp + 1_000_000, frame)
    return path


def arguments(*given: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_source_options(parser, 4)
    return parser.parse_args(given)


def test_a_bag_gives_what_the_node_would_have_seen(tmp_path: Path, policy: Policy) -> None:
    assert policy.robot is not None
    bag = write_bag(tmp_path / "bag", joints=policy.robot.joint_names)
    found = from_bag(bag, policy, None)
    # Every 0.2 s; after the first, one is due when the front camera is ahead of the other.
    assert [int(o.images["front"][0, 0, 0, 0]) for o in found] == [0, 1, 3, 5, 7]
    for observation in found:
        number = int(observation.images["wrist"][0, 0, 0, 0])
        np.testing.assert_allclose(observation.state["single_arm"], 0.01 * number)
        assert observation.instruction == "touch the cube"
    spoken = from_bag(bag, policy, "something else")
    assert {o.instruction for o in spoken} == {"something else"}
    chosen, source = gather(arguments("--bag", str(bag), "--count", "2"), policy)
    assert [o.stamp_ns for o in chosen] == [found[0].stamp_ns, found[-1].stamp_ns]
    assert source == str(bag)
    assert all(policy.encode(o)[0].input_ids.size for o in chosen)


def test_a_bag_without_a_joint_says_which(tmp_path: Path, policy: Policy) -> None:
    assert policy.robot is not None
    bag = write_bag(tmp_path / "bag", joints=policy.robot.joint_names[:-1], seconds=0.3)
    with pytest.raises(ValueError, match=r"holds no whole observation .*gripper"):
        from_bag(bag, policy, None)


def test_npz_files_give_all_their_observations(tmp_path: Path, policy: Policy) -> None:
    images = {f"image.{view}": np.zeros((3, 1, 48, 64, 3), np.uint8) for view in policy.views}
    state = {"state.single_arm": np.zeros((3, 1, 5)), "state.gripper": np.zeros((3, 1, 1))}
    words = np.array(["one", "two", "three"])
    np.savez(tmp_path / "batch.npz", **images, **state, instruction=words)
    one = {key: array[0] for key, array in {**images, **state}.items()}
    np.savez(tmp_path / "single.npz", **one, instruction="four")
    found, _ = gather(arguments("--observations", str(tmp_path), "--count", "9"), policy)
    assert [o.instruction for o in found] == ["one", "two", "three", "four"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="empty: holds no npz file"):
        gather(arguments("--observations", str(tmp_path / "empty")), policy)


def test_drawn_observations_fit_the_policy_and_repeat(policy: Policy) -> None:
    given = arguments("--count", "3", "--image-size", "48x64")
    first, second = (gather(given, policy)[0] for _ in range(2))
    assert len({o.instruction for o in first}) == 3
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a.images["front"], b.images["front"])
        encoded = policy.encode(a)[0].state
        np.testing.assert_array_equal(encoded, policy.encode(b)[0].state)
        assert np.abs(encoded).max() <= 1.0
        assert np.abs(encoded).max() > 0.1


@pytest.mark.parametrize(("count", "expected"), [(1, [0]), (2, [0, 9]), (4, [0, 3, 6, 9])])
def test_a_few_are_taken_evenly(count: int, expected: list[int]) -> None:
    assert evenly(list(range(10)), count) == expected  # type: ignore[arg-type, comparison-overlap]


@pytest.mark.parametrize("text", ["480", "480x", "0x4", "axb", "4x5x6"])
def test_a_wrong_size_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="such as 480x640"):
        size(text)
    assert size("480x640") == (480, 640)
