import pytest

from groot_ros.control.joint_state import MeasuredState
from groot_ros.core import MalformedError, s_to_ns


@pytest.fixture
def measured():
    return MeasuredState(["a", "b"])


def unknown(measured, now_ns=10):
    return measured.unknown(now_ns, timeout=0.5, most_ahead=0.05)


def test_joints_are_matched_by_name_and_extra_ones_ignored(measured):
    measured.observe(5, ["wheel", "b", "a"], [9.0, 2.0, 1.0], [9.0, 0.2, 0.1])
    assert measured.position.tolist() == [1.0, 2.0]
    assert measured.velocity.tolist() == [0.1, 0.2]
    assert measured.oldest_ns == 5


def test_several_sources_make_one_state_as_old_as_its_oldest_joint(measured):
    measured.observe(5, ["a"], [1.0], [])
    assert unknown(measured).detail == "nothing heard of b"
    assert measured.oldest_ns is None
    measured.observe(3, ["b"], [2.0], [])
    assert measured.oldest_ns == 3
    assert unknown(measured) is None


def test_a_state_that_is_too_old_names_the_joint_and_its_age(measured):
    measured.observe(s_to_ns(1.0), ["a"], [1.0], [])
    measured.observe(s_to_ns(0.8), ["b"], [1.0], [])
    assert unknown(measured, s_to_ns(1.3)) is None
    rejection = unknown(measured, s_to_ns(1.31))
    assert str(rejection) == "stale_joint_state: b was last heard of 0.51 s ago"


def test_a_state_from_the_future_means_that_clocks_disagree(measured):
    measured.observe(s_to_ns(1.0), ["a", "b"], [1.0, 1.0], [])
    assert unknown(measured, s_to_ns(0.95)) is None
    assert unknown(measured, s_to_ns(0.9)).reason == "clocks_disagree"


@pytest.mark.parametrize("twice", ["a", "wheel"])
def test_a_message_that_names_a_joint_twice_is_rejected_whole(measured, twice):
    measured.observe(5, ["a", "b"], [1.0, 1.0], [])
    with pytest.raises(MalformedError) as caught:
        measured.observe(6, ["b", twice, twice], [2.0, 3.0, 4.0], [])
    assert caught.value.reason == "duplicate_name"
    assert measured.position.tolist() == [1.0, 1.0]
    assert measured.oldest_ns == 5


def test_an_older_message_changes_nothing(measured):
    measured.observe(5, ["a", "b"], [1.0, 1.0], [])
    measured.observe(4, ["a", "b"], [2.0, 2.0], [])
    assert measured.position.tolist() == [1.0, 1.0]


def test_a_source_without_velocities_stands_still(measured):
    measured.observe(5, ["a", "b"], [1.0, 1.0], [3.0, 3.0])
    measured.observe(6, ["a", "b"], [1.0, 1.0], [])
    assert measured.velocity.tolist() == [0.0, 0.0]


@pytest.mark.parametrize(
    ("positions", "velocities"),
    [
        ([1.0], []),
        ([1.0, 2.0], [1.0]),
        ([float("nan"), 2.0], []),
        ([1.0, 2.0], [0.0, 1e300]),
        ([1.0, 1e300], []),
    ],
)
def test_a_malformed_message_is_rejected_whole(measured, positions, velocities):
    with pytest.raises(MalformedError) as caught:
        measured.observe(5, ["a", "b"], positions, velocities)
    assert caught.value.reason == "bad_joint_state"
    assert unknown(measured).detail == "nothing heard of a, b"


@pytest.mark.parametrize("nothing", [float("nan"), float("inf")])
def test_a_joint_without_a_velocity_interface_stands_still(measured, nothing):
    """joint_state_broadcaster says NaN where there is none."""
    measured.observe(5, ["a", "b"], [1.0, 2.0], [nothing, 0.3])
    assert measured.velocity.tolist() == [0.0, 0.3]
    assert measured.position.tolist() == [1.0, 2.0]


def test_a_joint_that_is_nobodys_business_may_be_nan(measured):
    measured.observe(5, ["a", "b", "wheel"], [1.0, 2.0, float("nan")], [])
    assert measured.oldest_ns == 5


def test_a_source_is_heard_only_for_the_joints_it_is_trusted_for(measured):
    measured.observe(5, ["a", "b"], [1.0, 2.0], [], trusted=("b",))
    assert unknown(measured).detail == "nothing heard of a"
