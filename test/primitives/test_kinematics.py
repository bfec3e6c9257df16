# SPDX-License-Identifier: Apache-2.0
"""Inverse kinematics: accuracy, conventions of the table frame, models, and what is rejected."""

from dataclasses import replace

import mujoco
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from groot_ros.core import MalformedError, ToolPose
from groot_ros.core.share import robot_path
from groot_ros.primitives import ArmKinematics, UnreachableError
from groot_ros.robot import load_contract
from groot_ros.sim.model import RobotModel, model_of
from groot_ros.sim.urdf import model_urdf

ANGLES = st.floats(-60.0, 60.0)
POSES = st.builds(
    lambda x, y, z, yaw, tilt: ToolPose(
        (x, y, z), tuple(Rotation.from_euler("zx", [yaw, tilt], degrees=True).as_quat().tolist())
    ),
    st.floats(0.3, 0.65),
    st.floats(-0.35, 0.35),
    st.floats(0.04, 0.16),
    ANGLES,
    st.floats(-8.0, 8.0),
)


def with_table(contract, **changes):
    return ArmKinematics(replace(contract, table=replace(contract.table, **changes)))


def assert_same(a: ToolPose, b: ToolPose, position: float = 1e-4, angle: float = 1e-3) -> None:
    assert np.linalg.norm(np.subtract(a.position, b.position)) < position
    turned = Rotation.from_quat(a.rotation).inv() * Rotation.from_quat(b.rotation)
    assert turned.magnitude() < angle


@settings(max_examples=25, deadline=None, derandomize=True)
@given(POSES)
def test_a_solution_has_the_pose_and_keeps_the_limits(cup, contract, pose):
    q = cup.solve(pose)
    assert_same(cup.pose(q), pose)
    limits = [contract.joints[name].limits for name in cup.arm]
    assert all(
        j.lower + 0.009 <= value <= j.upper - 0.009 for j, value in zip(limits, q, strict=True)
    )


@settings(max_examples=10, deadline=None, derandomize=True)
@given(POSES)
def test_a_search_is_repeatable_and_stays_at_a_solution(cup, pose):
    q = cup.solve(pose)
    np.testing.assert_array_equal(cup.solve(pose), q)
    np.testing.assert_allclose(cup.solve(pose, q), q, atol=1e-6)


@settings(max_examples=10, deadline=None, derandomize=True)
@given(POSES, st.floats(-180.0, 180.0))
def test_with_any_yaw_only_position_and_tilt_of_the_pose_count(cup, pose, turn):
    turned = Rotation.from_quat(pose.rotation) * Rotation.from_euler("z", turn, degrees=True)
    found = cup.pose(cup.solve(replace(pose, rotation=tuple(turned.as_quat())), any_yaw=True))
    assert np.linalg.norm(np.subtract(found.position, pose.position)) < 1e-4
    axis = [Rotation.from_quat(p.rotation).apply([0.0, 0.0, 1.0]) for p in (found, pose)]
    assert np.linalg.norm(axis[0] - axis[1]) < 1e-3


def test_way_points_on_a_line_are_followed_without_a_jump(cup):
    begin = ToolPose((0.35, -0.3, 0.05))
    way = [ToolPose((0.35 + 0.01 * i, -0.3 + 0.02 * i / 2, 0.05)) for i in range(1, 26)]
    rows = cup.follow(way, cup.solve(begin))
    for q, pose in zip(rows, way, strict=True):
        assert_same(cup.pose(q), pose)
    assert np.abs(np.diff(rows, axis=0)).max() < 0.1


def test_a_way_point_in_another_posture_is_rejected(cup):
    far = ToolPose((0.5, 0.3, 0.1))
    with pytest.raises(UnreachableError, match=r"pose x 0\.500, y 0\.300.*joint_\d would jump by"):
        cup.follow([far], cup.solve(ToolPose((0.5, -0.3, 0.1))))


def test_the_table_frame_is_the_base_frame_at_the_height_of_the_surface(contract):
    q = with_table(contract).home
    low, high = (with_table(contract, height=z).pose(q).position for z in (0.0, 0.1))
    assert low == pytest.approx((0.44, 0.0, 0.337), abs=1e-3)
    assert np.subtract(low, high) == pytest.approx([0.0, 0.0, 0.1])
    clearance = with_table(contract, height=0.1).clearance(q)
    assert clearance == pytest.approx(with_table(contract).clearance(q) - 0.1)


@pytest.mark.parametrize(
    ("axis", "turned"), [("z", (1.0, 0.0, 0.0, 0.0)), ("x", (0.0, -0.70711, 0.0, 0.70711))]
)
def test_the_identity_points_straight_down_along_the_axis_of_the_tool(contract, axis, turned):
    # At home the frame of the tool is parallel to that of the table, and its -z points down.
    assert with_table(contract).pose(with_table(contract).home).rotation == pytest.approx(
        (0.0, 0.0, 0.0, 1.0), abs=1e-4
    )
    other = with_table(contract, tool_axis=axis)
    found = Rotation.from_quat(other.pose(other.home).rotation)
    assert (found.inv() * Rotation.from_quat(turned)).magnitude() == pytest.approx(0, abs=1e-3)


def test_the_lowest_part_at_the_surface_is_the_mouth_of_the_cup(cup):
    for z in (0.0, 0.04):
        assert cup.clearance(cup.solve(ToolPose((0.5, 0.0, z)))) == pytest.approx(z, abs=1e-3)


