# SPDX-License-Identifier: Apache-2.0
"""Robots with unknown state, that do not follow, were moved externally, or cannot stop."""

import numpy as np
import pytest
from support.control_bench import (
    ARM,
    DT,
    EPOCH_NS,
    JOINTS,
    Bench,
    chunk,
    excess,
    sway,
    sway_chunk,
)

from groot_ros.control import ExecutorConfig
from groot_ros.core import ExecutorStatus, s_to_ns

IDLE, RUNNING, BRAKING, HOLDING, ESTOPPED = ExecutorStatus


@pytest.fixture
def bench():
    return Bench.streaming()


def report(bench, **changed):
    """Report the reference of a controller and return the resulting update."""
    reference = bench.reference(**changed)
    return bench.executor.check_controller("arm", bench.now_ns, reference, bench.now_ns)


def test_a_controller_that_does_not_follow_gets_no_trajectory_until_resume(bench):
    bench.give(sway_chunk(bench.t))
    sent, before = bench.active, len(bench.updates)
    while bench.state.status != HOLDING:
        report(bench, j2=bench.active.at(bench.now_ns)[0][1] + 0.1)
        if bench.state.status != HOLDING:
            assert bench.give(sway_chunk(bench.t)).reason == "tracking_error"
            bench.run(0.05)
    assert bench.state.reason.startswith("controller 'arm' does not follow: j2 was sent")
    bench.run(0.01)
    assert bench.give(sway_chunk(bench.t)).reason == "needs_resume"
    assert bench.active is sent
    assert [update.trajectories for _, update in bench.updates[before:]] == [()]
    at_rest = bench.reference()
    for _ in range(10):
        bench.run(0.05)
        bench.executor.check_controller("arm", bench.now_ns, at_rest, bench.now_ns)
    bench.executor.resume(bench.now_ns)
    bench.run(0.01)
    assert bench.give(sway_chunk(bench.t)) is None


def test_a_controller_that_follows_again_gets_trajectories_after_the_recovery_time(bench):
    report(bench, j2=bench.active.at(bench.now_ns)[0][1] + 0.1)
    assert bench.state.status == BRAKING
    for _ in range(4):
        assert bench.give(sway_chunk(bench.t)).reason == "tracking_error"
        bench.run(0.05)
        report(bench)
    bench.run(0.05)
    report(bench)
    assert bench.give(sway_chunk(bench.t)) is None
    assert bench.state.status == RUNNING


def test_a_controller_that_follows_or_is_not_commanded_is_not_a_fault(bench):
    for _ in range(10):
        assert bench.give(sway_chunk(bench.t)) is None
        bench.executor.check_controller("arm", bench.now_ns, bench.reference(), bench.now_ns)
        bench.run(0.1)
    assert bench.state.status == RUNNING
    for _ in range(40):
        bench.run(0.1)
        bench.executor.check_controller("arm", bench.now_ns, bench.reference(), bench.now_ns)
    for _ in range(10):
        deviating = bench.reference(j2=1.0)
        bench.executor.check_controller("arm", bench.now_ns, deviating, bench.now_ns)
        bench.run(0.1)
    assert bench.state.reason == "no chunk came in time: at rest"


def test_motion_of_a_robot_moved_externally_after_a_stop_starts_from_the_measured_state(bench):
    bench.executor.hold(True, bench.now_ns)
    bench.run(3.0)
    bench.follows = False
    bench.measured = np.add(bench.measured, [0.2, 0.0, 0.0, 0.0])
    bench.run(0.1)
    bench.executor.hold(False, bench.now_ns)
    bench.run(0.01)
    assert bench.give(sway_chunk(bench.t)) is None
    np.testing.assert_allclose(bench.active.positions[0], bench.measured)


def test_motion_of_a_robot_that_sags_starts_from_the_command(bench):
    bench.executor.hold(True, bench.now_ns)
    bench.run(3.0)
    bench.follows = False
    commanded = bench.measured
    bench.measured = np.add(bench.measured, [0.05, 0.0, 0.0, 0.0])
    bench.run(0.1)
    bench.executor.hold(False, bench.now_ns)
    bench.run(0.01)
    assert bench.give(sway_chunk(bench.t)) is None
    np.testing.assert_allclose(bench.active.at(bench.now_ns)[0], commanded)


