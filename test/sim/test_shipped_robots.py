# SPDX-License-Identifier: Apache-2.0
"""Every robot that ships: its contract fits its model, its servos settle, its hands hold cubes."""

from dataclasses import replace
from itertools import combinations
from pathlib import Path

import mujoco
import numpy as np
import pytest

from groot_ros.robot import load_contract
from groot_ros.sim import SimulatedArm
from groot_ros.sim.model import RobotModel, model_of, shipped_model
from groot_ros.sim.robot import SimulatedRobot
from groot_ros.sim.trajectory import TrajectoryMessage, TrajectoryPoint

FOLDER = Path(__file__).parents[2] / "config/robots"
ROBOTS = sorted(path.stem for path in FOLDER.glob("*.yaml"))
ARMS = ("arm7", "arm7_suction", "bimanual", "ur5e_robotiq")
PERIOD = 0.004
#: Joints 1 to 7 with the hand 0.45 m in front of the base, pointing down, by height of the
#: grasp point over the table, m.
OVER_CUBE = {
    0.16: (0.0, 0.0524, 0.0, -2.5514, 0.0, 2.6038, 0.0),
    0.04: (0.0, 0.4016, 0.0, -2.5192, 0.0, 2.9208, 0.0),
    0.02: (0.0, 0.4647, 0.0, -2.5015, 0.0, 2.9662, 0.0),
}
UNDER_HAND = {"red": (0.45, 0.0, 0.0), "green": (0.45, 0.3, 0.0)}
OPEN, CLOSED = 0.04, 0.0


def contract(robot):
    return load_contract(FOLDER / f"{robot}.yaml")


def simulated(robot, **options):
    return SimulatedArm(PERIOD, shipped_model(robot), **options)


def run(arm, seconds):
    for _ in range(round(seconds / PERIOD)):
        arm.step()


def move(arm, target, seconds=1.0):
    """Move the set points there in a straight line, and let the servos settle."""
    start = arm.positions
    steps = round(seconds / PERIOD)
    for i in range(steps):
        arm.command(start + (i + 1) / steps * (np.asarray(target) - start))
        arm.step()
    run(arm, 0.4)


def test_the_shipped_robots_are_these():
    assert ROBOTS == [
        "arm7",
        "arm7_suction",
        "arm7_suction_table",
        "bimanual",
        "so101",
        "so101_table",
        "ur5e_robotiq",
    ]


@pytest.mark.parametrize("robot", ROBOTS)
def test_the_contract_has_the_joints_limits_and_cameras_of_its_model(robot):
    expected, model = contract(robot), RobotModel.load(model_of(contract(robot)))
    assert set(expected.joint_names) == set(model.joints)
    for name, (lower, upper) in zip(model.joints, model.limits, strict=True):
        limits = expected.joints[name].limits
        assert (limits.lower, limits.upper) == pytest.approx((lower, upper)), name
    cameras = {model.mujoco.camera(i).name for i in range(model.mujoco.ncam)}
    assert set(expected.cameras) == cameras


@pytest.mark.parametrize("robot", ROBOTS)
def test_home_is_within_the_limits_and_the_robot_stays_there(robot):
    simulation = SimulatedRobot(contract(robot), 1)
    home = RobotModel.load(model_of(contract(robot))).home
    for _ in range(250):
        simulation.cycle()
    reading = simulation.reading(simulation.joints)
    np.testing.assert_allclose(reading.positions, home, atol=0.004)
    assert np.abs(reading.velocities).max() < 0.002


@pytest.mark.parametrize("robot", ARMS)
def test_no_parts_of_a_robot_are_closer_than_1_cm_at_home(robot):
    arm = simulated(robot)
    model, data = arm.model, arm.data
    moving = [g for g in range(model.ngeom) if model.geom_contype[g] == 2]
    pairs = [
        (a, b)
        for a, b in combinations(moving, 2)
        if not _connected(model, model.geom_bodyid[a], model.geom_bodyid[b])
    ]
    assert len(pairs) > 15
    gaps = [mujoco.mj_geomDistance(model, data, a, b, 1.0, None) for a, b in pairs]
    assert min(gaps) > 0.01


