"""The command that records the graph with rosbag2."""

import pytest

from groot_ros.bringup.recording import rosbag2_command


def test_rosbag2_records_the_graph_in_its_namespace_under_an_expanded_home(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HOME", "/home/o'neil")
    command = rosbag2_command({"namespace": "/cell/left", "output": "~/bags/run1"}, "jazzy")
    assert command[:7] == [
        *("ros2", "bag", "record", "--storage", "mcap"),
        *("--output", "/home/o'neil/bags/run1"),
    ]
    assert command[7] == "--topics"
    topics = command[8:]
    assert {"/cell/left/action_chunk", "/cell/left/front/image_raw", "/diagnostics"} < set(topics)
    assert all(topic.startswith("/") for topic in topics)
    assert "/clock" not in topics


def test_rosbag2_follows_and_records_the_clock_of_a_simulation() -> None:
    command = rosbag2_command({"output": "/b", "use_sim_time": "true"}, "jazzy")
    assert "--use-sim-time" in command
    assert {"/clock", "/action_chunk"} < set(command)


def test_rosbag2_of_humble_takes_topics_by_position() -> None:
    assert "--topics" not in rosbag2_command({"output": "/b"}, "humble")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "output is not set: give the directory of the bag"),
        ({"output": "/b", "namespace": "a b"}, "namespace 'a b' is not a ROS name"),
        ({"output": "/b", "use_sim_time": "yes"}, "use_sim_time must be one of true, false"),
        ({"output": "/b", "robot": "none"}, "robot contract 'none': no such file"),
    ],
)
def test_a_wrong_recording_is_rejected_in_one_line(values: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        rosbag2_command(values, "jazzy")
