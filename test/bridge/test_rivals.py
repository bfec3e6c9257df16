"""Of two that command one robot, the newcomer gives way and both say who the other is."""

from groot_ros.bridge.rivals import Rivals
from groot_ros.types import s_to_ns

TOPIC = "/arm/joint_trajectory"


def begun() -> Rivals:
    rivals = Rivals("/executor_node")
    rivals.begin(0)
    return rivals


def test_alone_there_is_nothing_to_say():
    rivals = begun()
    assert rivals.look({TOPIC: ["/executor_node"], "/other": []}, 0) == ""
    assert not rivals.gives_way


def test_a_namesake_counts_as_somebody_else():
    rivals = begun()
    words = rivals.look({TOPIC: ["/executor_node", "/executor_node"]}, s_to_ns(0.5))
    assert words == f"/executor_node publishes on {TOPIC}: stop one of them"
    assert rivals.gives_way


def test_a_publisher_whose_node_is_not_known_yet_counts_unless_it_may_be_its_own():
    rivals = begun()
    nameless = "_NODE_NAMESPACE_UNKNOWN_/_NODE_NAME_UNKNOWN_"
    assert rivals.look({TOPIC: [nameless]}, 0) == ""
    words = rivals.look({TOPIC: [nameless, "/executor_node"]}, 0)
    assert words == f"a node not yet known publishes on {TOPIC}: stop one of them"


def test_who_was_there_first_goes_on_and_says_so():
    rivals = begun()
    assert rivals.look({TOPIC: ["/executor_node"]}, s_to_ns(5.9)) == ""
    assert "/teleop" in rivals.look({TOPIC: ["/teleop", "/executor_node"]}, s_to_ns(6.0))
    assert not rivals.gives_way


def test_a_newcomer_gives_way_until_it_is_alone():
    rivals = begun()
    rivals.look({TOPIC: ["/teleop", "/executor_node"]}, s_to_ns(1.0))
    rivals.look({TOPIC: ["/teleop", "/executor_node"]}, s_to_ns(9.0))
    assert rivals.gives_way
    assert rivals.look({TOPIC: ["/executor_node"]}, s_to_ns(10.0)) == ""
    assert not rivals.gives_way


def test_before_it_begins_nobody_gives_way():
    rivals = Rivals("/executor_node")
    assert rivals.look({TOPIC: ["/teleop"]}, 0) != ""
    assert not rivals.gives_way