def _connected(model, a, b):
    """Return whether at most two joints separate two bodies of one arm."""
    ancestors = []
    for body in (a, b):
        line = [body]
        while line[-1]:
            line.append(model.body_parentid[line[-1]])
        ancestors.append(line)
    first, second = ancestors
    common = next(body for body in first if body in second)
    between = first[: first.index(common)] + second[: second.index(common)]
    return common != 0 and sum(int(model.body_jntnum[body]) for body in between) <= 2


@pytest.mark.parametrize("robot", ARMS)
def test_a_step_of_every_joint_settles_without_overshoot(robot):
    arm = simulated(robot)
    hands = np.ptp(arm.limits, axis=1) < 0.5
    step = np.where(hands, -0.02, 0.15)
    step[[name.endswith("suction_cup") for name in arm.joints]] = 0.0
    start = arm.positions
    arm.command(start + step)
    reached = []
    for _ in range(200):
        arm.step()
        reached.append(arm.positions - start)
    assert (np.max(np.abs(reached), axis=0) <= np.abs(step) * 1.02 + 0.002).all()
    np.testing.assert_allclose(reached[-1], step, atol=0.003)


@pytest.mark.parametrize("robot", ARMS)
def test_a_stretched_arm_sags_by_less_than_5_mrad(robot):
    arm = simulated(robot)
    stretched = arm.home.copy()
    for i, name in enumerate(arm.joints):
        stretched[i] = {"2": 1.2, "4": -0.3, "6": 1.5}.get(name[-1], stretched[i])
    arm.reset(stretched)
    run(arm, 1.5)
    sag = np.abs(arm.positions - stretched)
    assert 0.0005 < sag.max() < 0.005


@pytest.mark.parametrize("robot", ARMS)
def test_commands_beyond_the_limits_stop_at_the_limits(robot):
    arm = simulated(robot)
    arm.command(np.full(len(arm.joints), 9.0))
    run(arm, 2.5)
    assert (arm.positions <= arm.limits[:, 1] + 0.01).all()
    arm.reset()
    arm.command([9.0, *arm.home[1:]])
    run(arm, 2.5)
    assert arm.positions[0] == pytest.approx(arm.limits[0, 1], abs=0.01)


def test_both_fingers_of_a_gripper_move_and_close_in_the_middle():
    arm = simulated("arm7")
    move(arm, [*OVER_CUBE[0.16], OPEN])
    assert arm.data.joint("hand_mirrored_finger").qpos[0] == pytest.approx(0.04, abs=0.001)
    move(arm, [*OVER_CUBE[0.16], CLOSED])
    assert arm.data.joint("hand_mirrored_finger").qpos[0] == pytest.approx(0.0, abs=0.001)


def test_the_gripper_lifts_a_cube_and_stops_at_its_width():
    arm = simulated("arm7")
    arm.reset([*OVER_CUBE[0.16], OPEN], cubes=UNDER_HAND)
    move(arm, [*OVER_CUBE[0.02], OPEN])
    move(arm, [*OVER_CUBE[0.02], CLOSED])
    assert arm.positions[-1] == pytest.approx(0.02, abs=0.002)
    move(arm, [*OVER_CUBE[0.16], CLOSED])
    assert arm.cubes["red"][2] == pytest.approx(0.16, abs=0.005)
    assert arm.cubes["green"][2] == pytest.approx(0.02, abs=0.001)
    move(arm, [*OVER_CUBE[0.16], OPEN])
    assert arm.cubes["red"][2] == pytest.approx(0.02, abs=0.005)


def test_a_suction_cup_lifts_a_cube_only_while_it_is_on():
    heights = []
    for on in (0.0, 1.0):
        arm = simulated("arm7_suction")
        arm.reset([*OVER_CUBE[0.16], 0.0], cubes=UNDER_HAND)
        move(arm, [*OVER_CUBE[0.04], on])
        move(arm, [*OVER_CUBE[0.16], on])
        heights.append(arm.cubes["red"][2])
        assert arm.positions[-1] == on
    assert heights == pytest.approx([0.02, 0.14], abs=0.003)
    move(arm, [*OVER_CUBE[0.16], 0.0])
    assert arm.cubes["red"][2] == pytest.approx(0.02, abs=0.003)


def under_hand(robot):
    """Return the simulated robot with the cubes within reach."""
    simulated = SimulatedRobot(contract(robot), 1)
    simulated.reset(lambda arm: arm.reset(cubes=UNDER_HAND))
    return simulated


