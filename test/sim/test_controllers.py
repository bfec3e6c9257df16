# SPDX-License-Identifier: Apache-2.0
"""Measured behaviour of the real controllers, reproduced.

Facts pinned (ros2_controllers jazzy 4.42.1): a message stamped in the past with positions and
velocities adds no acceleration, also with servo lag; every message without a knot at or before
"now" makes the command jump back by the lag; positions alone make a corner at each knot; a
rejected message does not change the running trajectory.
"""

from dataclasses import replace

import numpy as np
import pytest
from support.streaming import (
    DT,
    EPOCH_NS,
    HORIZON,
    JOINTS,
    PERIOD,
    intended,
    knots,
    message,
    stream,
    with_rest_tail,
)

from groot_ros.core import s_to_ns
from groot_ros.sim.controllers import (
    RULES,
    DigitalController,
    ForwardController,
    GoalOutcome,
    GripperController,
    TrajectoryController,
)
from groot_ros.sim.trajectory import TrajectoryMessage, TrajectoryPoint, TrajectoryRejected

JAZZY, HUMBLE = RULES["jazzy"], RULES["humble"]
LAG = 0.05


def stamp_zero_positions(t_obs, now):
    _, positions, _ = knots(t_obs)
    return message(None, DT * np.arange(1, HORIZON + 1), positions)


def stamp_zero_late_skipped(t_obs, now):
    times, positions, _ = knots(t_obs)
    future = times > now
    return message(None, DT * np.arange(1, future.sum() + 1), positions[future])


def past_positions(t_obs, now):
    times, positions, _ = knots(t_obs)
    return message(t_obs, times - t_obs, positions)


def past_with_velocities(t_obs, now):
    times, positions, velocities = with_rest_tail(*knots(t_obs))
    return message(t_obs, times - t_obs, positions, velocities)


def past_with_velocities_no_tail(t_obs, now):
    times, positions, velocities = knots(t_obs)
    return message(t_obs, times - t_obs, positions, velocities)


def all_late_knots_cut(t_obs, now):
    times, positions, velocities = with_rest_tail(*knots(t_obs))
    future = times > now
    return message(t_obs, (times - t_obs)[future], positions[future], velocities[future])


@pytest.mark.parametrize(
    ("style", "lag", "desired", "rms_mrad", "acceleration", "excess_mrad"),
    [
        (stamp_zero_positions, 0.0, False, 101.7, 6.7, 2.7),
        (stamp_zero_positions, LAG, False, 104.9, 662, 54.6),
        (stamp_zero_positions, LAG, True, 101.5, 50, 5.3),
        (stamp_zero_late_skipped, LAG, False, 9.6, 684, 54.3),
        (stamp_zero_late_skipped, LAG, True, 2.2, 50, 4.5),
        (past_positions, 0.0, False, 0.23, 5.9, 0.26),
        (past_positions, LAG, False, 0.23, 5.7, 0.27),
        (past_with_velocities, 0.0, False, 0.0038, 1.0, 0.01),
        (past_with_velocities, LAG, False, 0.0038, 1.0, 0.01),
        (past_with_velocities, LAG, True, 0.0038, 1.0, 0.01),
        (all_late_knots_cut, LAG, False, 7.7, 740, 59.0),
        (all_late_knots_cut, LAG, True, 0.59, 57, 4.6),
    ],
)
def test_each_style_deviates_as_it_did_on_the_real_controller(
    style, lag, desired, rms_mrad, acceleration, excess_mrad
):
    run = stream(style, rules=replace(JAZZY, interpolate_from_desired_state=desired), lag=lag)
    assert run.rejected == []
    assert run.rms * 1e3 == pytest.approx(rms_mrad, rel=0.2)
    assert run.acceleration_ratio == pytest.approx(acceleration, rel=0.2)
    assert run.excess_step * 1e3 == pytest.approx(excess_mrad, rel=0.2, abs=0.005)


@pytest.mark.parametrize(
    ("style", "lag", "desired", "acceleration"),
    [
        (stamp_zero_late_skipped, 0.0, False, 63),
        (stamp_zero_late_skipped, LAG, False, 820),
        (stamp_zero_late_skipped, LAG, True, 63),
        (all_late_knots_cut, 0.0, False, 62),
        (all_late_knots_cut, LAG, False, 802),
        (all_late_knots_cut, LAG, True, 62),
        (past_positions, LAG, False, 5.8),
        (past_with_velocities, LAG, False, 1.0),
        (past_with_velocities_no_tail, LAG, False, 1.0),
    ],
)
def test_humble_repeats_a_command_where_it_blends(style, lag, desired, acceleration):
    run = stream(style, rules=replace(HUMBLE, interpolate_from_desired_state=desired), lag=lag)
    assert run.rejected == []
    assert run.acceleration_ratio == pytest.approx(acceleration, rel=0.2)


