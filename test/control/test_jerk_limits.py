# SPDX-License-Identifier: Apache-2.0
"""Jerk-limited stops and tracking: exact, and within every limit at any time."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.control_bench import (
    EPOCH_NS,
    Bench,
    chunk,
    contract,
    excess,
    seconds,
    sway,
    sway_chunk,
)

from groot_ros.control import ExecutorConfig
from groot_ros.control.curve import Curve, end_accelerations
from groot_ros.control.jerk_limits import (
    JointBounds,
    StopTrajectory,
    advance,
    gentle_stop,
    quickest_stop,
    stop_displacement,
    track_joint,
    viable,
    within_bounds,
)
from groot_ros.control.limits import Limits
from groot_ros.core import s_to_ns
from groot_ros.robot import RobotContract

BOUNDS = JointBounds(-1.0, 1.0, 2.0, 10.0, 100.0)
FREE = JointBounds(-1e9, 1e9, 1e9, 10.0, 100.0)


def end_state(state, phases):
    for duration, jerk in phases:
        state = advance(state, duration, jerk)
    return state


@settings(max_examples=500, deadline=None)
@given(st.floats(-2.0, 2.0), st.floats(-10.0, 10.0), st.sampled_from([0.0, 0.1, 0.3, 1.0]))
def test_a_stop_from_any_speed_ends_at_rest_within_acceleration_and_jerk(v, a, seconds):
    for phases in (quickest_stop(v, a, FREE), gentle_stop(v, a, seconds, FREE)):
        _, end_v, end_a = end_state((0.0, v, a), phases)
        assert abs(end_v) < 1e-12
        assert abs(end_a) < 1e-12
        assert within_bounds((0.0, v, a), phases, FREE)
        assert all(duration * 1e3 == pytest.approx(round(duration * 1e3)) for duration, _ in phases)


@given(st.floats(-2.0, 2.0), st.floats(-10.0, 10.0))
def test_rounding_to_milliseconds_hardly_lengthens_the_time_optimal_stop(v, a):
    travelled = end_state((0.0, v, a), quickest_stop(v, a, FREE))[0]
    best = stop_displacement(v, a, FREE.acceleration, FREE.jerk)
    # The excess is largest for states at the acceleration limit: the time-optimal stop reaches its
    # peak in no time there, the rounded one in a millisecond (0.0063 on a grid of states).
    assert abs(travelled - best) < 8e-3 * (abs(v) + abs(a) * 0.1) + 1e-6


def test_a_stop_from_constant_speed_ramps_down_holds_and_ramps_back():
    # Ramps of 0.1 s at 100 rad/s3 remove 1 rad/s, 0.1 s at 10 rad/s2 the other 1 rad/s.
    phases = quickest_stop(2.0, 0.0, FREE)
    np.testing.assert_allclose(phases, [(0.1, -100.0), (0.1, 0.0), (0.1, 100.0)], atol=1e-9)


def test_a_gentle_stop_takes_the_desired_time_where_limits_allow_it():
    assert sum(duration for duration, _ in gentle_stop(0.5, 0.0, 0.4, FREE)) == pytest.approx(0.4)
    assert sum(duration for duration, _ in gentle_stop(2.0, 0.0, 0.1, FREE)) > 0.29


def test_a_state_is_viable_when_its_quickest_stop_keeps_every_limit():
    # From 1 rad/s: 0.1 s to the peak of 10 rad/s2 and 0.1 s back, 0.1 rad.
    assert viable((0.899, 1.0, 0.0), BOUNDS)
    assert not viable((0.901, 1.0, 0.0), BOUNDS)
    # Ending 5 rad/s2 takes 0.05 s and adds 0.125 rad/s.
    assert viable((0.0, 1.87, 5.0), BOUNDS)
    assert not viable((0.0, 1.88, 5.0), BOUNDS)
    assert not viable((0.0, 0.0, 10.1), BOUNDS)
    assert not viable((1.01, 0.0, 0.0), BOUNDS)


def test_an_extremum_inside_a_phase_is_checked():
    # The joint turns back after 0.05 rad and ends where it began.
    phases = [(0.2, 0.0)]
    assert within_bounds((0.94, 1.0, -10.0), phases, BOUNDS)
    assert not within_bounds((0.96, 1.0, -10.0), phases, BOUNDS)


@settings(max_examples=300, deadline=None)
@given(st.floats(-1.0, 1.0), st.floats(-2.0, 2.0), st.floats(-10.0, 10.0), st.floats(-100.0, 100.0))
def test_within_bounds_agrees_with_dense_sampling(p, v, a, jerk):
    phases = [(0.03, jerk), *quickest_stop(v, a, BOUNDS)]
    t = np.linspace(0.0, 1.0, 201)
    state, beyond = (p, v, a), 0.0
    for duration, phase_jerk in phases:
        at = advance(tuple(np.full_like(t, x) for x in state), t * duration, phase_jerk)
        for value, bound in zip(at, (1.0, 2.0, 10.0), strict=True):
            beyond = max(beyond, float(np.abs(value).max()) - bound)
        state = advance(state, duration, phase_jerk)
        beyond = max(beyond, abs(phase_jerk) - 100.0)
    if abs(beyond) > 1e-4:
        assert within_bounds((p, v, a), phases, BOUNDS) == (beyond < 0.0)


def test_a_stop_trajectory_has_the_states_and_jerk_changes_of_its_phases():
    stop = StopTrajectory(5_000, (0.0, 2.0, 0.0), quickest_stop(2.0, 0.0, FREE))
    assert stop.end_ns == 300_005_000
    assert stop.jerk_changes(5_000, 300_005_000) == [100_005_000, 200_005_000]
    np.testing.assert_allclose(stop.at(100_005_000), (0.2 - 0.1 / 6, 1.5, -10.0))
    assert stop.at(400_000_000) == (pytest.approx(0.3), 0.0, 0.0)


TRACKING_BOUNDS = JointBounds(-1.0, 1.0, 2.0, 10.0, 200.0)
LIMITS = Limits(*(np.array([x]) for x in (-1.0, 1.0, 2.0, 10.0)))
KNOTS = 24


def limited(jerk: float, **arm: object) -> RobotContract:
    """Return the robot of the bench with a jerk limit for j1 and j2 only."""
    robot = contract(**arm)
    joints = dict(robot.joints)
    for name in ("j1", "j2"):
        joints[name] = replace(joints[name], limits=replace(joints[name].limits, jerk=jerk))
    return replace(robot, joints=joints)


def roughness(curve: Curve, columns: list[int], from_ns: int = 0) -> tuple[float, float]:
    """Return the largest jerk within segments and the largest step of acceleration between them.

    In float64, accelerations of a segment of h s are only known to 1e-15 / h^2.
    """
    keep = curve.times[1:] > from_ns
    h = (np.diff(curve.times)[keep] / 1e9)[:, None]
    p, v = curve.positions[:, columns], curve.velocities[:, columns]
    a0, a1 = end_accelerations(p[:-1][keep], v[:-1][keep], p[1:][keep], v[1:][keep], h)
    unknown = 2e-14 / h**2
    jerk = (np.abs(a1 - a0) - unknown) / h
    steps = np.abs(a1[:-1] - a0[1:]) - 2.0 * (unknown[:-1] + unknown[1:])
    return float(jerk.max()), float(steps.max())


def reference(positions, velocities, span=1 / 60):
    times = EPOCH_NS + np.round(np.arange(len(positions)) * span * 1e9).astype(np.int64)
    return Curve(times, np.reshape(positions, (-1, 1)), np.reshape(velocities, (-1, 1)))


@pytest.mark.slow
@settings(max_examples=2000, deadline=None)
@given(
    st.tuples(st.floats(-1.0, 1.0), st.floats(-2.0, 2.0), st.floats(-10.0, 10.0)),
    st.integers(0, 2**32 - 1),
    st.sampled_from([0.005, 0.05, 1.0]),
    st.sampled_from([0.002, 1 / 60, 0.05]),
)
def test_tracking_any_reference_from_any_viable_state_keeps_every_limit(state, seed, rough, span):
    while not viable(state, TRACKING_BOUNDS):
        state = tuple(x / 2.0 for x in state)
    rng = np.random.default_rng(seed)
    positions = np.cumsum(rng.normal(0.0, rough, KNOTS)) + state[0]
    fail_safe = StopTrajectory(EPOCH_NS, state, quickest_stop(state[1], state[2], TRACKING_BOUNDS))
    tracked, fail_safes = track_joint(
        reference(positions, rng.uniform(-3.0, 3.0, KNOTS), span), fail_safe, TRACKING_BOUNDS
    )
    assert max(excess(tracked, LIMITS)) < 1e-6
    jerk, step = roughness(tracked, [0])
    assert jerk < TRACKING_BOUNDS.jerk * (1.0 + 1e-6)
    assert step < 1e-6
    end_ns = tracked.end_ns
    assert fail_safes[end_ns].at(fail_safes[end_ns].end_ns)[1:] == (0.0, 0.0)


def test_a_smooth_reference_is_followed_closely():
    t = np.arange(120) / 60
    fail_safe = StopTrajectory(EPOCH_NS, (0.0, 0.9, 0.0), quickest_stop(0.9, 0.0, TRACKING_BOUNDS))
    tracked, _ = track_joint(
        reference(0.3 * np.sin(3 * t), 0.9 * np.cos(3 * t)), fail_safe, TRACKING_BOUNDS
    )
    np.testing.assert_allclose(tracked.positions[:, 0], 0.3 * np.sin(3 * t), atol=1e-3)


def test_a_constant_reference_is_reached_with_little_overshoot():
    fail_safe = StopTrajectory(EPOCH_NS, (0.0, 0.0, 0.0), [])
    tracked, _ = track_joint(
        reference(np.full(120, 0.5), np.zeros(120)), fail_safe, TRACKING_BOUNDS
    )
    assert tracked.positions.max() < 0.51
    np.testing.assert_allclose(tracked.positions[-30:, 0], 0.5, atol=2e-3)


def test_a_reference_outside_the_position_limit_is_tracked_up_to_the_limit():
    fail_safe = StopTrajectory(EPOCH_NS, (0.9, 0.0, 0.0), [])
    tracked, _ = track_joint(
        reference(np.full(120, 3.0), np.zeros(120)), fail_safe, TRACKING_BOUNDS
    )
    assert 0.99 < tracked.positions[-1, 0] <= 1.0 + 1e-9


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([60.0, 200.0, 3000.0]),
    st.sampled_from([0.003, 0.03, 0.3]),
    st.sampled_from(["linear", "cubic", "quintic"]),
    st.sampled_from([0.0, 0.25]),
)
def test_published_motion_keeps_jerk_limits_whatever_happens(seed, jerk, noise, method, window):
    rng = np.random.default_rng(seed)
    bench = Bench(
        ExecutorConfig(max_start_jump=9.0, blend_window=window, max_chunk_age=0.6),
        limited(jerk, interpolation=method),
        rng.uniform(-1.4, 1.4, 4),
    )
    for _ in range(8):
        match int(rng.integers(12)):
            case 0:
                bench.executor.hold(True, bench.now_ns)
            case 1:
                bench.executor.estop(bench.now_ns)
            case 2:
                bench.executor.resume(bench.now_ns)
                bench.executor.hold(False, bench.now_ns)
            case 3:
                bench.executor.instruct("another", bench.now_ns)
            case 4:
                slower = replace(bench.executor.settings, limits_scale=float(rng.uniform(0.1, 1)))
                bench.executor.settings = slower
            case _:
                dt = float(rng.choice([0.02, 1 / 30, 0.1]))
                steps = np.cumsum(rng.normal(size=(int(rng.integers(2, 24)), 4)) * 0.1, axis=0)
                values = bench.measured + steps + rng.normal(size=steps.shape) * noise
                late = float(rng.uniform(0, 0.2))
                bench.give(chunk(values, bench.t - late, dt=dt, instruction="one"))
        bench.run(float(rng.choice([0.01, 0.05, 0.2, 0.5])))
        if bench.executor.motion.active is not None:
            first_ns = EPOCH_NS + s_to_ns(bench.updates[0][0])
            assert max(excess(bench.active, bench.limits, first_ns)) < 1e-6
            sharpest, step = roughness(bench.active, [0, 1], first_ns)
            assert sharpest < jerk * (1.0 + 1e-6)
            assert step < 1e-5
            assert not bench.active.velocities[-1].any()
    assert not [r for r in bench.state.rejections if r.startswith("invalid_output")]


@pytest.mark.parametrize(("jerk", "within"), [(100.0, 6e-3), (200.0, 2e-3), (3000.0, 5e-4)])
def test_consistent_chunks_are_tracked_as_closely_as_the_jerk_limit_allows(jerk, within):
    bench = Bench(robot=limited(jerk))
    bench.stream(2.6)
    t = np.linspace(2.0, bench.t, 100)
    commanded, _ = bench.executor.motion.plan.sample(EPOCH_NS + (t * 1e9).astype(np.int64))
    np.testing.assert_allclose(commanded, sway(t), atol=within)


def test_an_emergency_stop_takes_the_time_that_the_jerk_limit_needs():
    bench = Bench(robot=limited(100.0))
    bench.stream(1.0)
    fast = float(np.abs(bench.active.at(bench.now_ns)[1][:2]).max())
    began = bench.t
    bench.executor.estop(bench.now_ns)
    took = seconds(bench.executor.motion.rest_ns) - began
    # Splice lead time and one knot, then at most 2 sqrt(v / J) from constant speed.
    assert 0.02 < took < 0.02 + 0.017 + 2.0 * np.sqrt(1.5 * fast / 100.0) + 0.1
    assert roughness(bench.active, [0, 1], EPOCH_NS)[0] < 100.0 * (1 + 1e-6)


def test_a_start_state_that_cannot_stop_within_the_jerk_limit_is_rejected():
    # 2 rad/s stop in 0.133 rad at 15 rad/s2, but not if reaching 15 rad/s2 takes 0.15 s.
    state = {"start": [1.3, 0.0, 0.0, 0.0], "velocity": [2.0, 0.0, 0.0, 0.0]}
    unlimited, jerk_limited = Bench(**state), Bench(robot=limited(100.0), **state)
    assert unlimited.give(sway_chunk(0.0)).reason == "start_state_mismatch"
    assert jerk_limited.give(sway_chunk(0.0)).reason == "cannot_stop"
    assert roughness(jerk_limited.active, [0, 1], EPOCH_NS)[0] < 100.0 * (1 + 1e-6)