def test_missing_joint_states_stop_the_motion_until_they_return():
    bench = Bench(ExecutorConfig(max_chunk_age=3.0))
    bench.give(sway_chunk(0.0, steps=90))
    bench.reports = False
    bench.run(0.51)
    assert bench.state.status == HOLDING
    assert "the last joint state of j1 is" in bench.state.reason
    bench.run(0.4)
    assert bench.at_rest
    assert bench.give(sway_chunk(bench.t)) is None


def test_no_chunk_is_executed_without_fresh_joint_states():
    bench = Bench()
    assert bench.executor.receive(sway_chunk(0.0, id=1), EPOCH_NS).reason == "no_joint_state"
    bench.observe()
    late = EPOCH_NS + s_to_ns(0.6)
    rejection = bench.executor.receive(sway_chunk(0.5, id=2), late)
    assert rejection.reason == "stale_joint_state"


def test_joint_states_from_the_future_are_a_clock_skew():
    bench = Bench()
    bench.executor.observe(EPOCH_NS + s_to_ns(1.0), list(JOINTS), [0.0] * 4, [])
    assert bench.executor.receive(sway_chunk(0.0, id=1), EPOCH_NS).reason == "clock_skew"


def test_malformed_joint_states_are_counted():
    bench = Bench()
    assert bench.executor.observe(EPOCH_NS, list(JOINTS), [0.0], []).reason == "invalid_joint_state"
    assert bench.state.rejections == {"invalid_joint_state": 1}


def test_a_chunk_for_a_robot_that_does_not_follow_is_rejected(bench):
    bench.follows = False
    bench.run(1.0)
    bench.measured = bench.measured + 0.6
    values = np.tile(bench.measured, (16, 1))
    assert bench.give(chunk(values, bench.t)).reason == "tracking_error"


def test_a_robot_that_does_not_move_when_commanded_is_stopped_until_resume():
    """A controller does not report a rejected message on its topic."""
    bench = Bench()
    bench.follows = False
    fast = np.cumsum(np.full((31, 4), 0.04), axis=0) + sway(0.0) - 0.04
    assert bench.give(chunk(fast, 0.0)) is None
    seen = []
    while "call resume" not in bench.state.reason:
        seen.append(bench.state.status)
        bench.run(0.01)
    assert bench.t < 1.0
    assert bench.state.status == HOLDING
    assert (seen[0], seen[-1]) == (RUNNING, BRAKING)
    assert "j1 does not follow: commanded" in bench.state.reason
    assert "call resume" in bench.state.reason
    bench.run(0.7)
    assert bench.give(sway_chunk(bench.t)).reason == "needs_resume"
    bench.executor.resume(bench.now_ns)
    bench.run(0.01)
    assert bench.give(chunk(np.tile(bench.measured, (16, 1)), bench.t)) is None
    np.testing.assert_allclose(bench.active.positions[0], bench.measured)


class MissedMessages:
    """Robot whose controllers miss all messages while `disconnected`."""

    def __init__(self, bench, amplitude, frequency):
        self.bench, self.received, self.disconnected = bench, None, False
        self.amplitude, self.omega, self.jump = amplitude, 2 * np.pi * frequency, 0.0
        bench.follows = False
        bench.measured = np.zeros(4)

    def chunk(self, at):
        steps = at + DT * np.arange(16)[:, None]
        return chunk(self.amplitude * np.sin(self.omega * steps) * [1.0, 0.5, 0.0, 0.0], at)

    def tick(self):
        bench = self.bench
        if round(bench.t * 100) % 20 == 0:
            bench.give(self.chunk(bench.t))
        bench.run(0.01)
        if not self.disconnected and any(u.trajectories for _, u in bench.updates):
            self.received = bench.active
        bench.updates.clear()
        if self.received is not None:
            position = self.received.at(bench.now_ns)[0]
            self.jump = max(self.jump, float(np.abs(position - bench.measured).max()))
            bench.measured = position


