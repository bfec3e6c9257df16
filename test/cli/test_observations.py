"""Observations for engines out of npz files and bags."""

import argparse
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from rosbags.rosbag2 import Writer
from rosbags.typesys import Stores, get_typestore
from support.tiny_checkpoint import TAG, write_tiny_checkpoint

from groot_ros.cli.bag_observations import from_bag, robot_namespace, under
from groot_ros.cli.observations import add_source_options, gather, size
from groot_ros.core.share import robot_path
from groot_ros.policy import Policy, load_policy
from groot_ros.robot import load_contract

START = 1_700_000_000_000_000_000
TYPES = get_typestore(Stores.ROS2_JAZZY)


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Policy:
    torch.set_num_threads(1)
    directory = write_tiny_checkpoint(tmp_path_factory.mktemp("checkpoint"))
    return load_policy(directory, TAG, device="cpu", robot=load_contract(robot_path("so101")))


def write_bag(
    path: Path,
    *,
    joints: tuple[str, ...],
    seconds: float = 1.0,
    offsets: Mapping[str, int] | None = None,
) -> Path:
    """Two cameras at 10 Hz, a joint state before each, in every namespace.

    Args:
        path: that does not exist yet.
        joints: of the joint states.
        seconds: how long.
        offsets: namespace ("", "/left") -> what frame 0 is filled with; frame n is with n more.

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


def arguments(*given: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_source_options(parser, 4)
    return parser.parse_args(given)


def test_a_bag_gives_what_the_node_would_have_seen(tmp_path: Path, policy: Policy) -> None:
    assert policy.robot is not None
    bag = write_bag(tmp_path / "bag", joints=policy.robot.joint_names)
    found = list(from_bag(bag, policy))
    # Every 0.2 s; after the first, one is due when the front camera is ahead of the other.
    assert [int(o.images["front"][0, 0, 0, 0]) for o in found] == [0, 1, 3, 5, 7]
    for observation in found:
        number = int(observation.images["wrist"][0, 0, 0, 0])
        np.testing.assert_allclose(observation.state["single_arm"], 0.01 * number)
        assert observation.instruction == "touch the cube"
    spoken = list(from_bag(bag, policy, "something else"))
    assert {o.instruction for o in spoken} == {"something else"}
    chosen, source = gather(arguments("--bag", str(bag), "--count", "2"), policy)
    assert [o.stamp_ns for o in chosen] == [found[0].stamp_ns, found[-1].stamp_ns]
    assert source == str(bag)
    assert all(policy.encode(o)[0].input_ids.size for o in chosen)


def test_a_bag_without_a_joint_says_which(tmp_path: Path, policy: Policy) -> None:
    assert policy.robot is not None
    bag = write_bag(tmp_path / "bag", joints=policy.robot.joint_names[:-1], seconds=0.3)
    with pytest.raises(ValueError, match=r"holds no whole observation .*gripper"):
        list(from_bag(bag, policy))


def test_of_two_robots_in_a_bag_only_the_one_that_was_named_is_seen(
    tmp_path: Path, policy: Policy
) -> None:
    assert policy.robot is not None
    joints = policy.robot.joint_names
    bag = write_bag(
        tmp_path / "bag", joints=joints, seconds=0.5, offsets={"/left": 0, "/right": 100}
    )
    with pytest.raises(ValueError, match=r"bag: holds several such robots: .*/left, /right with"):
        list(from_bag(bag, policy))
    for namespace in ("right", "/right"):
        given = arguments("--bag", str(bag), "--namespace", namespace)
        chosen, _ = gather(given, policy)
        assert chosen
        for observation in chosen:
            seen = [int(observation.images[view].min()) for view in ("front", "wrist")]
            assert min(seen) >= 100
            assert observation.state["single_arm"].min() >= 1.0
    with pytest.raises(ValueError, match=r"bag: holds no topic /up/joint_states, .* were /left/f"):
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
    with pytest.raises(ValueError, match=r"no topic /joint_states, .*; recorded were nothing"):
        robot_namespace(topics, set(), None)


def test_a_name_that_merely_ends_alike_is_another_topic() -> None:
    with pytest.raises(ValueError, match="no topic /front/image; recorded were /robot2_front/imag"):
        robot_namespace(["front/image"], {"/robot2_front/image"}, None)


def test_absolute_topics_are_taken_by_their_name_in_every_namespace() -> None:
    recorded = {"/clock/joints", "/left/front/image"}
    assert robot_namespace(["/clock/joints", "front/image"], recorded, None) == "/left"
    assert robot_namespace(["/clock/joints"], recorded, None) == ""
    assert [under(own, "a/b") for own in ("", "/", "x", "/x/")] == [
        "/a/b",
        "/a/b",
        "/x/a/b",
        "/x/a/b",
    ]
    assert under("x", "/a") == "/a"


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


@pytest.mark.parametrize("text", ["480", "480x", "0x4", "axb", "4x5x6"])
def test_a_wrong_size_is_rejected(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="such as 480x640"):
        size(text)
    assert size("480x640") == (480, 640)


def test_a_number_of_sizes_that_fits_no_camera_is_rejected_even_where_none_is_drawn(
    tmp_path: Path, policy: Policy
) -> None:
    sizes = ["--image-size", "4x4", "5x5", "6x6"]
    for source in ([], ["--observations", str(tmp_path)]):
        with pytest.raises(ValueError, match="give one, or one for each of front, wrist, not 3"):
            gather(arguments(*source, *sizes), policy)


def test_each_view_has_its_own_size(policy: Policy) -> None:
    (seen,), _ = gather(arguments("--count", "1", "--image-size", "48x64", "56x32"), policy)
    assert [seen.images[view].shape[1:3] for view in policy.views] == [(48, 64), (56, 32)]