def drive(robot, joints, seconds=1.0):
    """Send the arm there by a trajectory of its controller, and wait until it has settled."""
    names = tuple(f"joint_{i}" for i in range(1, 8))
    point = TrajectoryPoint(int(seconds * 1e9), joints, (0.0,) * 7)
    robot.accept_trajectory("arm_controller", TrajectoryMessage(0, names, [point]))
    for _ in range(round((seconds + 0.4) / PERIOD)):
        robot.cycle()


def test_through_its_controllers_a_suction_cup_picks_a_cube_and_drops_it():
    robot = under_hand("arm7_suction")
    drive(robot, OVER_CUBE[0.04], 2.0)
    robot.accept_flag("hand_controller", True)
    drive(robot, OVER_CUBE[0.16])
    assert robot.cubes["red"][2] == pytest.approx(0.14, abs=0.003)
    robot.accept_flag("hand_controller", False)
    drive(robot, OVER_CUBE[0.16])
    assert robot.cubes["red"][2] == pytest.approx(0.02, abs=0.003)


def test_through_its_controllers_a_gripper_stalls_on_a_cube_and_lifts_it():
    robot = under_hand("arm7")
    drive(robot, OVER_CUBE[0.02], 2.0)
    robot.accept_goal("hand_controller", CLOSED)
    drive(robot, OVER_CUBE[0.02], 2.0)
    outcome = robot.goal_outcome("hand_controller")
    assert (outcome.reached_goal, outcome.stalled) == (False, True)
    drive(robot, OVER_CUBE[0.16])
    assert robot.cubes["red"][2] == pytest.approx(0.16, abs=0.005)


def test_the_cubes_of_a_robot_without_a_task_lie_near_the_places_of_its_model():
    model = RobotModel.load(shipped_model("bimanual"))
    usual = {c: model.mujoco.body(f"{c}_cube").pos[:2] for c in model.cubes}
    placed = [SimulatedRobot(contract("bimanual"), 1, seed=seed).cubes for seed in (3, 3, 4)]
    assert sorted(usual) == ["blue", "green", "red"]
    for colour, place in usual.items():
        off = placed[0][colour][:2] - place
        assert 0.0 < np.abs(off).max() <= 0.0101
        assert (placed[0][colour] == placed[1][colour]).all()
        assert (placed[0][colour] != placed[2][colour]).any()


def test_an_unknown_robot_is_an_error_that_lists_the_robots():
    with pytest.raises(ValueError, match=r"no simulated robot 'ur5e' \(there are: arm7, arm7_s"):
        shipped_model("ur5e")


def test_the_model_that_the_contract_names_is_used_and_must_exist():
    renamed = replace(contract("arm7"), robot="mine")
    assert model_of(renamed) == FOLDER / "models/arm7.xml"
    missing = replace(renamed, model=FOLDER / "models/no.xml")
    with pytest.raises(ValueError, match=r"model '.*no.xml' of robot 'mine' does not exist"):
        model_of(missing)
    with pytest.raises(ValueError, match="no simulated robot 'mine'"):
        model_of(replace(renamed, model=None))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("<mujoco>", "is not a model of MuJoCo: XML parse error"),
        ("<mujoco/>", "has no actuators"),
        (
            '<mujoco><worldbody><body><joint name="j"/><geom size="1"/></body></worldbody>'
            '<actuator><position joint="j"/></actuator></mujoco>',
            'has no <key name="home"',
        ),
    ],
)
def test_a_model_that_cannot_be_simulated_is_an_error_of_one_line(tmp_path, text, reason):
    path = tmp_path / "robot.xml"
    path.write_text(text)
    with pytest.raises(ValueError, match=reason) as caught:
        RobotModel.load(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_an_endless_joint_and_an_actuator_without_a_filter_are_simulated(tmp_path):
    path = tmp_path / "robot.xml"
    path.write_text(
        '<mujoco><option gravity="0 0 0"/><worldbody><body><joint name="j" damping="1"/>'
        '<geom size="0.1"/></body></worldbody><actuator><position name="j" joint="j" kp="100"/>'
        '</actuator><keyframe><key name="home" ctrl="0.5"/></keyframe></mujoco>'
    )
    arm = SimulatedArm(0.004, path)
    assert arm.positions == pytest.approx([0.5])
    assert arm.limits.tolist() == [[-np.inf, np.inf]]
    arm.command([7.0])
    for _ in range(2000):
        arm.step()
    assert arm.positions == pytest.approx([7.0], abs=0.01)
