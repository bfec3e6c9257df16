# SPDX-License-Identifier: Apache-2.0
"""The hand of the SO-101: frames as published, and joint positions that bring it to a pose."""

import mujoco
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from groot_ros.core.share import robot_path
from groot_ros.robot import load_contract
from groot_ros.sim.hand_kinematics import ARM_JOINTS, HandKinematics, HandPose
from groot_ros.sim.table import MODEL, PAN_AXIS, ROBOT

KINEMATICS = HandKinematics(MODEL.mujoco, "grasp")
START = MODEL.home[:5]
DOWN = np.pi / 2


def test_at_zero_the_joints_lie_where_the_published_model_has_them():
    data = mujoco.MjData(MODEL.mujoco)
    mujoco.mj_kinematics(MODEL.mujoco, data)
    anchors = {
        "shoulder_pan": (0.0388, 0.0, 0.0624),
        "shoulder_lift": (0.0692, -0.0183, 0.1166),
        "elbow_flex": (0.0972, -0.0183, 0.2292),
        "wrist_flex": (0.2321, -0.0183, 0.2344),
        "wrist_roll": (0.2932, -0.0002, 0.2344),
        "gripper": (0.3166, 0.0176, 0.2555),
    }
    axes = {"shoulder_pan": (0, 0, -1), "elbow_flex": (0, 1, 0), "wrist_roll": (-1, 0, 0)}
    for joint, place in anchors.items():
        np.testing.assert_allclose(data.joint(joint).xanchor, place, atol=1e-4)
    for joint, axis in axes.items():
        np.testing.assert_allclose(data.joint(joint).xaxis, axis, atol=1e-6)


def test_limits_and_servos_are_the_published_ones():
    limits = {
        "shoulder_pan": (-1.91986, 1.91986),
        "shoulder_lift": (-1.74533, 1.74533),
        "elbow_flex": (-1.69, 1.69),
        "wrist_flex": (-1.65806, 1.65806),
        "wrist_roll": (-2.74385, 2.84121),
        "gripper": (-0.174533, 1.74533),
    }
    contract = load_contract(robot_path(ROBOT))
    model = MODEL.mujoco
    for i, (joint, limit) in enumerate(limits.items()):
        assert tuple(model.joint(joint).range) == pytest.approx(limit)
        own = contract.joints[joint].limits
        assert (own.lower, own.upper) == pytest.approx(limit)
        assert model.actuator_gainprm[i, 0] == pytest.approx(998.22)
        assert model.actuator_biasprm[i, 1:3] == pytest.approx((-998.22, -2.731))
        assert tuple(model.actuator_forcerange[i]) == (-3.35, 3.35)
        assert model.dof_armature[model.joint(joint).dofadr[0]] == pytest.approx(0.028)


def test_nothing_but_contact_can_hold_an_object():
    assert MODEL.mujoco.neq == 0
    assert not (MODEL.mujoco.geom_gap > 0).any()


@given(st.floats(0.155, 0.27), st.floats(-1.0, 1.0), st.floats(0.017, 0.09), st.floats(-0.5, 0.5))
@settings(max_examples=60, deadline=None)
def test_the_hand_reaches_every_place_where_cubes_lie(distance, angle, height, turn):
    place = PAN_AXIS + distance * np.array([np.cos(angle), np.sin(angle)])
    pose = HandPose(np.array([*place, height]), DOWN, angle + turn)
    joints = KINEMATICS.solve(pose, START, 40)
    reached = KINEMATICS.pose(joints)
    np.testing.assert_allclose(reached.point, pose.point, atol=5e-4)
    assert reached.yaw == pytest.approx(pose.yaw, abs=0.1)
    assert reached.pitch > 1.2
    limits = np.array([MODEL.mujoco.joint(name).range for name in ARM_JOINTS])
    assert (joints >= limits[:, 0]).all()
    assert (joints <= limits[:, 1]).all()


def test_where_the_direction_is_out_of_reach_the_position_is_kept():
    point = np.array([PAN_AXIS[0] + 0.27, 0.0, 0.13])
    reached = KINEMATICS.pose(KINEMATICS.solve(HandPose(point, DOWN, 0.0), START, 40))
    np.testing.assert_allclose(reached.point, point, atol=1e-4)
    assert reached.pitch < 1.4
