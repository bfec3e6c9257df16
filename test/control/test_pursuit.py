"""Joints with a jerk limit after their reference: close where they can, within limits always."""

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

from groot_ros.control import ExecutorSettings
from groot_ros.control.curve import Curve
from groot_ros.control.interpolation import end_accelerations
from groot_ros.control.jerk import JointBounds, Stop, stop_pieces, viable
from groot_ros.control.limits import Limits
from groot_ros.control.pursuit import pursue
from groot_ros.core import s_to_ns
from groot_ros.robot import RobotContract

BOUNDS = JointBounds(-1.0, 1.0, 2.0, 10.0, 200.0)
LIMITS = Limits(*(np.array([x]) for x in (-1.0, 1.0, 2.0, 10.0)))
KNOTS = 24


def limited(jerk: float, **arm: object) -> RobotContract:
    """The bench's robot; j1 and j2 limit their jerk, j3 and the gripper do not."""
    robot = contract(**arm)
    joints = dict(robot.joints)
    for name in ("j1", "j2"):
        joints[name] = replace(joints[name], limits=replace(joints[name].limits, jerk=jerk))
    return replace(robot, joints=joints)


def roughness(curve: Curve, columns: list[int], from_ns: int = 0) -> tuple[float, float]:
    """Largest jerk within segments and largest step of acceleration between them.

    Accelerations of a segment of h s are known to 1e-15 / h^2 only, in float64.
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
def test_from_any_viable_state_after_any_reference_no_limit_is_violated(state, seed, rough, span):
    while not viable(state, BOUNDS):
        state = tuple(x / 2.0 for x in state)
    rng = np.random.default_rng(seed)
    goal = np.cumsum(rng.normal(0.0, rough, KNOTS)) + state[0]
    escape = Stop(EPOCH_NS, state, stop_pieces(state[1], state[2], BOUNDS))
    moved, known = pursue(reference(goal, rng.uniform(-3.0, 3.0, KNOTS), span), escape, BOUNDS)
    assert max(excess(moved, LIMITS)) < 1e-6
    jerk, step = roughness(moved, [0])
    assert jerk < BOUNDS.jerk * (1.0 + 1e-6)
    assert step < 1e-6
    end_ns = moved.end_ns
    assert known[end_ns].at(known[end_ns].end_ns)[1:] == (0.0, 0.0)


def test_a_smooth_reference_is_followed_closely():
    t = np.arange(120) / 60
    escape = Stop(EPOCH_NS, (0.0, 0.9, 0.0), stop_pieces(0.9, 0.0, BOUNDS))
    moved, _ = pursue(reference(0.3 * np.sin(3 * t), 0.9 * np.cos(3 * t)), escape, BOUNDS)
    np.testing.assert_allclose(moved.positions[:, 0], 0.3 * np.sin(3 * t), atol=1e-3)


def test_a_standing_reference_is_reached_with_little_overshoot():
    escape = Stop(EPOCH_NS, (0.0, 0.0, 0.0), [])
    moved, _ = pursue(reference(np.full(120, 0.5), np.zeros(120)), escape, BOUNDS)
    assert moved.positions.max() < 0.51
    np.testing.assert_allclose(moved.positions[-30:, 0], 0.5, atol=2e-3)


def test_beyond_the_limit_it_stays_on_its_own_side():
    escape = Stop(EPOCH_NS, (0.9, 0.0, 0.0), [])
    moved, _ = pursue(reference(np.full(120, 3.0), np.zeros(120)), escape, BOUNDS)
    assert 0.99 < moved.positions[-1, 0] <= 1.0 + 1e-9


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([60.0, 200.0, 3000.0]),
    st.sampled_from([0.003, 0.03, 0.3]),
    st.sampled_from(["linear", "cubic", "quintic"]),
    st.sampled_from([0.0, 0.25]),
)
def test_whatever_happens_what_is_sent_keeps_jerk_limits_too(seed, jerk, noise, method, window):
    rng = np.random.default_rng(seed)
    bench = Bench(
        ExecutorSettings(max_start_jump=9.0, blend_window=window, max_chunk_age=0.6),
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
        if bench.executor._motion.sent is not None:
            first_ns = EPOCH_NS + s_to_ns(bench.updates[0][0])
            assert max(excess(bench.sent, bench.limits, first_ns)) < 1e-6
            sharpest, step = roughness(bench.sent, [0, 1], first_ns)
            assert sharpest < jerk * (1.0 + 1e-6)
            assert step < 1e-5
            assert not bench.sent.velocities[-1].any()
    assert not [r for r in bench.state.rejections if r.startswith("unsendable")]


@pytest.mark.parametrize(("jerk", "within"), [(100.0, 6e-3), (200.0, 2e-3), (3000.0, 5e-4)])
def test_agreeing_chunks_are_followed_as_closely_as_the_jerk_allows(jerk, within):
    bench = Bench(robot=limited(jerk))
    bench.stream(2.6)
    t = np.linspace(2.0, bench.t, 100)
    commanded, _ = bench.executor._motion.plan.sample(EPOCH_NS + (t * 1e9).astype(np.int64))
    np.testing.assert_allclose(commanded, sway(t), atol=within)


def test_an_emergency_stop_takes_the_time_that_jerk_needs():
    bench = Bench(robot=limited(100.0))
    bench.stream(1.0)
    fast = float(np.abs(bench.sent.at(bench.now_ns)[1][:2]).max())
    began = bench.t
    bench.executor.estop(bench.now_ns)
    took = seconds(bench.executor._motion.rest_ns) - began
    # The lead and a knot, then at most 2 sqrt(v / J) from constant speed; some of it was under way.
    assert 0.02 < took < 0.02 + 0.017 + 2.0 * np.sqrt(1.5 * fast / 100.0) + 0.1
    assert roughness(bench.sent, [0, 1], EPOCH_NS)[0] < 100.0 * (1 + 1e-6)


def test_a_start_that_only_a_jerk_could_save_is_rejected():
    # 2 rad/s stop in 0.133 rad at 15 rad/s2, but not when the brakes take 0.15 s to bite.
    state = {"start": [1.3, 0.0, 0.0, 0.0], "velocity": [2.0, 0.0, 0.0, 0.0]}
    free, jerky = Bench(**state), Bench(robot=limited(100.0), **state)
    assert free.give(sway_chunk(0.0)).reason == "jump"
    assert jerky.give(sway_chunk(0.0)).reason == "not_viable"
    assert roughness(jerky.sent, [0, 1], EPOCH_NS)[0] < 100.0 * (1 + 1e-6)
