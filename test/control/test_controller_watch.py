"""A controller that refuses says so only in what it follows."""

import pytest

from groot_ros.control.controller_watch import ControllerWatch
from groot_ros.core import s_to_ns
from groot_ros.robot.controller import Controller

PATIENCE = 0.5


@pytest.fixture
def watch():
    return ControllerWatch(
        Controller(
            "arm", "joint_trajectory_controller", "arm/joint_trajectory", ("a", "b"), "cubic"
        )
    )


def judge(watch, at, reference):
    return watch.judge({"a": 0.0, "b": 1.0, "c": 2.0}, reference, s_to_ns(at), PATIENCE)


def test_one_that_is_where_it_was_sent_is_fine(watch):
    for at, reference in ((0.0, {"a": 0.04, "b": 0.96}), (9.0, {"a": -0.04, "b": 1.04})):
        assert not judge(watch, at, reference)
        assert watch.astray == ""


def test_one_that_is_elsewhere_is_named_at_once_with_the_joint_and_both_places(watch):
    assert not judge(watch, 0.0, {"a": 0.0, "b": 0.8})
    assert watch.astray.startswith(
        "controller 'arm' does not follow: b was sent 1.000, its reference is 0.800"
    )
    assert not judge(watch, 0.49, {"a": 0.0, "b": 0.8})
    assert judge(watch, 0.5, {"a": 0.06, "b": 0.8})


def test_one_that_comes_back_is_trusted_again_after_a_while(watch):
    for start in (0.0, 1.0, 2.0):
        assert not judge(watch, start, {"a": 0.0, "b": 0.8})
        assert not judge(watch, start + 0.4, {"a": 0.0, "b": 0.8})
        assert not judge(watch, start + 0.45, {"a": 0.0, "b": 1.0})
        assert watch.astray
        assert not judge(watch, start + 0.66, {"a": 0.0, "b": 1.0})
        assert watch.astray == ""


def test_what_it_followed_of_an_earlier_motion_is_forgotten(watch):
    assert not judge(watch, 0.0, {"b": 0.8})
    watch.forget()
    assert watch.astray == ""
    assert not judge(watch, 0.6, {"b": 0.8})


def test_a_clock_that_went_back_begins_the_patience_anew(watch):
    assert not judge(watch, 5.0, {"b": 0.0})
    assert not judge(watch, 1.0, {"b": 0.0})
    assert not judge(watch, 1.4, {"b": 0.0})
    assert judge(watch, 1.5, {"b": 0.0})


@pytest.mark.parametrize("reference", [{}, {"a": 0.0}, {"c": 9.0}])
def test_joints_without_a_reference_or_of_others_are_not_judged(watch, reference):
    assert not any(judge(watch, t, reference) for t in (0.0, 1.0, 2.0))
    assert watch.astray == ""
