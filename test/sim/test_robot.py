# SPDX-License-Identifier: Apache-2.0
"""Contract, controllers and arm together."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.so101 import CUBES, HOME, JOINTS

from groot_ros.robot import load_contract
from groot_ros.sim import SimulatedArm
from groot_ros.sim.robot import SimulatedRobot
from groot_ros.sim.trajectory import TrajectoryMessage, TrajectoryPoint, TrajectoryRejected

CONTRACT = load_contract(Path(__file__).parents[2] / "config/robots/so101.yaml")
START = 1_000_000_000
ARM = CONTRACT.controllers[0].joints


@pytest.fixture
def robot():
    return SimulatedRobot(CONTRACT, START)


def run(robot, seconds):
    for _ in range(round(seconds * 1e9 / robot.period_ns)):
        robot.cycle()


def go_to(joints, positions, seconds=0.5):
    point = TrajectoryPoint(int(seconds * 1e9), tuple(positions), (0.0,) * len(joints))
    return TrajectoryMessage(0, joints, [point])


def test_without_commands_it_stays_at_home_while_time_continues(robot):
    run(robot, 0.5)
    assert robot.now_ns == START + 500_000_000
    reading = robot.reading(JOINTS)
    assert reading.stamp_ns == robot.now_ns
    np.testing.assert_allclose(reading.positions, HOME, atol=0.004)


def test_each_controller_moves_only_its_joints(robot):
    robot.accept_trajectory("arm_controller", go_to(ARM, [0.5, -0.5, 0.3, 1.0, 0.4]))
    run(robot, 1.5)
    reached = robot.reading(JOINTS).positions
    np.testing.assert_allclose(reached, [0.5, -0.5, 0.3, 1.0, 0.4, HOME[5]], atol=0.004)
    robot.accept_trajectory("gripper_controller", go_to(("gripper",), [1.0]))
    run(robot, 1.5)
    assert robot.reading(("gripper",)).positions == pytest.approx(1.0, abs=0.004)


def test_a_reading_has_the_requested_joints_in_their_order(robot):
    reading = robot.reading(("gripper", "elbow_flex"))
    assert reading.names == ("gripper", "elbow_flex")
    np.testing.assert_allclose(reading.positions, HOME[[5, 2]], atol=1e-6)
    assert reading.velocities.shape == reading.efforts.shape == (2,)


def test_a_rejected_trajectory_moves_nothing(robot):
    with pytest.raises(TrajectoryRejected, match="don't match the controller joints"):
        robot.accept_trajectory("arm_controller", go_to(("gripper",), [1.0]))
    run(robot, 0.3)
    np.testing.assert_allclose(robot.reading(JOINTS).positions, HOME, atol=0.004)


def test_a_forward_controller_gets_values():
    forward = replace(CONTRACT.controllers[1], type="forward_command_controller")
    contract = replace(CONTRACT, controllers=(CONTRACT.controllers[0], forward))
    robot = SimulatedRobot(contract, START)
    robot.accept_values("gripper_controller", [0.8])
    with pytest.raises(ValueError, match="command size"):
        robot.accept_values("gripper_controller", [0.8, 0.9])
    run(robot, 1.0)
    assert robot.reading(("gripper",)).positions == pytest.approx(0.8, abs=0.004)


def test_humble_accepts_a_moving_end_and_jazzy_does_not():
    moving = TrajectoryMessage(0, ("gripper",), [TrajectoryPoint(100_000_000, (0.3,), (1.0,))])
    SimulatedRobot(CONTRACT, START, distro="humble").accept_trajectory("gripper_controller", moving)
    with pytest.raises(TrajectoryRejected, match="is not zero"):
        SimulatedRobot(CONTRACT, START).accept_trajectory("gripper_controller", moving)


def test_a_reset_goes_home_drops_the_trajectory_and_moves_the_cubes(robot):
    robot.accept_trajectory("arm_controller", go_to(ARM, [0.5, -0.5, 0.3, 1.0, 0.4], 2.0))
    run(robot, 1.0)
    before, cubes = robot.now_ns, robot.cubes
    robot.reset()
    run(robot, 0.2)
    assert robot.now_ns == before + 200_000_000
    np.testing.assert_allclose(robot.reading(JOINTS).positions, HOME, atol=0.004)
    assert max(np.linalg.norm(robot.cubes[c] - cubes[c]) for c in CUBES) > 0.001


def test_the_seed_determines_the_places_of_the_cubes():
    for seed in (0, 7):
        robot = SimulatedRobot(CONTRACT, START, seed=seed)
        places = SimulatedArm().scattered_cubes(np.random.default_rng(seed))
        for colour, (x, y, _) in places.items():
            np.testing.assert_allclose(robot.cubes[colour][:2], [x, y], atol=1e-9)


def test_after_a_jump_of_the_clock_it_holds_where_it_is(robot):
    robot.accept_trajectory("arm_controller", go_to(ARM, [0.5, -0.5, 0.3, 1.0, 0.4], 1.0))
    run(robot, 0.5)
    robot.jump_to(START + 60_000_000_000)
    here = robot.reading(JOINTS).positions
    run(robot, 1.0)
    assert robot.now_ns == START + 61_000_000_000
    np.testing.assert_allclose(robot.reading(JOINTS).positions, here, atol=0.05)


def test_a_joint_that_the_model_does_not_have_is_named():
    strange = replace(CONTRACT.controllers[0], joints=("shoulder_pan", "tail"))
    contract = replace(CONTRACT, controllers=(strange,))
    with pytest.raises(ValueError, match=r"'arm_controller': .* have joint 'tail'"):
        SimulatedRobot(contract, START)