@pytest.mark.slow
@pytest.mark.parametrize("length", [0.1, 0.3, 0.5, 0.6, 0.75, 0.9, 1.2, 1.5, 2.0])
@pytest.mark.parametrize("phase", [0.0, 0.3, 0.6, 0.9, 1.2, 1.5])
def test_a_controller_that_missed_messages_jumps_by_at_most_the_allowed_error(length, phase):
    bench = Bench()
    robot = MissedMessages(bench, 0.8, 0.55)
    for begin in (1.0 + phase, 4.0 + phase):
        while bench.t < begin:
            robot.tick()
        if begin < 4.0:
            assert robot.jump < 0.04
        robot.disconnected = True
        while bench.t < begin + length:
            robot.tick()
        robot.disconnected = False
    while bench.t < 8.0:
        robot.tick()
    # The last measurement is up to 0.03 s older than the message; the motion has at most 2.8 rad/s.
    assert robot.jump < 0.3 + 2.8 * 0.03


def test_a_robot_that_does_not_follow_gets_no_trajectory_and_stops_by_the_last_one(bench):
    bench.give(sway_chunk(bench.t, steps=30))
    bench.follows = False
    bench.measured = np.add(bench.measured, [0.31, 0.0, 0.0, 0.0])
    sent, before = bench.active, len(bench.updates)
    bench.run(0.01)
    assert bench.state.status == BRAKING
    assert "j1 does not follow: commanded" in bench.state.reason
    bench.executor.hold(True, bench.now_ns)
    bench.run(0.05)
    bench.executor.hold(False, bench.now_ns)
    assert bench.active is sent
    bench.run(0.6)
    assert not any(update.trajectories for _, update in bench.updates[before:])
    assert "does not follow" in bench.state.reason


def test_an_emergency_stop_is_sent_to_a_robot_that_does_not_follow(bench):
    bench.give(sway_chunk(bench.t, steps=30))
    bench.follows = False
    bench.measured = np.add(bench.measured, [0.31, 0.0, 0.0, 0.0])
    bench.run(0.01)
    before = len(bench.updates)
    bench.executor.estop(bench.now_ns)
    bench.run(0.01)
    assert bench.updates[before][1].trajectories


def test_after_a_short_deviation_the_plan_continues():
    bench = Bench(ExecutorConfig(commit_horizon=0.5))
    bench.give(sway_chunk(0.0, steps=30))
    bench.run(0.05)
    bench.follows = False
    for _ in range(3):
        bench.measured = bench.active.at(bench.now_ns + s_to_ns(0.01))[0] + [0.4, 0.0, 0.0, 0.0]
        bench.run(0.01)
    assert bench.state.status == BRAKING
    bench.follows = True
    bench.measured = bench.active.at(bench.now_ns + s_to_ns(0.01))[0]
    bench.run(0.25)
    assert bench.state.status == RUNNING
    bench.run(0.2)
    deviation = np.abs(bench.active.at(bench.now_ns)[0] - sway(bench.t)).max()
    assert deviation < 1e-3


def test_each_joint_is_compared_with_the_command_of_its_measurement_time():
    """A second, much slower source of joint states does not cause a tracking error."""
    bench = Bench(ExecutorConfig(max_tracking_error=0.1))
    bench.reports = False
    for step in range(120):
        if step % 20 == 0:
            bench.give(sway_chunk(bench.t))
        slow = ["finger"] if step % 30 == 0 else []
        names = [*ARM, *slow]
        bench.executor.observe(
            bench.now_ns, names, bench.measured[: len(names)].tolist(), [0.0] * len(names)
        )
        bench.run(0.01)
        assert bench.state.status == RUNNING, bench.state.reason


def test_a_tracking_error_right_after_a_stop_needs_a_resume(bench):
    bench.follows = False
    bench.executor.hold(True, bench.now_ns)
    bench.measured = np.add(bench.measured, [0.4, 0.0, 0.0, 0.0])
    bench.run(1.0)
    bench.executor.hold(False, bench.now_ns)
    bench.run(0.01)
    assert bench.give(sway_chunk(bench.t)).reason == "needs_resume"


