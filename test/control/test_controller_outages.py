# SPDX-License-Identifier: Apache-2.0
"""Controllers that are deactivated while the policy drives, and activated again."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.controller_bench import PERIOD, ControllerBench, sine

from groot_ros.control.controller_activity import ControllerActivity
from groot_ros.core import ExecutorStatus, ReasonCode, s_to_ns
from groot_ros.robot.controller import Controller

VELOCITY, ACCELERATION = 3.0, 15.0


def driven(lag: float = 0.0, **options: float) -> ControllerBench:
    """Return a bench that has been driven for 1 s."""
    bench = ControllerBench(sine(), lag=lag, **options)
    bench.run(1.0)
    assert bench.state.status == ExecutorStatus.RUNNING
    return bench


def outage(
    bench: ControllerBench, phase: float, length: float, which: str = "arm", **how: bool
) -> float:
    """Deactivate controllers for a while; return the time of their reactivation."""
    bench.run(phase)
    controllers = [bench.arm, bench.gripper] if which == "both" else [getattr(bench, which)]
    for controller in controllers:
        controller.deactivate()
    bench.run(length)
    for controller in controllers:
        controller.activate(**how)
    return bench.t


def test_an_inactive_controller_is_noticed_and_gets_nothing_until_it_returns():
    bench = driven()
    bench.arm.deactivate()
    bench.run(0.15)
    assert bench.state.reason_code == ReasonCode.CONTROLLER_INACTIVE
    assert bench.state.status == ExecutorStatus.HOLDING
    assert bench.state.reason.startswith("controller 'arm' is not active: no controller_state for")
    assert "activate it" in bench.state.reason
    sent = len(bench.sent)
    bench.run(2.0)
    assert len(bench.sent) == sent
    assert set(bench.rejected) == {"controller_inactive"}
    assert not bench.state.latched
    bench.arm.activate()
    bench.run(0.5)
    assert bench.state.status == ExecutorStatus.RUNNING
    assert len(bench.sent) > sent


@pytest.mark.slow
@settings(max_examples=15, deadline=None)
@given(st.floats(0.3, 10.0), st.floats(0.0, 2.0), st.sampled_from([0.0, 0.05]), st.booleans())
def test_after_an_outage_no_command_steps_by_more_than_the_velocity_limit(
    length, phase, lag, hold_measured
):
    bench = driven(lag)
    began = outage(bench, phase, length, hold_measured=hold_measured)
    # The controller's own hold of the measured position is not a command of the executor.
    bench.run(PERIOD)
    bench.run(1.5)
    assert bench.largest_step(began + 1.5 * PERIOD) <= VELOCITY * PERIOD
    assert bench.state.status == ExecutorStatus.RUNNING


@pytest.mark.slow
@settings(max_examples=20, deadline=None)
@given(
    st.floats(0.004, 0.3),
    st.floats(0.0, 2.0),
    st.floats(0.002, 0.015),
    st.sampled_from(["arm", "gripper", "both"]),
)
# A message on its way arrives after the reactivation, and the gripper still moves.
@example(0.1, 0.0, 0.015, "arm")
@example(0.118, 0.0, 0.015, "arm")
@example(0.0390625, 0.0546875, 0.0078125, "arm")
@example(0.1006, 0.5970, 0.0126, "both")
@example(0.0407, 1.0572, 0.0080, "both")
def test_after_a_short_outage_a_command_steps_by_at_most_the_motion_during_it(
    length, phase, delay, which
):
    bench = driven(delay=delay)
    began = outage(bench, phase, length, which)
    bench.run(1.5)
    cycles = np.ceil(length / PERIOD) + 1
    assert bench.largest_step(began) <= VELOCITY * PERIOD * (cycles + 1)
    assert bench.state.status == ExecutorStatus.RUNNING
    assert not bench.state.latched


@pytest.mark.parametrize("which", ["arm", "both"])
@pytest.mark.parametrize("stop", ["estop", "hold", "no instruction"])
def test_a_stop_ends_motion_that_begins_after_it_with_a_message_on_its_way(which, stop):
    bench = driven(delay=0.02)
    began = outage(bench, 0.0, 0.1, which)
    bench.run(2 * PERIOD)
    assert "inactive for a moment" in bench.state.reason
    bench.policy_runs = False
    if stop == "estop":
        bench.executor.estop(bench.now_ns)
    elif stop == "hold":
        bench.executor.hold(True, bench.now_ns)
    else:
        bench.send(bench.executor.instruct("", bench.now_ns))
    bench.run(1.0)
    times = np.array(bench.times)
    commands = np.array(bench.commands)
    arrived = times > began + 0.02
    assert np.abs(np.diff(commands[times > began], axis=0)).max() > VELOCITY * PERIOD
    resting = commands[arrived & (times > began + (0.3 if stop == "estop" else 0.6))]
    assert np.ptp(resting, axis=0).max() == 0.0


def test_an_outage_too_short_to_be_detected_restarts_the_motion_without_a_latch():
    bench = driven()
    bench.run(0.3)
    bench.arm.deactivate()
    bench.run(0.08)
    bench.arm.activate()
    bench.run(1.0)
    assert bench.state.status == ExecutorStatus.RUNNING
    assert not bench.state.latched


def test_a_starved_process_is_not_an_inactive_controller():
    bench = driven()
    for length in (0.12, 0.5, 0.9):
        bench.reports = bench.joint_states = False
        bench.run(length)
        bench.reports = bench.joint_states = True
        bench.run(0.5)
        assert "controller_inactive" not in bench.rejected


def test_an_inactive_controller_of_the_gripper_stops_the_arm_as_well():
    bench = driven()
    bench.gripper.deactivate()
    bench.run(0.2)
    assert "controller 'finger' is not active" in bench.state.reason
    bench.run(1.0)
    assert np.ptp(np.array(bench.commands[-50:]), axis=0).max() == 0.0


@pytest.mark.parametrize("length", [0.02, 0.06, 0.12, 0.2])
@pytest.mark.parametrize("phase", [0.0, 0.15])
def test_an_outage_of_one_controller_does_not_change_the_motion_of_another_by_a_step(length, phase):
    bench = driven()
    bench.run(phase)
    bench.gripper.deactivate()
    bench.run(length)
    bench.gripper.activate()
    began = bench.t
    bench.run(1.0)
    arm = np.array(bench.commands)[round(began / PERIOD) - 60 :, :3]
    assert np.abs(np.diff(arm, axis=0)).max() <= VELOCITY * PERIOD
    assert np.abs(np.diff(arm, 2, axis=0)).max() <= 1.1 * ACCELERATION * PERIOD**2
    assert bench.state.status == ExecutorStatus.RUNNING
    assert not bench.state.latched


@pytest.mark.parametrize("stop", ["estop", "hold"])
def test_a_stop_after_an_outage_moves_no_joint_that_stands_and_stops_the_others(stop):
    bench = driven()
    bench.gripper.deactivate()
    bench.run(0.06)
    bench.gripper.activate()
    bench.policy_runs = False
    bench.run(0.06)
    assert "inactive for a moment" in bench.state.reason
    stands = bench.commands[-1][3]
    if stop == "estop":
        bench.executor.estop(bench.now_ns)
    else:
        bench.executor.hold(True, bench.now_ns)
    began = bench.t
    bench.run(1.0)
    assert bench.commands[-1][3] == pytest.approx(stands, abs=1e-6)
    assert bench.largest_step(began) <= VELOCITY * PERIOD
    assert np.ptp(np.array(bench.commands[-50:]), axis=0).max() == 0.0


def test_an_emergency_stop_is_sent_while_a_controller_is_inactive():
    bench = driven()
    bench.gripper.deactivate()
    bench.run(0.116)
    sent = len(bench.sent)
    bench.executor.estop(bench.now_ns)
    bench.run(0.02)
    assert len(bench.sent) > sent
    assert bench.state.status == ExecutorStatus.ESTOPPED


CONTROLLERS = [Controller("a", "joint_trajectory_controller", "a/t", ("j",), "cubic")]


def watch(report_period: float, tick: float = 0.01) -> float | None:
    """Return after how many s of silence a controller with this period is inactive."""
    activity = ControllerActivity(CONTROLLERS)
    reports = np.arange(0.0, 1.0, report_period)
    for at in reports:
        activity.record_report("a", s_to_ns(at), s_to_ns(at), {})
        activity.update(s_to_ns(at))
    for k in range(1, 300):
        at = reports[-1] + k * tick
        activity.record_joint_state(s_to_ns(at))
        if activity.update(s_to_ns(at)):
            return k * tick
    return None


@pytest.mark.parametrize(("period", "limit"), [(0.004, 0.1), (0.02, 0.1), (0.05, 0.25), (0.1, 0.5)])
def test_silence_is_allowed_for_five_periods_and_at_least_a_tenth_of_a_second(period, limit):
    assert limit - 1e-9 <= watch(period) <= limit + 0.021


def test_a_controller_that_has_reported_at_most_once_is_never_inactive():
    activity = ControllerActivity(CONTROLLERS)
    activity.record_report("a", s_to_ns(1.0), s_to_ns(1.0), {})
    for k in range(300):
        activity.record_joint_state(s_to_ns(1.0 + 0.01 * k))
        assert not activity.update(s_to_ns(1.0 + 0.01 * k))
    assert activity.inactive == ()
