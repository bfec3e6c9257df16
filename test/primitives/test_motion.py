# SPDX-License-Identifier: Apache-2.0
"""Pick and place, and push: key points, limits, straight lines, and rejected actions."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from groot_ros.core import ToolPose
from groot_ros.primitives import (
    ArmKinematics,
    JointPath,
    MotionSettings,
    UnreachableError,
    plan_pick_place,
    plan_push,
)
from groot_ros.robot import RobotContract

#: m and rad.
POSITION, ANGLE = 1e-3, np.deg2rad(0.5)
X, Y = (0.3, 0.65), (-0.35, 0.35)
TURNS = st.floats(-150.0, 150.0)
PLACES = st.tuples(st.floats(*X), st.floats(*Y))
#: Deviations of the start from home, rad, for each joint of the arm.
STARTS = st.lists(st.floats(-0.25, 0.25), min_size=7, max_size=7)


def pose(place, turn: float, z: float = 0.04) -> ToolPose:
    angle = np.deg2rad(turn) / 2
    return ToolPose((*place, z), (0.0, 0.0, np.sin(angle), np.cos(angle)))


def start_of(kinematics: ArmKinematics, offsets=0.0) -> dict[str, float]:
    positions = np.append(kinematics.home + offsets, 0.0)
    return dict(zip(kinematics.joints, positions.tolist(), strict=True))


def tool_at(kinematics: ArmKinematics, path: JointPath, time: float) -> ToolPose:
    row = path.sample(time, 0.0, 1)[0]
    return kinematics.pose([row[path.joints.index(name)] for name in kinematics.arm])


def rotation(of: ToolPose) -> Rotation:
    return Rotation.from_quat(of.rotation)


def apart(a: ToolPose, b: ToolPose) -> tuple[float, float]:
    """Distance, m, and angle, rad, between two poses."""
    distance = float(np.linalg.norm(np.subtract(a.position, b.position)))
    return distance, float((rotation(a).inv() * rotation(b)).magnitude())


def assert_within_limits(path: JointPath, contract: RobotContract, share: MotionSettings) -> None:
    limits = [contract.joints[name].limits for name in path.joints]
    lower, upper = np.array([(j.lower, j.upper) for j in limits]).T
    assert (path.positions >= lower - 1e-9).all()
    assert (path.positions <= upper + 1e-9).all()
    steps = np.diff(path.times)
    velocity = np.diff(path.positions, axis=0) / steps[:, None]
    most = np.abs(velocity) / [j.velocity for j in limits]
    assert most.max() <= share.speed * 1.001
    middle = (steps[1:] + steps[:-1])[:, None] / 2
    acceleration = np.abs(np.diff(velocity, axis=0) / middle) / [j.acceleration for j in limits]
    assert acceleration.max() <= share.acceleration * 1.05


@settings(max_examples=15, deadline=None, derandomize=True)
@given(PLACES, PLACES, TURNS, STARTS)
def test_a_path_passes_both_poses_within_the_limits_from_the_exact_start(
    cup, contract, pick, place, turn, offsets
):
    start = start_of(cup, offsets)
    poses = {"pick": pose(pick, 0.0), "place": pose(place, turn)}
    path = plan_pick_place(cup, start, poses["pick"], poses["place"])
    assert path.joints == cup.joints
    assert path.positions[0].tolist() == [start[name] for name in path.joints]
    assert path.times[0] == 0.0
    assert (np.diff(path.times) > 0).all()
    reached = {name: tool_at(cup, path, path.marks[name]) for name in poses}
    for name, expected in poses.items():
        assert np.linalg.norm(np.subtract(reached[name].position, expected.position)) < POSITION
        over = tool_at(cup, path, path.marks[f"above_{name}"])
        above = (*expected.position[:2], contract.table.approach)
        assert np.linalg.norm(np.subtract(over.position, above)) < POSITION
        # A suction cup may be turned about its axis, but not tilted.
        assert np.hypot(*reached[name].rotation[:2]) < ANGLE / 2
    moved = rotation(reached["place"]) * rotation(reached["pick"]).inv()
    asked = rotation(poses["place"]) * rotation(poses["pick"]).inv()
    assert (moved.inv() * asked).magnitude() < ANGLE
    assert_within_limits(path, contract, MotionSettings())


@settings(max_examples=10, deadline=None, derandomize=True)
@given(PLACES, PLACES, st.floats(-60.0, 60.0), st.floats(-60.0, 60.0))
def test_a_tool_that_may_not_be_turned_reaches_both_poses_with_their_rotation(
    hand, pick, place, first, second
):
    poses = {"pick": pose(pick, first), "place": pose(place, second)}
    path = plan_pick_place(hand, start_of(hand), poses["pick"], poses["place"])
    for name, expected in poses.items():
        distance, angle = apart(tool_at(hand, path, path.marks[name]), expected)
        assert distance < POSITION
        assert angle < ANGLE


@settings(max_examples=10, deadline=None, derandomize=True)
@given(PLACES, PLACES, TURNS)
def test_the_tool_moves_straight_down_and_up_and_does_not_turn_on_the_way(cup, pick, place, turn):
    path = plan_pick_place(cup, start_of(cup), pose(pick, 0.0), pose(place, turn))
    marks = path.marks
    for name, point in (("pick", pick), ("place", place)):
        begin, end = marks[f"above_{name}"], marks[name]
        for time in np.linspace(begin, end, 60):
            tool = tool_at(cup, path, time)
            assert np.linalg.norm(np.subtract(tool.position[:2], point)) < 0.002
            assert apart(tool, tool_at(cup, path, begin))[1] < np.deg2rad(1.0)
    up = [tool_at(cup, path, time) for time in np.linspace(marks["place"], path.duration, 60)]
    assert max(np.linalg.norm(np.subtract(t.position[:2], place)) for t in up) < 0.002
    assert up[-1].position[2] == pytest.approx(0.16, abs=POSITION)


@settings(max_examples=10, deadline=None, derandomize=True)
@given(PLACES, PLACES, st.integers(1, 40), st.floats(0.01, 0.2))
def test_chunks_that_are_sampled_one_after_another_are_the_whole_path(cup, pick, place, steps, dt):
    path = plan_pick_place(cup, start_of(cup), pose(pick, 0.0), pose(place, 0.0))
    count = int(path.duration / dt) + 2
    chunks = [path.sample(i * dt, dt, steps) for i in range(0, count, steps)]
    whole = path.sample(0.0, dt, len(chunks) * steps)
    np.testing.assert_allclose(np.concatenate(chunks), whole, atol=1e-9)
    np.testing.assert_array_equal(whole[0], path.positions[0])
    np.testing.assert_array_equal(whole[-1], path.positions[-1])
    rows = path.sample(path.times[7], 0.0, 1)
    np.testing.assert_allclose(rows[0], path.positions[7], atol=1e-12)


def test_the_cup_sucks_only_from_pick_to_place_and_the_arm_rests_while_it_switches(cup):
    path = plan_pick_place(cup, start_of(cup), pose((0.4, 0.1), 0.0), pose((0.6, -0.2), 90.0))
    valve = path.positions[:, path.joints.index("hand_suction_cup")]
    arm = path.positions[:, [path.joints.index(name) for name in cup.arm]]
    switching = np.flatnonzero(np.diff(valve))
    assert path.times[switching[0]] >= path.marks["pick"] + 0.25 - 1e-9
    assert np.abs(np.diff(arm, axis=0))[switching].max() == 0.0
    on = path.times[valve == 1.0]
    assert path.marks["pick"] < on[0] < path.marks["above_place"] < path.marks["place"] < on[-1]
    assert on[-1] < path.marks["place"] + 0.6
    assert valve[0] == valve[-1] == 0.0


def test_the_next_action_begins_where_the_last_one_ended(cup):
    start = start_of(cup)
    for place in ((0.6, 0.3), (0.35, -0.3), (0.5, 0.0)):
        path = plan_pick_place(cup, start, pose((0.45, 0.1), 0.0), pose(place, 45.0))
        assert path.positions[0].tolist() == [start[name] for name in path.joints]
        start = dict(zip(path.joints, path.positions[-1].tolist(), strict=True))


def test_a_tool_that_starts_low_is_lifted_straight_up_first(cup):
    low = cup.solve(pose((0.5, 0.2), 0.0, z=0.05))
    start = {**start_of(cup), **dict(zip(cup.arm, low.tolist(), strict=True))}
    path = plan_pick_place(cup, start, pose((0.4, -0.1), 0.0), pose((0.6, -0.2), 0.0))
    for time in np.linspace(0.0, path.marks["above_start"], 30):
        tool = tool_at(cup, path, time)
        assert np.linalg.norm(np.subtract(tool.position[:2], (0.5, 0.2))) < 0.002
    assert tool.position[2] == pytest.approx(0.16, abs=POSITION)


@settings(max_examples=10, deadline=None, derandomize=True)
@given(PLACES, PLACES)
def test_a_push_is_a_straight_line_at_one_height_and_does_not_switch_the_valve(
    cup, contract, begin, end
):
    z = contract.table.push_height
    path = plan_push(cup, start_of(cup), pose(begin, 0.0, z), pose(end, 0.0, z))
    along = np.subtract(end, begin)
    length = float(np.linalg.norm(along))
    for time in np.linspace(path.marks["begin"], path.marks["end"], 60):
        tool = tool_at(cup, path, time)
        offset = np.subtract(tool.position[:2], begin)
        across = np.cross([*along, 0.0], [*offset, 0.0])[2] / max(length, 1e-9)
        assert abs(across) < 0.002
        assert tool.position[2] == pytest.approx(z, abs=0.002)
    assert apart(tool, tool_at(cup, path, path.marks["begin"]))[0] == pytest.approx(
        length, abs=POSITION
    )
    assert not path.positions[:, path.joints.index("hand_suction_cup")].any()
    assert_within_limits(path, contract, MotionSettings())


def test_the_tool_is_never_faster_than_tool_speed_on_straight_lines(cup):
    limit = MotionSettings(tool_speed=0.1)
    path = plan_pick_place(cup, start_of(cup), pose((0.4, 0.1), 0.0), pose((0.5, 0.0), 0.0), limit)
    times = np.arange(path.marks["above_pick"], path.marks["pick"], 0.01)
    heights = np.array([tool_at(cup, path, t).position[2] for t in times])
    assert 0.09 < np.abs(np.diff(heights)).max() / 0.01 < 0.101


@pytest.mark.parametrize(
    ("pick", "place", "reason"),
    [
        (pose((0.2, 0.0), 0.0), pose((0.5, 0.0), 0.0), r"pick: pose x 0\.200.* x is outside \[0.3"),
        (pose((0.5, 0.0), 0.0), pose((0.5, 0.4), 0.0), r"place: pose .* y 0\.400.* y is outside"),
        (pose((0.5, 0.0), 0.0, 0.3), pose((0.5, 0.1), 0.0), r"z is outside \[0, 0.16\]"),
        (
            ToolPose((0.5, 0.0, 0.04), (1.0, 0.0, 0.0, 0.0)),
            pose((0.5, 0.1), 0.0),
            r"pick: pose .*(out of reach|below the surface)",
        ),
        (
            ToolPose((0.5, 0.0, 0.0), (0.0, np.sin(0.6), 0.0, np.cos(0.6))),
            pose((0.5, 0.1), 0.0),
            r"pick: pose .*(below the surface of the table|out of reach)",
        ),
    ],
)
def test_an_action_that_is_impossible_is_rejected_with_pose_and_reason(cup, pick, place, reason):
    with pytest.raises(UnreachableError, match=reason) as error:
        plan_pick_place(cup, start_of(cup), pick, place)
    assert "\n" not in str(error.value)


def test_a_pose_out_of_reach_is_rejected_with_the_distance_that_is_missing(contract):
    wide = ArmKinematics(replace(contract, table=replace(contract.table, x=(0.25, 0.9))))
    with pytest.raises(UnreachableError, match=r"^place: pose x 0\.880.*than \d+ mm"):
        plan_pick_place(wide, start_of(wide), pose((0.5, 0.0), 0.0), pose((0.88, 0.0), 0.0))


def test_the_start_must_have_all_joints(cup):
    start = start_of(cup)
    del start["joint_3"]
    with pytest.raises(ValueError, match="the start has no position of joint_3"):
        plan_push(cup, start, pose((0.4, 0.0), 0.0), pose((0.5, 0.0), 0.0))


def test_a_robot_without_a_gripper_pushes_but_does_not_pick(contract):
    joint = contract.joints["hand_suction_cup"]
    joints = {**contract.joints, joint.name: replace(joint, gripper=None)}
    stick = ArmKinematics(replace(contract, joints=joints))
    assert stick.gripper is None
    plan_push(stick, start_of(stick), pose((0.4, 0.0), 0.0), pose((0.5, 0.0), 0.0))
    with pytest.raises(ValueError, match="'arm7_suction' commands no gripper"):
        plan_pick_place(stick, start_of(stick), pose((0.4, 0.0), 0.0), pose((0.5, 0.0), 0.0))