def test_a_moving_end_is_rejected_each_time_and_the_robot_never_moves():
    run = stream(past_with_velocities_no_tail, until=2.0)
    assert len(run.rejected) == 10
    assert all("is not zero" in reason for reason in run.rejected)
    assert np.ptp(run.commands, axis=0).max() == 0.0


def test_jazzy_commands_one_period_ahead_of_humble():
    commands = {}
    for name, rules in RULES.items():
        controller = TrajectoryController(JOINTS, rules, PERIOD)
        controller.accept(past_with_velocities(0.0, 0.0), EPOCH_NS)
        commands[name] = controller.update(EPOCH_NS + s_to_ns(0.1), np.zeros(3), np.zeros(3))
    np.testing.assert_allclose(commands["humble"], intended(0.1), atol=1e-5)
    np.testing.assert_allclose(commands["jazzy"], intended(0.1 + PERIOD), atol=1e-5)


def acceleration_after(run, since):
    rows = run.times >= since
    return np.abs(np.diff(run.commands[rows], n=2, axis=0)).max() / PERIOD**2


def test_when_the_sender_dies_a_rest_tail_stops_smoothly_and_bare_positions_stop_abruptly():
    soft = stream(past_with_velocities, until=4.0, silent_after=2.9)
    dead = stream(past_positions, until=4.0, silent_after=2.9)
    assert acceleration_after(soft, 2.5) < 7.0
    assert acceleration_after(dead, 2.5) > 150.0
    assert np.ptp(soft.commands[soft.times > 3.8], axis=0).max() == 0.0


def test_a_first_chunk_in_the_past_jumps_to_its_curve_in_one_cycle():
    controller = TrajectoryController(JOINTS)
    held = controller.update(EPOCH_NS, intended(0.0), np.zeros(3))
    controller.accept(past_with_velocities(0.0, 0.0), EPOCH_NS)
    first = controller.update(EPOCH_NS + s_to_ns(0.1), held, np.zeros(3))
    np.testing.assert_allclose(first - held, intended(0.104) - intended(0.0), atol=1e-5)


def test_a_stamp_in_the_future_takes_effect_immediately():
    controller = TrajectoryController(JOINTS)
    here = intended(0.0)
    controller.accept(past_with_velocities(0.0, 0.0), EPOCH_NS)
    controller.update(EPOCH_NS, here, np.zeros(3))
    far = message(1.0, [0.0, 0.1], np.full((2, 3), 0.9), np.zeros((2, 3)))
    controller.accept(far, EPOCH_NS + s_to_ns(PERIOD))
    command = controller.update(EPOCH_NS + s_to_ns(PERIOD), here, np.zeros(3))
    bridge = here + (0.9 - here) * 3 * (PERIOD / 0.996) ** 2
    np.testing.assert_allclose(command, bridge, atol=1e-4)


def test_joints_in_another_order_are_sorted():
    controller = TrajectoryController(JOINTS)
    point = TrajectoryPoint(0, (3.0, 1.0, 2.0))
    controller.accept(TrajectoryMessage(EPOCH_NS, ("j3", "j1", "j2"), [point]), EPOCH_NS)
    command = controller.update(EPOCH_NS, np.zeros(3), np.zeros(3))
    assert command.tolist() == [1.0, 2.0, 3.0]


def test_a_duplicated_name_gives_the_missing_joint_stale_data():
    controller = TrajectoryController(JOINTS)
    whole = TrajectoryMessage(EPOCH_NS, JOINTS, [TrajectoryPoint(0, (1.0, 2.0, 3.0))])
    controller.accept(whole, EPOCH_NS)
    twice = TrajectoryMessage(EPOCH_NS, ("j1", "j1", "j3"), [TrajectoryPoint(0, (4.0, 5.0, 6.0))])
    controller.accept(twice, EPOCH_NS)
    command = controller.update(EPOCH_NS, np.zeros(3), np.zeros(3))
    assert command.tolist() == [5.0, 2.0, 6.0]


def test_nan_is_passed_on_to_the_command():
    controller = TrajectoryController(JOINTS)
    bad = TrajectoryMessage(EPOCH_NS, JOINTS, [TrajectoryPoint(0, (float("nan"), 2.0, 3.0))])
    controller.accept(bad, EPOCH_NS)
    command = controller.update(EPOCH_NS, np.zeros(3), np.zeros(3))
    assert np.isnan(command[0])
    assert command[1:].tolist() == [2.0, 3.0]


