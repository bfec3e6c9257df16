# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from support.control_bench import contract, viable_states

from groot_ros.control.curve import cubic, end_accelerations, knot_velocities
from groot_ros.control.jerk_limits import JointBounds
from groot_ros.control.limits import Limits, limited_tracking

LIMITS = Limits(
    lower=np.array([-1.0, -0.5]),
    upper=np.array([1.0, 0.5]),
    velocity=np.array([2.0, 1.0]),
    acceleration=np.array([10.0, 20.0]),
)
H = 1 / 60
REST = np.zeros(2)


def run(p, v, reference_p, reference_v, h=H):
    return limited_tracking(LIMITS, p, v, np.full(len(reference_p), h), reference_p, reference_v)


def worst(p, v, positions, velocities, h=H):
    p0, v0 = np.vstack([p, positions[:-1]]), np.vstack([v, velocities[:-1]])
    a = np.abs(end_accelerations(p0, v0, positions, velocities, h)).max(axis=(0, 1))
    inside_p, inside_v = cubic(
        p0, v0, positions, velocities, h, np.linspace(0, 1, 41)[:, None, None]
    )
    beyond = np.maximum(inside_p - LIMITS.upper, LIMITS.lower - inside_p).max()
    fast = (np.abs(inside_v) - LIMITS.velocity).max()
    return max(beyond, fast, (a - LIMITS.acceleration).max())


def test_a_state_is_viable_when_it_can_stop_in_time():
    v = np.array([2.0, -1.0])
    distance = v**2 / (2 * LIMITS.acceleration) + np.abs(v) * 1e-5
    at_the_last_moment = np.array([1.0 - distance[0], -0.5 + distance[1]])
    assert LIMITS.viable(at_the_last_moment, v).all()
    assert not LIMITS.viable(at_the_last_moment + np.array([1e-4, -1e-4]), v).any()
    assert LIMITS.viable(at_the_last_moment, -v).all()
    assert LIMITS.viable(REST, v * 1.001).tolist() == [False, False]
    assert LIMITS.viable(np.array([1.001, -0.501]), REST).tolist() == [False, False]


@settings(max_examples=300, deadline=None)
@given(
    arrays(np.float64, (2, 4), elements=st.floats(-1.2, 1.2)),
    st.floats(0.004, 0.3),
)
def test_a_segment_is_allowed_exactly_when_sampling_finds_no_violation(values, h):
    p0, p1 = values[:, 0] * LIMITS.upper, values[:, 1] * LIMITS.upper
    v0, v1 = values[:, 2] * LIMITS.velocity, values[:, 3] * LIMITS.velocity
    tau = np.linspace(0, 1, 2001)[:, None]
    p, v = cubic(p0, v0, p1, v1, h, tau)
    a = np.abs(end_accelerations(p0, v0, p1, v1, h)).max(axis=0)
    margin = np.min(
        [
            (LIMITS.upper - np.abs(p)).min(axis=0),
            (LIMITS.velocity - np.abs(v)).min(axis=0),
            LIMITS.acceleration - a,
            LIMITS.upper - np.abs(p1 + v1 * (np.abs(v1) / (2 * LIMITS.acceleration) + 1e-5)),
        ],
        axis=0,
    )
    allowed = LIMITS.allows(p0, v0, p1, v1, h)
    clear = (np.abs(margin) > 1e-5) & LIMITS.viable(p0, v0)
    np.testing.assert_array_equal(allowed[clear], (margin > 0)[clear])


def test_a_reference_within_limits_is_returned_to_the_bit():
    t = H * np.arange(1, 60)[:, None]
    reference_p = 0.3 * np.sin(4 * t) * [1.0, 0.5]
    reference_v = 1.2 * np.cos(4 * t) * [1.0, 0.5]
    positions, velocities, changed = run(
        np.zeros(2), np.array([1.2, 0.6]), reference_p, reference_v
    )
    np.testing.assert_array_equal(positions, reference_p)
    np.testing.assert_array_equal(velocities, reference_v)
    assert not changed.any()


def test_a_joint_within_limits_is_unchanged_when_another_is_limited():
    reference_p = np.tile([0.9, 0.0], (60, 1))
    reference_p[:, 1] = 0.2 * np.sin(3 * H * np.arange(1, 61))
    reference_v = np.zeros((60, 2))
    reference_v[:, 1] = 0.6 * np.cos(3 * H * np.arange(1, 61))
    positions, _, changed = run(REST, np.array([0.0, 0.6]), reference_p, reference_v)
    assert changed.tolist() == [True, False]
    np.testing.assert_array_equal(positions[:, 1], reference_p[:, 1])


