"""Of two that command one robot, the conflicting_publisher gives way and both say who the other is."""

from groot_ros.bridge.publisher_conflicts import PublisherConflicts
from groot_ros.core import s_to_ns

TOPIC = "/arm/joint_trajectory"


def begun() -> PublisherConflicts:
    publisher_conflicts = PublisherConflicts("/executor_node")
    publisher_conflicts.begin(0)
    return publisher_conflicts


def test_alone_there_is_nothing_to_say():
    publisher_conflicts = begun()
    assert publisher_conflicts.look({TOPIC: ["/executor_node"], "/other": []}, 0) == ""
    assert not publisher_conflicts.gives_way


def test_a_namesake_counts_as_somebody_else():
    publisher_conflicts = begun()
    words = publisher_conflicts.look({TOPIC: ["/executor_node", "/executor_node"]}, s_to_ns(0.5))
    assert words == f"/executor_node publishes on {TOPIC}: stop one of them"
    assert publisher_conflicts.gives_way


def test_a_publisher_whose_node_is_not_known_yet_counts_unless_it_may_be_its_own():
    publisher_conflicts = begun()
    nameless = "_NODE_NAMESPACE_UNKNOWN_/_NODE_NAME_UNKNOWN_"
    assert publisher_conflicts.look({TOPIC: [nameless]}, 0) == ""
    words = publisher_conflicts.look({TOPIC: [nameless, "/executor_node"]}, 0)
    assert words == f"a node not yet known publishes on {TOPIC}: stop one of them"


def test_who_was_there_first_goes_on_and_says_so():
    publisher_conflicts = begun()
    assert publisher_conflicts.look({TOPIC: ["/executor_node"]}, s_to_ns(5.9)) == ""
    assert "/teleop" in publisher_conflicts.look(
        {TOPIC: ["/teleop", "/executor_node"]}, s_to_ns(6.0)
    )
    assert not publisher_conflicts.gives_way


def test_a_newcomer_gives_way_until_it_is_alone():
    publisher_conflicts = begun()
    publisher_conflicts.look({TOPIC: ["/teleop", "/executor_node"]}, s_to_ns(1.0))
    publisher_conflicts.look({TOPIC: ["/teleop", "/executor_node"]}, s_to_ns(9.0))
    assert publisher_conflicts.gives_way
    assert publisher_conflicts.look({TOPIC: ["/executor_node"]}, s_to_ns(10.0)) == ""
    assert not publisher_conflicts.gives_way


def test_before_it_begins_nobody_gives_way():
    publisher_conflicts = PublisherConflicts("/executor_node")
    assert publisher_conflicts.look({TOPIC: ["/teleop"]}, 0) != ""
    assert not publisher_conflicts.gives_way
