# SPDX-License-Identifier: Apache-2.0
"""Reference trajectories of chunks, and the check of the start state."""

import numpy as np
import pytest
from support.control_bench import ARM, DT, EPOCH_NS, JOINTS, contract, sway, sway_chunk

from groot_ros.control.joint_state import ActuatedJoints
from groot_ros.control.planner import (
    KNOT_SPACING,
    check_start_state,
    joint_columns,
    knot_spacing,
    reference_curve,
)
from groot_ros.core import s_to_ns

ALL = np.ones(2, dtype=bool)


def test_columns_of_a_chunk_are_picked_by_joint_name():
    chunk = sway_chunk(0.0)
    expected = sway(DT * np.arange(16))
    np.testing.assert_array_equal(joint_columns(chunk, ["finger", ARM[0]]), expected[:, [3, 0]])


def test_a_reference_has_the_steps_of_the_chunk_and_finer_knots_in_between():
    reference, dt = reference_curve(sway_chunk(0.0), JOINTS, ["cubic"] * 4, 1.0, KNOT_SPACING)
    assert dt == pytest.approx(DT / 2)
    assert len(reference.times) == 31
    np.testing.assert_allclose(reference.positions[::2], sway(DT * np.arange(16)), atol=1e-12)
    assert reference.start_ns == EPOCH_NS


def test_a_reference_ends_at_the_maximum_age_of_its_observation():
    reference, dt = reference_curve(sway_chunk(0.0), JOINTS, ["cubic"] * 4, 0.2, KNOT_SPACING)
    last_ns = EPOCH_NS + s_to_ns(0.2)
    assert last_ns - s_to_ns(dt) < reference.end_ns <= last_ns
    longer, _ = reference_curve(sway_chunk(0.0), JOINTS, ["cubic"] * 4, 1.0, KNOT_SPACING)
    count = len(reference.times)
    np.testing.assert_allclose(reference.velocities, longer.velocities[:count], atol=1e-12)


def test_the_knot_spacing_is_at_most_velocity_divided_by_acceleration():
    assert knot_spacing(ActuatedJoints.of(contract()).limits) == KNOT_SPACING
    fast = contract(velocity=0.5, acceleration=100.0)
    assert knot_spacing(ActuatedJoints.of(fast).limits) == pytest.approx(0.005)


@pytest.mark.parametrize(
    ("reference", "commanded", "code"),
    [
        ([0.4, 0.0], [0.0, 0.4], None),
        ([0.0, -0.6], [0.0, 0.0], "start_state_mismatch"),
        ([0.0, 0.0], [0.0, 0.6], "tracking_error"),
        ([0.0, 0.6], [0.0, 0.6], "start_state_mismatch"),
    ],
)
def test_a_start_state_away_from_the_measured_positions_is_rejected(reference, commanded, code):
    rejection = check_start_state(
        ("a", "b"), ALL, np.zeros(2), np.array(reference), np.array(commanded), 0.5
    )
    assert (rejection and rejection.reason) == code
    if rejection:
        assert "b at" in rejection.detail
        assert "max_start_jump 0.5" in rejection.detail


def test_joints_that_are_not_checked_may_start_anywhere():
    far = np.array([0.0, 9.0])
    checked = np.array([True, False])
    assert check_start_state(("a", "b"), checked, np.zeros(2), far, far, 0.5) is None
