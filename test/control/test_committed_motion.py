# SPDX-License-Identifier: Apache-2.0
"""The committed motion is continuous, within limits, and follows the chunks."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.control_bench import (
    DT,
    EPOCH_NS,
    JOINTS,
    Bench,
    chunk,
    contract,
    excess,
    seconds,
    sway,
    sway_chunk,
    viable_states,
)

from groot_ros.control import ExecutorConfig
from groot_ros.control.curve import Curve
from groot_ros.control.limits import Limits
from groot_ros.core import ns_to_s, s_to_ns

LIMITS = Limits.of([contract().joints[name] for name in JOINTS])


def discontinuity(curve: Curve, t_ns: int) -> float:
    """Return the largest step of position or velocity at a time."""
    (p0, v0), (p1, v1) = curve.at(t_ns - 1), curve.at(t_ns + 1)
    return float(max(np.abs(p1 - p0).max(), np.abs(v1 - v0).max()))


def test_steps_are_executed_at_their_due_time_however_late_the_chunk_is():
    for latency in (0.03, 0.1, 0.2):
        bench = Bench()
        bench.stream(1.6, latency=latency)
        t = np.linspace(1.2, bench.t, 50)
        commanded, _ = bench.active.sample(EPOCH_NS + (t * 1e9).astype(np.int64))
        np.testing.assert_allclose(commanded, sway(t), atol=2e-4)


def test_a_chunk_within_limits_that_agrees_with_the_motion_passes_unchanged():
    def ramp(t):
        return np.outer(t - 0.5, [0.3, -0.2, 0.1, 0.4])

    bench = Bench(start=ramp(np.zeros(1))[0])
    for _ in range(5):
        hits = bench.state.limited_chunks
        bench.give(chunk(ramp(bench.t - 0.1 + DT * np.arange(16)), bench.t - 0.1))
        bench.run(0.35)
    t = 1.45 + np.arange(30) / 100
    commanded, velocity = bench.executor.motion.plan.sample(
        EPOCH_NS + np.round(t * 1e9).astype(int)
    )
    np.testing.assert_allclose(commanded, ramp(t), atol=1e-9)
    np.testing.assert_allclose(velocity, np.tile([0.3, -0.2, 0.1, 0.4], (30, 1)), atol=1e-9)
    assert bench.state.limited_chunks == hits


def test_the_first_chunk_starts_from_rest_without_a_step():
    bench = Bench(start=[0.1, -0.1, 0.2, 0.0])
    bench.give(sway_chunk(0.0))
    trajectory = bench.updates[0][1].trajectories[0]
    np.testing.assert_allclose(trajectory.positions[0], [0.2, -0.1, 0.1])
    assert not trajectory.velocities[0].any()
    assert excess(bench.active, bench.limits)[2] < 1e-6


def test_a_splice_is_continuous_in_position_and_velocity():
    bench = Bench()
    bench.stream(0.6)
    before = bench.active
    bench.give(sway_chunk(bench.t - 0.1, offset=0.05))
    after = bench.active
    now = bench.now_ns
    for ms in range(-50, 21):
        t = now + ms * 1_000_000
        if t < after.times[np.searchsorted(after.times, now + s_to_ns(0.02))]:
            for old, new in zip(before.at(t), after.at(t), strict=True):
                np.testing.assert_allclose(new, old, atol=1e-9)
    assert max(discontinuity(after, int(t)) for t in after.times[1:-1]) < 1e-6


def test_the_offset_of_a_new_chunk_decays_within_the_blend_window():
    bench = Bench()
    bench.stream(1.0)
    at = bench.t
    bench.give(sway_chunk(at - 0.1, offset=0.02))
    np.testing.assert_allclose(bench.state.splice_discontinuity, -0.02, atol=1e-3)
    t = np.array([at, at + 0.1, at + 0.29])
    commanded, _ = bench.executor.motion.plan.sample(EPOCH_NS + (t * 1e9).astype(np.int64))
    off = commanded[:, :3] - sway(t)[:, :3]
    np.testing.assert_allclose(off[0], 0.0, atol=1e-4)
    assert ((off[1] > 0.002) & (off[1] < 0.018)).all()
    np.testing.assert_allclose(off[2], 0.02, atol=1e-4)


def test_a_large_offset_is_blended_for_longer_within_the_blend_acceleration():
    """60 mrad in 0.25 s would need 5.8 rad/s2; with 3 rad/s2 they take 0.35 s."""
    bench = Bench()
    bench.stream(1.6)
    at = bench.t
    bench.give(sway_chunk(at - 0.1, offset=0.06))
    t = at + 0.05 + np.arange(340) / 1000
    commanded, _ = bench.executor.motion.plan.sample(EPOCH_NS + np.round(t * 1e9).astype(np.int64))
    added = np.diff(commanded[:, :3] - sway(t)[:, :3], 2, axis=0) * 1e6
    assert 2.0 < np.abs(added).max() < 3.6


def test_grippers_are_not_blended_but_limited():
    bench = Bench(settings=ExecutorConfig(blend_window=2.0))
    bench.stream(0.6)
    closed = sway(bench.t - 0.1 + DT * np.arange(16))
    closed[:, 3] = -1.0
    bench.give(chunk(closed, bench.t - 0.1))
    bench.give(chunk(closed, bench.t - 0.1))
    _, velocity = bench.executor.motion.plan.at(bench.now_ns + s_to_ns(0.25))
    assert velocity[3] == pytest.approx(-3.0)


def test_published_trajectories_end_at_rest_within_commit_horizon_and_braking_time():
    bench = Bench()
    bench.stream(1.0)
    for at, update in bench.updates:
        for trajectory in update.trajectories:
            assert not trajectory.velocities[-2:].any()
            rest = seconds(trajectory.stamp_ns + int(trajectory.offsets_ns[-2]))
            assert rest <= at + 0.3 + 0.017 + 0.3 + 1e-4


def test_messages_begin_in_the_past_and_have_a_knot_before_their_arrival():
    bench = Bench()
    bench.stream(1.0)
    for at, update in bench.updates:
        for trajectory in update.trajectories:
            assert seconds(trajectory.stamp_ns) == pytest.approx(at - 0.06, abs=1e-6)
            assert seconds(trajectory.end_ns) > at + 0.1


def test_trajectories_are_published_on_a_change_and_before_their_tail_but_not_every_tick():
    bench = Bench()
    bench.stream(2.1, period=0.3)
    assert 12 <= len(bench.updates) <= 16
    for (at, update), (then, _) in zip(bench.updates, bench.updates[1:], strict=False):
        moving = next(t for t in update.trajectories if t.controller == "arm")
        tail = seconds(moving.stamp_ns + int(moving.offsets_ns[-3]))
        assert then < max(tail, at + 0.02)


def test_after_a_stall_the_plan_continues_from_the_tail():
    bench = Bench()
    bench.stream(0.6)
    bench.give(sway_chunk(bench.t, steps=40))
    old = bench.active
    bench.t += 0.45
    bench.run(0.01)
    assert bench.active is not old
    np.testing.assert_allclose(bench.active.at(bench.now_ns)[0], old.at(bench.now_ns)[0], atol=1e-9)
    bench.run(0.3)
    assert bench.state.status.name == "RUNNING"
    assert excess(bench.active, bench.limits)[2] < 1e-6


def test_steps_older_than_max_chunk_age_are_not_executed():
    bench = Bench(settings=ExecutorConfig(max_chunk_age=0.4))
    bench.give(sway_chunk(0.0, steps=60))
    assert seconds(bench.executor.motion.plan.end_ns) <= 0.4
    bench.run(1.0)
    assert not bench.active.at(bench.now_ns - s_to_ns(0.29))[1].any()


def test_lower_limits_apply_while_moving():
    bench = Bench()
    bench.stream(0.4)
    bench.executor.settings = replace(bench.executor.settings, limits_scale=0.1)
    bench.stream(1.0)
    t = EPOCH_NS + np.arange(s_to_ns(0.9), s_to_ns(1.3), 10**7)
    assert np.abs(bench.active.sample(t)[1]).max() < 0.3 + 1e-6


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(
    st.data(),
    st.integers(0, 2**32 - 1),
    st.sampled_from([0.003, 0.03, 0.3]),
    st.sampled_from(["linear", "cubic", "quintic"]),
    st.sampled_from([0.0, 0.1, 0.25]),
)
def test_the_active_trajectory_always_keeps_every_limit(data, seed, noise, method, window):
    rng = np.random.default_rng(seed)
    p, v = data.draw(viable_states(LIMITS))
    bench = Bench(
        ExecutorConfig(
            max_start_jump=9.0, blend_window=window, rest_velocity=0.0, max_chunk_age=0.6
        ),
        contract(interpolation=method),
        p,
        v,
    )
    sent = None
    for _ in range(12):
        match int(rng.integers(10)):
            case 0:
                bench.executor.hold(True, bench.now_ns)
            case 1:
                bench.executor.estop(bench.now_ns)
            case 2:
                bench.executor.resume(bench.now_ns)
                bench.executor.hold(False, bench.now_ns)
            case _:
                dt = float(rng.choice([0.02, 1 / 30, 0.1]))
                steps = np.cumsum(rng.normal(size=(int(rng.integers(2, 24)), 4)) * 0.1, axis=0)
                values = bench.measured + steps + rng.normal(size=steps.shape) * noise
                bench.give(chunk(values, bench.t - float(rng.uniform(0, 0.2)), dt=dt))
        bench.run(float(rng.choice([0.01, 0.05, 0.2, 0.5])))
        if bench.executor.motion.active is not None:
            sent = bench.active
            # Earlier motion was the measured motion of the robot.
            first_ns = EPOCH_NS + s_to_ns(bench.updates[0][0])
            position, velocity, acceleration = excess(sent, bench.limits, first_ns)
            assert position < 1e-6
            assert velocity < 1e-6
            assert acceleration < 1e-6
            assert not sent.velocities[-1].any()
    assert not [r for r in bench.state.rejections if r.startswith("invalid_output")]


def test_the_timeline_is_past_and_planned_motion_on_the_steps_of_the_chunk():
    bench = Bench()
    bench.stream(1.6)
    bench.give(sway_chunk(bench.t - 0.1))
    timeline = bench.updates[-1][1].timeline
    assert timeline.joint_names == JOINTS
    assert timeline.session == "a"
    t = seconds(timeline.start_ns) + timeline.dt * np.arange(len(timeline.positions))
    assert t[0] < bench.t - 0.95
    assert t[-1] == pytest.approx(bench.t - 0.1 + 15 * DT, abs=1e-6)
    np.testing.assert_allclose(timeline.positions[t > 1.2], sway(t[t > 1.2]), atol=2e-4)
    grid = (t - (bench.t - 0.1)) / timeline.dt
    np.testing.assert_allclose(grid, np.round(grid), atol=1e-6)
    ids = [u.timeline.id for _, u in bench.updates]
    assert ids == list(range(1, len(ids) + 1))


def test_the_timeline_includes_the_tail_once_no_chunk_can_replace_it():
    bench = Bench()
    bench.stream(0.4)
    bench.run(0.5)
    timeline = bench.updates[-1][1].timeline
    assert not timeline.velocities[-1].any()
    assert ns_to_s(timeline.end_ns - EPOCH_NS) > bench.t - 0.5 + 0.3