def test_a_urdf_of_the_same_arm_gives_the_same_poses(contract, tmp_path):
    path = tmp_path / "arm.urdf"
    path.write_text(model_urdf("arm", RobotModel.load(model_of(contract))))
    table = replace(contract.table, tool="flange")
    urdf = ArmKinematics(replace(contract, model=None, urdf=path, table=table))
    mjcf = ArmKinematics(replace(contract, table=table))
    assert urdf.arm == mjcf.arm
    q = mjcf.home + 0.1
    assert_same(urdf.pose(q), mjcf.pose(q), 1e-6, 1e-6)
    pose = ToolPose((0.5, 0.1, 0.2))
    assert_same(urdf.pose(urdf.solve(pose)), pose)


def test_tighter_limits_of_the_contract_hold(contract, cup):
    pose = ToolPose((0.35, 0.0, 0.02))
    joint = contract.joints["joint_4"]
    assert cup.solve(pose)[3] < -2.0
    tight = replace(joint, limits=replace(joint.limits, lower=-2.0))
    kinematics = ArmKinematics(replace(contract, joints={**contract.joints, "joint_4": tight}))
    assert kinematics.solve(ToolPose((0.65, 0.0, 0.16)))[3] > -2.0
    with pytest.raises(UnreachableError, match=r"with .*joint_4.* at the limit"):
        kinematics.solve(pose)


def test_a_pose_out_of_reach_is_named_with_the_distance(cup):
    with pytest.raises(UnreachableError) as error:
        cup.solve(ToolPose((1.2, 0.0, 0.1)))
    assert "pose x 1.200, y 0.000, z 0.100 m" in str(error.value)
    assert "the tool comes no nearer than" in str(error.value)


def test_a_pose_must_be_finite_and_have_a_rotation():
    with pytest.raises(MalformedError, match="is not finite"):
        ToolPose((0.1, float("nan"), 0.0))
    with pytest.raises(MalformedError, match="quaternion of length 0"):
        ToolPose((0.1, 0.2, 0.0), (0.0, 0.0, 0.0, 0.0))
    assert ToolPose((0, 0, 0), (0.0, 0.0, 2.0, 0.0)).rotation == (0.0, 0.0, 1.0, 0.0)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda c: replace(c, table=None), "'arm7_suction' has no table"),
        (lambda c: replace(c, model=None), "has no model: name an MJCF with 'model'"),
        (
            lambda c: replace(c, table=replace(c.table, tool="tip")),
            "has neither a site nor a body 'tip'",
        ),
        (
            lambda c: replace(c, table=replace(c.table, tool="world")),
            "no joint moves 'world'",
        ),
        (
            lambda c: replace(c, joints={n: j for n, j in c.joints.items() if n != "joint_2"}),
            "joint 'joint_2' is between the base and the tool",
        ),
        (
            lambda c: replace(c, action_groups={"hand": c.action_groups["hand"]}),
            "joint_1, .*joint_7 of robot 'arm7_suction' are between the base and the tool",
        ),
    ],
)
def test_a_model_that_does_not_fit_the_contract_is_an_error_of_one_line(contract, change, reason):
    with pytest.raises(ValueError, match=reason) as error:
        ArmKinematics(change(contract))
    assert "\n" not in str(error.value)


def test_a_file_that_is_no_model_is_an_error_that_names_it(contract, tmp_path):
    path = tmp_path / "arm.xml"
    path.write_text("<mujoco>")
    with pytest.raises(ValueError, match=r"arm.xml: is not a model of MuJoCo: "):
        ArmKinematics(replace(contract, model=path))


def test_a_robot_with_two_grippers_is_refused(contract):
    robot = load_contract(robot_path("bimanual"))
    model = mujoco.MjModel.from_xml_path(str(robot.model))
    hand = next(name for i in range(model.nbody) if "flange" in (name := model.body(i).name))
    with pytest.raises(ValueError, match="'bimanual' commands several grippers"):
        ArmKinematics(replace(robot, table=replace(contract.table, tool=hand)))


def test_a_urdf_with_meshes_in_other_packages_and_links_without_masses_is_read(contract, tmp_path):
    mesh = '<geometry><mesh filename="package://arm/a.dae"/></geometry>'
    links = "".join(
        f'<joint name="joint_{i}" type="revolute"><parent link="link_{i - 1}"/>'
        f'<child link="link_{i}"/><axis xyz="0 {i % 2} {1 - i % 2}"/><origin xyz="0 0 0.1"/>'
        '<limit lower="-2" upper="2" effort="1" velocity="1"/></joint>'
        f'<link name="link_{i}"><collision>{mesh}</collision></link>'
        for i in range(1, 8)
    )
    tool = (
        '<link name="tool0"/><joint name="fixed" type="fixed"><parent link="link_7"/>'
        '<child link="tool0"/><origin xyz="0 0 0.2"/></joint>'
    )
    path = tmp_path / "arm.urdf"
    path.write_text(f'<robot name="arm"><link name="link_0"/>{links}{tool}</robot>')
    table = replace(contract.table, tool="tool0", tool_axis="z")
    kinematics = ArmKinematics(replace(contract, model=path, table=table))
    upright = kinematics.pose(np.zeros(7))
    assert upright.position == pytest.approx((0.0, 0.0, 0.9))
    # Without a key frame, rest is the middle of the contract's limits.
    assert kinematics.home[0] == pytest.approx(0.0)
    assert kinematics.home[5] == pytest.approx((3.75 - 0.01) / 2)