def test_a_rejected_message_does_not_change_the_running_trajectory():
    def run(disturbed):
        controller = TrajectoryController(JOINTS)
        controller.accept(past_with_velocities(0.0, 0.0), EPOCH_NS)
        commands = []
        for cycle in range(50):
            now = EPOCH_NS + cycle * s_to_ns(PERIOD)
            if disturbed and cycle == 20:
                with pytest.raises(TrajectoryRejected):
                    controller.accept(TrajectoryMessage(0, JOINTS, []), now)
            commands.append(controller.update(now, np.zeros(3), np.zeros(3)))
        return np.array(commands)

    assert (run(True) == run(False)).all()


def test_hold_keeps_the_position_measured_at_the_next_update():
    controller = TrajectoryController(JOINTS)
    controller.accept(past_with_velocities(0.0, 0.0), EPOCH_NS)
    controller.update(EPOCH_NS, np.zeros(3), np.zeros(3))
    controller.hold()
    here = np.array([0.3, 0.2, 0.1])
    first = controller.update(EPOCH_NS + s_to_ns(0.1), here, np.ones(3))
    later = controller.update(EPOCH_NS + s_to_ns(0.104), here + 0.1, np.ones(3))
    assert first.tolist() == later.tolist() == here.tolist()


def test_forward_control_holds_the_first_measured_position_until_a_command():
    controller = ForwardController(("a", "b"))
    assert controller.update([0.1, 0.2]).tolist() == [0.1, 0.2]
    assert controller.update([0.3, 0.4]).tolist() == [0.1, 0.2]
    controller.accept([1.0, 2.0])
    assert controller.update([0.3, 0.4]).tolist() == [1.0, 2.0]


def test_hold_drops_the_forward_command():
    controller = ForwardController(("a",))
    controller.accept([1.0])
    controller.hold()
    assert controller.update([0.5]).tolist() == [0.5]


def test_a_forward_command_of_another_size_is_rejected_and_changes_nothing():
    controller = ForwardController(("a", "b"))
    controller.accept([1.0, 2.0])
    with pytest.raises(ValueError, match=r"command size \(1\)"):
        controller.accept([3.0])
    assert controller.update([0.0, 0.0]).tolist() == [1.0, 2.0]


def drive(controller, position, blocked=None, seconds=3.0, speed=0.5):
    """Let a joint follow at `speed` and stop at `blocked`; return its positions, every 4 ms."""
    seen = [position]
    for i in range(round(seconds / PERIOD)):
        step = speed * PERIOD
        now_ns = round(i * PERIOD * 1e9)
        velocity = 0.0 if len(seen) < 2 else (seen[-1] - seen[-2]) / PERIOD
        (command,) = controller.update(now_ns, [seen[-1]], [velocity])
        moved = seen[-1] + float(np.clip(command - seen[-1], -step, step))
        seen.append(moved if blocked is None else max(moved, blocked))
    return seen


def test_a_gripper_holds_its_position_until_its_first_goal_and_reaches_that():
    controller = GripperController(("finger",))
    assert drive(controller, 0.3, seconds=0.1)[-1] == 0.3
    assert controller.outcome is None
    controller.accept(0.0)
    assert drive(controller, 0.3)[-1] == 0.0
    assert controller.outcome == GoalOutcome(reached_goal=True, stalled=False)


def test_a_gripper_that_is_blocked_for_a_second_stalls_and_keeps_pressing():
    controller = GripperController(("finger",))
    controller.accept(0.0)
    assert drive(controller, 0.3, blocked=0.1, seconds=1.2)[-1] == 0.1
    assert controller.outcome is None
    drive(controller, 0.1, blocked=0.1)
    assert controller.outcome == GoalOutcome(reached_goal=False, stalled=True)
    assert controller.update(0, [0.1], [0.0]).tolist() == [0.0]


def test_a_new_goal_replaces_the_one_in_execution_and_a_hold_drops_it():
    controller = GripperController(("finger",))
    controller.accept(0.0)
    drive(controller, 0.3, seconds=0.1)
    controller.accept(0.5)
    assert drive(controller, 0.25)[-1] == 0.5
    controller.accept(0.0)
    controller.hold()
    assert drive(controller, 0.5)[-1] == 0.5
    assert controller.outcome == GoalOutcome(reached_goal=False, stalled=False)


def test_a_digital_controller_moves_its_joint_between_two_ends():
    controller = DigitalController(("finger",), 0.0, 0.8)
    assert controller.update([0.3]).tolist() == [0.3]
    controller.accept(True)
    assert controller.update([0.3]).tolist() == [0.8]
    controller.accept(False)
    controller.hold()
    assert controller.update([0.3]).tolist() == [0.0]