def test_a_robot_moved_externally_long_after_a_stop_is_not_a_fault(bench):
    bench.executor.hold(True, bench.now_ns)
    bench.run(3.0)
    bench.follows = False
    bench.measured = np.add(bench.measured, [0.4, 0.0, 0.0, 0.0])
    bench.run(2.0)
    bench.executor.hold(False, bench.now_ns)
    assert bench.state.reason == "released: waiting for a new chunk"


def test_a_gripper_that_holds_an_object_may_stay_away_from_its_command(bench):
    bench.follows = False
    for _ in range(10):
        bench.measured = bench.active.at(bench.now_ns)[0] + [0.0, 0.0, 0.0, 0.9]
        assert bench.give(sway_chunk(bench.t)) is None
        bench.run(0.01)
        bench.t = round(bench.t + 0.1, 6)
    assert bench.state.status == RUNNING


@pytest.mark.parametrize(
    ("start", "velocity"),
    [
        ([1.45, 0.0, 0.0, 0.0], [2.0, 0.0, 0.0, 0.0]),
        ([0.0, 0.0, 0.0, 0.0], [0.0, 3.5, 0.0, 0.0]),
    ],
)
def test_a_measured_state_that_cannot_stop_in_time_gets_the_hardest_stop(start, velocity):
    bench = Bench(start=start, velocity=velocity)
    assert bench.give(sway_chunk(0.0)).reason == "cannot_stop"
    assert bench.state.status == HOLDING
    assert len(bench.updates) == 1
    stop = bench.active
    assert excess(stop, bench.limits)[2] < 1e-6
    fastest = int(np.argmax(np.abs(velocity)))
    duration = abs(velocity[fastest]) / 15.0
    assert not stop.at(EPOCH_NS + s_to_ns(duration + 1e-4))[1].any()
    assert stop.at(EPOCH_NS + s_to_ns(duration - 1e-3))[1][fastest] > 0
    assert bench.give(sway_chunk(bench.t)) is not None


def test_a_robot_at_rest_outside_its_limits_is_not_moved_until_it_is_back_inside():
    bench = Bench(start=[1.6, 0.0, 0.0, 0.0])
    assert bench.give(sway_chunk(0.0)).reason == "cannot_stop"
    assert (bench.state.status, bench.updates) == (HOLDING, [])
    assert bench.state.reason.startswith(
        f"{ARM[0]} stands at 1.600, outside [-1.5, 1.5]: move it back inside its limits manually"
    )
    bench.measured = sway(0.0)
    bench.run(0.05)
    assert bench.give(sway_chunk(bench.t)) is None
    assert bench.state.status == RUNNING


def test_a_position_slightly_outside_the_limits_counts_as_on_the_limit():
    bench = Bench(ExecutorConfig(max_start_jump=9.0), start=[1.515, 0.0, 0.0, 0.0])
    assert bench.give(sway_chunk(0.0)) is None
    assert bench.active.positions[0][0] == 1.5


def test_encoder_noise_does_not_count_as_motion():
    bench = Bench(velocity=[0.04, -0.04, 0.0, 0.0])
    bench.give(sway_chunk(0.0))
    assert not bench.active.velocities[0].any()


def test_after_a_stall_joint_states_are_not_lost_before_they_can_be_read(bench):
    """Messages that arrived during a stall of half a second are read after the tick."""
    bench.give(sway_chunk(bench.t, steps=30))
    bench.t = round(bench.t + 0.53, 6)
    bench.tick()
    assert "lost" not in bench.state.reason
    bench.run(0.05)
    assert bench.state.status == RUNNING


def test_after_a_stall_joint_states_that_do_not_arrive_are_lost(bench):
    bench.give(sway_chunk(bench.t, steps=30))
    bench.reports = False
    bench.t = round(bench.t + 0.53, 6)
    bench.tick()
    bench.run(0.12)
    assert bench.state.reason.startswith("joint states lost: ")


def test_rejected_chunks_and_missing_chunks_have_different_reasons(bench):
    for _ in range(10):
        bench.give(sway_chunk(bench.t, dt=2.0))
        bench.run(0.1)
    assert bench.state.reason == "no chunk was accepted (last rejected: bad_dt): at rest"
    assert bench.give(sway_chunk(bench.t)) is None
    bench.run(2.0)
    assert bench.state.reason == "no chunk came in time: at rest"
