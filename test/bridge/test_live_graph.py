# SPDX-License-Identifier: Apache-2.0
"""Missing inputs are reported after a second, every 5 s, and no more once all are received."""

from types import SimpleNamespace

import pytest

from groot_ros.bridge.input_probe import published_rate
from groot_ros.bridge.live_graph import InputTopic, MissingInputs
from groot_ros.core import s_to_ns

IMAGE, JOINTS = "sensor_msgs/msg/Image", "sensor_msgs/msg/JointState"
INPUTS = {
    "front": InputTopic("/front/image_raw", IMAGE),
    "wrist": InputTopic("/wrist/image_raw", IMAGE),
    "joint_states": InputTopic("/joint_states", JOINTS),
}


class Graph:
    """Node that knows these topics and collects its log.

    Args:
        publishers: topic -> type and names of the publishing nodes.

    """

    def __init__(self, publishers: dict[str, tuple[str, list[str]]]) -> None:
        self._publishers = publishers
        self.logged: list[tuple[str, str]] = []

    def get_topic_names_and_types(self):
        return [(topic, [kind]) for topic, (kind, _) in self._publishers.items()]

    def count_publishers(self, topic: str) -> int:
        return len(self._publishers.get(topic, ("", []))[1])

    def get_publishers_info_by_topic(self, topic: str):
        names = self._publishers.get(topic, ("", []))[1]
        return [SimpleNamespace(node_namespace="/", node_name=name) for name in names]

    def get_logger(self):
        return SimpleNamespace(
            warning=lambda text: self.logged.append(("warning", text)),
            info=lambda text: self.logged.append(("info", text)),
        )


def begun(graph: Graph) -> MissingInputs:
    missing = MissingInputs(graph, INPUTS)
    missing.begin(s_to_ns(100.0))
    return missing


def test_each_missing_input_is_described_with_its_publishers_and_a_similar_topic() -> None:
    graph = Graph(
        {
            "/camera/wrist/image_raw": (IMAGE, ["driver"]),
            "/joint_states": (JOINTS, ["broadcaster"]),
            "/front/image_raw": (IMAGE, ["usb_cam", "other"]),
        }
    )
    assert MissingInputs(graph, INPUTS).describe(INPUTS) == (
        "nothing received yet: front (/front/image_raw, 2 publishers), "
        "wrist (/wrist/image_raw, 0 publishers, did you mean /camera/wrist/image_raw "
        "(sensor_msgs/Image)?), joint_states (/joint_states, 1 publisher)"
    )


def test_a_publisher_of_another_type_is_named() -> None:
    graph = Graph({"/wrist/image_raw": ("sensor_msgs/msg/CompressedImage", ["driver"])})
    assert MissingInputs(graph, INPUTS).describe(["wrist"]) == (
        "nothing received yet: wrist (/wrist/image_raw, 1 publisher of "
        "sensor_msgs/msg/CompressedImage, not sensor_msgs/msg/Image)"
    )


def test_the_first_second_is_silent_and_a_lasting_report_is_repeated_after_5_s() -> None:
    graph = Graph({})
    missing = begun(graph)
    assert missing.update(["wrist"], s_to_ns(100.9)) == ""
    times = [101.0 + 0.5 * i for i in range(20)]
    texts = {missing.update(["wrist"], s_to_ns(at)) for at in times}
    assert texts == {"nothing received yet: wrist (/wrist/image_raw, 0 publishers)"}
    assert [level for level, _ in graph.logged] == ["warning"] * 2


def test_the_arrival_of_one_input_is_reported_immediately_and_that_of_all_once() -> None:
    graph = Graph({})
    missing = begun(graph)
    missing.update(["front", "wrist"], s_to_ns(101.0))
    assert "front" not in missing.update(["wrist"], s_to_ns(102.0))
    for at in (103.0, 104.0, 110.0):
        assert missing.update([], s_to_ns(at)) == ""
    assert [level for level, _ in graph.logged] == ["warning", "warning", "info"]
    assert graph.logged[-1][1] == "all inputs are received"


def test_nothing_is_logged_when_all_inputs_are_there() -> None:
    graph = Graph({})
    missing = begun(graph)
    for at in (100.5, 101.0, 106.0):
        assert missing.update([], s_to_ns(at)) == ""
    assert graph.logged == []


@pytest.mark.parametrize(
    ("arrivals", "rate"),
    [
        ([], 0.0),
        ([(1.0, 1)], 0.0),
        ([(0.0, 1), (0.5, 2), (1.0, 3)], 2.0),
        ([(0.0, 1), (0.5, 9), (1.0, 11)], 10.0),  # eight of eleven were lost
        ([(0.0, 1), (0.5, 90), (1.0, 2)], 2.0),  # two publishers
        ([(0.0, None), (0.5, None), (1.0, None)], 2.0),
    ],
)
def test_the_published_rate_counts_lost_messages_of_one_publisher(arrivals, rate) -> None:
    assert published_rate(arrivals) == pytest.approx(rate)
