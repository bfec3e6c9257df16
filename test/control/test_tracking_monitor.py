# SPDX-License-Identifier: Apache-2.0
"""Detection of joints and controllers that do not follow."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from groot_ros.control.deviation import Cause, Deviation
from groot_ros.control.tracking_monitor import ControllerTracking, FaultDebounce
from groot_ros.core import s_to_ns
from groot_ros.robot.controller import Controller


def expired(debounce, at, error=True):
    return debounce.expired(error, s_to_ns(at), 0.5)


def test_a_lasting_error_expires_after_the_timeout():
    debounce = FaultDebounce()
    assert [expired(debounce, t) for t in (3.0, 3.49, 3.5, 3.51)] == [False, False, True, True]


def test_observations_without_an_error_shorter_than_the_recovery_time_do_not_end_it():
    debounce = FaultDebounce()
    assert not expired(debounce, 1.0)
    for at in (1.2, 1.3, 1.39):
        assert not expired(debounce, at, error=False)
        assert debounce.pending
    assert not expired(debounce, 1.45)
    assert not expired(debounce, 1.49)
    assert expired(debounce, 1.5)


def test_an_error_ends_after_the_recovery_time_without_an_error():
    debounce = FaultDebounce()
    assert not debounce.pending
    assert not expired(debounce, 1.0)
    for at in (1.1, 1.2, 1.3):
        assert debounce.pending
        assert not expired(debounce, at, error=False)
    assert not debounce.pending
    assert not expired(debounce, 1.6)
    assert expired(debounce, 2.1)


def test_only_an_observation_with_an_error_expires():
    debounce = FaultDebounce()
    assert not expired(debounce, 1.0)
    assert not expired(debounce, 1.45)
    assert not expired(debounce, 1.55, error=False)
    assert expired(debounce, 1.6)


def test_a_single_observation_without_an_error_does_not_end_it():
    debounce = FaultDebounce()
    assert not expired(debounce, 1.0)
    assert not expired(debounce, 1.4, error=False)
    assert debounce.pending


@given(st.floats(0.01, 0.19), st.floats(0.01, 0.4))
def test_an_error_with_short_interruptions_expires(interruption, error):
    """Errors alternate with interruptions; the first error after 0.5 s expires."""
    debounce, at, found = FaultDebounce(), 0.0, False
    while not found:
        for length, is_error in ((error, True), (interruption, False)):
            for share in (0.0, 0.5, 0.99):
                now = at + share * length
                found = found or expired(debounce, now, is_error)
                assert not found or now >= 0.5 - 1e-6
            at += length
        assert at <= 0.5 + 2 * (interruption + error)


def test_a_backward_clock_jump_restarts_the_timeout():
    debounce = FaultDebounce()
    assert not expired(debounce, 5.0)
    assert not expired(debounce, 1.0)
    assert not expired(debounce, 1.4)
    assert expired(debounce, 1.5)


def test_with_a_timeout_of_zero_an_error_expires_immediately():
    assert FaultDebounce().expired(True, 7, 0.0)


TIMEOUT = 0.5
STANDING = Deviation(Cause.STANDING)


@pytest.fixture
def tracking():
    return ControllerTracking(
        Controller(
            "arm", "joint_trajectory_controller", "arm/joint_trajectory", ("a", "b"), "cubic"
        )
    )


def failed(tracking, at, reference, why=STANDING):
    sent = {"a": 0.0, "b": 1.0, "c": 2.0}
    allowed = {"a": 0.05, "b": 0.05, "c": 0.05}
    return tracking.has_failed(sent, reference, s_to_ns(at), allowed, TIMEOUT, lambda _: why)


def test_a_reference_near_the_motion_sent_is_not_an_error(tracking):
    for at, reference in ((0.0, {"a": 0.04, "b": 0.96}), (9.0, {"a": -0.04, "b": 1.04})):
        assert not failed(tracking, at, reference)
        assert tracking.tracking_fault == ""


def test_a_controller_fault_names_controller_joint_and_both_positions(tracking):
    assert not failed(tracking, 0.0, {"a": 0.0, "b": 0.8})
    assert tracking.tracking_fault.startswith(
        "controller 'arm' does not follow: b was sent 1.000, its reference is 0.800"
    )
    assert not failed(tracking, 0.49, {"a": 0.0, "b": 0.8})
    assert failed(tracking, 0.5, {"a": 0.06, "b": 0.8})


def test_a_controller_fault_ends_after_the_recovery_time(tracking):
    for start in (0.0, 1.0, 2.0):
        assert not failed(tracking, start, {"a": 0.0, "b": 0.8})
        assert not failed(tracking, start + 0.4, {"a": 0.0, "b": 0.8})
        assert not failed(tracking, start + 0.45, {"a": 0.0, "b": 1.0})
        assert tracking.tracking_fault
        assert not failed(tracking, start + 0.66, {"a": 0.0, "b": 1.0})
        assert tracking.tracking_fault == ""


def test_a_reset_forgets_the_error_of_an_earlier_motion(tracking):
    assert not failed(tracking, 0.0, {"b": 0.8})
    tracking.reset()
    assert tracking.tracking_fault == ""
    assert not failed(tracking, 0.6, {"b": 0.8})


def test_a_backward_clock_jump_restarts_the_timeout_of_a_controller(tracking):
    assert not failed(tracking, 5.0, {"b": 0.0})
    assert not failed(tracking, 1.0, {"b": 0.0})
    assert not failed(tracking, 1.4, {"b": 0.0})
    assert failed(tracking, 1.5, {"b": 0.0})


@pytest.mark.parametrize("reference", [{}, {"a": 0.0}, {"c": 9.0}])
def test_joints_without_a_reference_or_of_other_controllers_are_ignored(tracking, reference):
    assert not any(failed(tracking, t, reference) for t in (0.0, 1.0, 2.0))
    assert tracking.tracking_fault == ""
