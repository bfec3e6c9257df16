# SPDX-License-Identifier: Apache-2.0
"""The simulated arm: limits of the contract, servos with lag, little sag under gravity."""

from pathlib import Path

import numpy as np
import pytest
from support.so101 import CUBES, HOME, JOINTS

from groot_ros.robot import load_contract
from groot_ros.sim import SimulatedArm

CONTRACT = Path(__file__).parents[2] / "config/robots/so101.yaml"


@pytest.fixture
def arm():
    return SimulatedArm()


def run(arm, seconds):
    for _ in range(round(seconds / 0.004)):
        arm.step()


def test_joints_and_limits_are_those_of_the_robot_contract(arm):
    contract = load_contract(CONTRACT)
    assert contract.joint_names == JOINTS
    for name, (lower, upper) in zip(JOINTS, arm.limits, strict=True):
        assert contract.joints[name].limits.lower == pytest.approx(lower)
        assert contract.joints[name].limits.upper == pytest.approx(upper)


def test_the_stretched_arm_sags_by_less_than_5_mrad(arm):
    stretched = np.array([0.0, 1.4, -1.2, 0.0, 0.0, 0.2])
    arm.reset(stretched)
    run(arm, 2.0)
    sag = np.abs(arm.positions - stretched)
    assert 0.0005 < sag.max() < 0.005
    assert np.abs(arm.velocities).max() < 1e-3


@pytest.mark.parametrize("joint", range(6))
def test_each_servo_follows_a_ramp_about_50_ms_late(arm, joint):
    arm.reset(np.array([0.0, 0.0, 0.0, 0.5, 0.0, 0.2]))
    start = arm.positions
    for cycle in range(125):
        target = start.copy()
        target[joint] += 1.0 * 0.004 * cycle
        arm.command(target)
        arm.step()
    assert target[joint] - arm.positions[joint] == pytest.approx(0.054, abs=0.008)


@pytest.mark.parametrize("joint", range(6))
def test_a_step_response_has_no_overshoot(arm, joint):
    start = arm.positions
    target = start.copy()
    target[joint] += 0.2
    arm.command(target)
    reached = []
    for _ in range(150):
        arm.step()
        reached.append(arm.positions[joint] - start[joint])
    assert max(reached) < 0.2 * 1.02
    assert reached[-1] == pytest.approx(0.2, abs=0.003)


def test_commands_beyond_the_limits_stop_at_the_limits(arm):
    arm.command(np.full(6, 9.0))
    run(arm, 3.0)
    assert (arm.positions <= arm.limits[:, 1] + 0.01).all()
    assert arm.positions[0] == pytest.approx(arm.limits[0, 1], abs=0.01)


def test_a_command_that_is_not_finite_moves_nothing_and_leaves_the_other_joints(arm):
    target = np.array([np.nan, np.inf, HOME[2], HOME[3], 0.3, HOME[5]])
    arm.command(target)
    run(arm, 1.0)
    np.testing.assert_allclose(arm.positions, [*HOME[:4], 0.3, HOME[5]], atol=0.005)


def test_the_cubes_stay_where_they_are_placed(arm):
    places = arm.scattered_cubes(np.random.default_rng(3))
    arm.reset(cubes=places)
    run(arm, 1.0)
    for colour in CUBES:
        np.testing.assert_allclose(arm.cubes[colour][:2], places[colour][:2], atol=1e-3)
        assert arm.cubes[colour][2] == pytest.approx(0.015, abs=1e-3)


def test_a_reset_repeats_the_motion_bit_for_bit(arm):
    def swing():
        arm.reset()
        arm.command(HOME + 0.2)
        run(arm, 0.2)
        return arm.positions

    first, time_ns = swing(), arm.time_ns
    assert (swing() == first).all()
    assert time_ns == arm.time_ns == 200_000_000


@pytest.mark.parametrize("rate", [50.0, 250.0, 300.0, 1000.0])
def test_any_control_rate_gives_the_same_motion(rate):
    arm = SimulatedArm(1 / rate)
    arm.command([0.3, *HOME[1:]])
    for _ in range(round(rate * 0.1)):
        arm.step()
    assert arm.time_ns == pytest.approx(100_000_000, abs=100)
    assert arm.positions[0] == pytest.approx(0.265, abs=0.006)
