# SPDX-License-Identifier: Apache-2.0
"""Topics of a bag that are played, of bags of this package and of other recorders."""

import pytest
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

from groot_ros.bags import BagError
from groot_ros.bags.playback import Playback
from groot_ros.bags.writer import BagWriter

S = 10**9
JOINTS = "sensor_msgs/msg/JointState"


@pytest.fixture
def bag(tmp_path, definitions, make_offer):
    writer = BagWriter(tmp_path / "bag")
    writer.add_topic(
        "/described", definitions.find("std_msgs/msg/String"), [make_offer(latched=True)]
    )
    writer.add_topic(
        "/joint_states",
        definitions.find("sensor_msgs/msg/JointState"),
        [make_offer(reliable=False)],
    )
    writer.add_topic("/other", definitions.find("sensor_msgs/msg/JointState"))
    for name, kind in {
        "/arm/joint_trajectory": "trajectory_msgs/msg/JointTrajectory",
        "/grip/commands": "std_msgs/msg/Float64MultiArray",
        "/suction": "std_msgs/msg/Bool",
        "/executor_state": "groot_ros/msg/ExecutorState",
        "/left/instruction": "std_msgs/msg/String",
        "/clock": "rosgraph_msgs/msg/Clock",
    }.items():
        writer.add_topic(name, definitions.find(kind))
    writer.write("/described", 0, b"old")
    writer.write("/described", 1 * S, b"robot")
    for i in range(10):
        writer.write("/joint_states", i * S, bytes([i]))
        writer.write("/other", i * S, b"-")
    writer.close()
    return tmp_path / "bag"


def test_the_topics_are_played_from_the_offset_with_latched_messages_of_before(bag):
    with Playback(bag, ["/joint_states", "/described"], 7.0) as playback:
        messages = list(playback.messages())
        assert messages == list(playback.messages())
        assert (playback.start_ns, playback.end_ns, playback.duration) == (7 * S, 9 * S, 2.0)
        qos = {t.name: (t.qos.reliable, t.qos.latched) for t in playback.topics}
    assert messages == [
        ("/described", 7 * S, b"robot"),
        *(("/joint_states", i * S, bytes([i])) for i in (7, 8, 9)),
    ]
    assert qos == {"/described": (True, True), "/joint_states": (False, False)}


@pytest.mark.parametrize(
    "topic",
    [
        *("/arm/joint_trajectory", "/grip/commands", "/suction", "/executor_state"),
        *("/left/instruction", "/clock"),
    ],
)
def test_a_command_is_never_played(bag, topic):
    with pytest.raises(BagError, match=rf"{topic} \[.*\] is never played"):
        Playback(bag, ["/joint_states", topic])


@pytest.mark.parametrize("compression", [CompressionMode.NONE, CompressionMode.MESSAGE])
def test_a_bag_of_another_recorder_is_played(tmp_path, definitions, compression):
    found = definitions.find(JOINTS)
    writer = Writer(tmp_path / "bag", version=8, storage_plugin=StoragePlugin.SQLITE3)
    writer.set_compression(compression, CompressionFormat.ZSTD)
    with writer:
        connection = writer.add_connection(
            "/joint_states", found.name, msgdef=found.text, rihs01=found.rihs01
        )
        # By more than 1 s it would be a clock that was reset.
        for i in (3, 1, 2, 2):
            writer.write(connection, i * S // 4, bytes([i]))
    with Playback(tmp_path / "bag", ["/joint_states"]) as playback:
        played = [4 * stamp for _, stamp, _ in playback.messages()]
        assert played == [1 * S, 2 * S, 2 * S, 3 * S]
        # The bag does not say what was offered.
        assert playback.topics[0].qos.reliable


def test_an_unfinished_bag_leads_to_recovery(tmp_path, string_definition):
    writer = BagWriter(tmp_path / "bag")
    writer.add_topic("/a", string_definition)
    writer.write("/a", 1, b"x")
    writer.flush()
    with pytest.raises(BagError, match="groot-ros bag recover"):
        Playback(tmp_path / "bag", ["/a"])
    writer.close()


def test_a_bag_without_messages_and_one_that_is_over_are_errors(tmp_path, bag):
    BagWriter(tmp_path / "empty").close()
    with pytest.raises(BagError, match="has no messages"):
        Playback(tmp_path / "empty", [])
    with pytest.raises(BagError, match=r"lasts 9\.0 s: nothing is left after 9\.5 s"):
        Playback(bag, ["/joint_states"], 9.5)
