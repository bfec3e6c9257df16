# SPDX-License-Identifier: Apache-2.0
"""The expert reaches every goal from any joint state, within its speed, and stays there."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from groot_ros.sim import CUBES, SimulatedArm
from groot_ros.sim.expert import SERVO_LAG, SPEED, InverseKinematics, Unreachable
from groot_ros.sim.tasks.touch import (
    INSTRUCTIONS,
    TouchExpert,
    distance_to_cube,
    instructed_cube,
    place_cubes,
)

ARM = SimulatedArm()
EXPERT = TouchExpert(ARM.model)
ARM.reset(cubes=place_cubes())
CENTRES = ARM.cubes
DT = 1 / 30

anywhere = st.tuples(*[st.floats(lower, upper) for lower, upper in ARM.limits]).map(np.array)


def test_between_any_two_cubes_at_least_three_joints_move_half_a_radian():
    goals = {c: EXPERT.goal(f"touch the {c} cube", CENTRES).there for c in CUBES}
    for first, second in itertools.combinations(CUBES, 2):
        moved = np.abs(goals[first] - goals[second]) >= 0.5
        assert moved.sum() >= 3, (first, second, goals)


@given(anywhere, st.sampled_from(INSTRUCTIONS))
@settings(max_examples=40, deadline=None)
def test_from_any_joint_state_the_path_ends_at_the_goal_and_stays(start, instruction):
    goal = EXPERT.goal(instruction, CENTRES)
    path = EXPERT.path(start, goal, steps=180, dt=DT)
    np.testing.assert_allclose(path[-30:], np.tile(goal.there, (30, 1)), atol=5e-3)


@given(anywhere, st.sampled_from(INSTRUCTIONS))
@settings(max_examples=40, deadline=None)
def test_speed_and_acceleration_are_bounded(start, instruction):
    path = EXPERT.path(start, EXPERT.goal(instruction, CENTRES), steps=90, dt=DT)
    velocities = np.diff(path, axis=0) / DT
    assert np.abs(velocities).max() <= SPEED + 1e-9
    assert np.abs(np.diff(velocities, axis=0) / DT).max() < 25.0
    assert (path >= ARM.limits[:, 0]).all()
    assert (path <= ARM.limits[:, 1]).all()


@given(anywhere)
@settings(max_examples=20, deadline=None)
def test_the_first_command_leads_the_measured_state_by_the_servo_lag(start):
    goal = EXPERT.goal("touch the red cube", CENTRES)
    lead = EXPERT.path(start, goal)[0] - start
    inside = np.clip(start + SERVO_LAG * EXPERT.velocity(start, goal), *ARM.limits.T)
    np.testing.assert_allclose(lead, inside - start, atol=1e-12)


def test_a_batch_of_states_gives_the_same_paths_as_one_by_one():
    rng = np.random.default_rng(0)
    starts = rng.uniform(*ARM.limits.T, (7, 6))
    goal = EXPERT.goal("touch the blue cube", CENTRES)
    together = EXPERT.path(starts, goal)
    assert together.shape == (7, 16, 6)
    for start, path in zip(starts, together, strict=True):
        np.testing.assert_allclose(EXPERT.path(start, goal), path, atol=1e-12)


def test_a_cube_out_of_reach_is_an_error():
    with pytest.raises(ValueError, match="cannot reach"):
        EXPERT.goal("touch the red cube", {"red": np.array([0.7, 0.0, 0.015])})


def test_replanning_with_lagging_servos_it_reaches_each_cube_and_moves_none():
    arm = SimulatedArm()
    arm.reset(cubes=place_cubes(np.random.default_rng(1)))
    before = arm.cubes
    order = [INSTRUCTIONS[i] for i in (0, 2, 1, 0, 1, 2, 3, 1)]
    for instruction in order:
        goal = EXPERT.goal(instruction, arm.cubes)
        for _ in range(15):
            path = EXPERT.path(arm.positions, goal, steps=8)
            for cycle in range(50):
                at = cycle * 0.004 / DT
                row = int(at)
                arm.command(path[row] + (at - row) * (path[row + 1] - path[row]))
                arm.step()
        colour = instructed_cube(instruction)
        if colour:
            assert distance_to_cube(arm.grasp_point, arm.cubes, colour) < 0.028
    for colour in CUBES:
        np.testing.assert_allclose(arm.cubes[colour], before[colour], atol=5e-4)


KINEMATICS = InverseKinematics(ARM.model)


@given(st.floats(0.14, 0.26), st.floats(-1.2, 1.2), st.floats(0.04, 0.12), st.floats(0.9, 1.3))
@settings(max_examples=60, deadline=None)
def test_the_grasp_point_reaches_any_point_in_front_of_the_arm(distance, pan, height, pitch):
    point = np.array([distance * np.cos(pan), distance * np.sin(pan), height])
    joints = KINEMATICS.reach(point, pitch)
    ARM.place_joints([*joints, 0.0, 0.2])
    np.testing.assert_allclose(ARM.grasp_point, point, atol=1e-3)
    assert joints[1:].sum() == pytest.approx(pitch, abs=0.02)
    assert (joints >= ARM.limits[:4, 0]).all()
    assert (joints <= ARM.limits[:4, 1]).all()


@pytest.mark.parametrize("point", [(0.6, 0.0, 0.05), (0.0, 0.0, 0.8)])
def test_a_point_out_of_reach_is_an_error_that_names_it(point):
    with pytest.raises(Unreachable, match=r"cannot reach \["):
        KINEMATICS.reach(point, 1.3)