@pytest.mark.slow
@settings(max_examples=2000, deadline=None)
@given(
    viable_states(LIMITS),
    arrays(np.float64, (30, 2), elements=st.floats(-3, 3)),
    st.sampled_from([0.0, 0.02, 1.0]),
    st.sampled_from([0.002, H, 0.05]),
)
def test_tracking_any_reference_from_any_viable_state_keeps_every_limit(state, noise, rough, h):
    p, v = state
    reference_p = np.cumsum(noise * 0.05, axis=0) + noise * rough
    positions, velocities, _ = run(p, v, reference_p, knot_velocities(reference_p, h), h)
    assert worst(p, v, positions, velocities, h) < 1e-6 + 4e-15 / h**2
    assert LIMITS.viable(positions, velocities).all()


@pytest.mark.parametrize("far", [0.004, 0.05, 0.4, 1.0])
def test_a_constant_reference_is_reached_exactly_and_without_overshoot(far):
    reference = np.full((120, 2), [far, far / 2])
    positions, velocities, _ = run(REST, REST, reference, np.zeros_like(reference))
    np.testing.assert_array_equal(positions[-1], reference[-1])
    np.testing.assert_array_equal(velocities[-1], REST)
    assert (positions <= reference + 1e-12).all()


def test_a_reference_outside_the_position_limit_is_tracked_up_to_the_limit():
    reference = np.full((150, 2), 7.0)
    positions, velocities, changed = run(REST, REST, reference, np.full_like(reference, 3.0))
    np.testing.assert_allclose(positions[-1], LIMITS.upper)
    np.testing.assert_allclose(velocities[-1], 0.0)
    assert changed.all()


def test_limited_motion_rejoins_a_moving_reference_exactly():
    t = H * np.arange(1, 120)[:, None]
    reference_p, reference_v = 0.3 * np.sin(2 * t) * [1, 1], 0.6 * np.cos(2 * t) * [1, 1]
    positions, velocities, changed = run(np.array([-0.4, -0.2]), REST, reference_p, reference_v)
    assert changed.all()
    np.testing.assert_array_equal(positions[80:], reference_p[80:])
    np.testing.assert_array_equal(velocities[80:], reference_v[80:])


def test_a_tiny_step_onto_the_limit_turns_back_within_it():
    p, v = np.array([1.0 - 0.04**2 / 20 - 4e-7, 0.0]), np.array([0.04, 0.0])
    reference = np.full((5, 2), [2.0, 0.0])
    positions, velocities, _ = run(p, v, reference, np.zeros_like(reference), 0.05)
    assert worst(p, v, positions, velocities, 0.05) < 1e-9


def test_limited_tracking_works_on_batches_of_states():
    rng = np.random.default_rng(2)
    reference_p = np.cumsum(rng.normal(size=(20, 500, 2)) * 0.05, axis=0)
    positions, velocities, changed = limited_tracking(
        LIMITS, np.zeros((500, 2)), np.zeros((500, 2)), np.full(20, H), reference_p, reference_p * 0
    )
    assert changed.shape == (500, 2)
    one = run(np.zeros(2), np.zeros(2), reference_p[:, 7], reference_p[:, 7] * 0)
    np.testing.assert_allclose(positions[:, 7], one[0], atol=1e-12)
    np.testing.assert_allclose(velocities[:, 7], one[1], atol=1e-12)


def test_scaled_limits_keep_the_full_acceleration_for_a_joint_that_needs_it_to_stop():
    fast_near_the_limit = np.array([0.78, 0.0]), np.array([2.0, 0.5])
    slowed = LIMITS.scaled(0.5, *fast_near_the_limit)
    assert slowed.velocity.tolist() == [1.0, 0.5]
    assert slowed.acceleration.tolist() == [10.0, 10.0]


def test_limits_have_a_jerk_only_if_a_joint_has_a_jerk_limit():
    joints = list(contract().joints.values())
    assert Limits.of(joints).jerk is None
    assert Limits.of(joints).jerk_bounds() == {}
    joints[1] = replace(joints[1], limits=replace(joints[1].limits, jerk=90.0))
    assert Limits.of(joints).jerk_bounds() == {1: JointBounds(-1.5, 1.5, 3.0, 15.0, 90.0)}
