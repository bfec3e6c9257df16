# SPDX-License-Identifier: Apache-2.0
"""The URDF made of a simulated robot: its links are where MuJoCo has the bodies."""

import subprocess
import sys
from dataclasses import replace
from xml.etree import ElementTree

import mujoco
import numpy as np
import pytest

from groot_ros.core.share import robot_path, share_directory
from groot_ros.robot import load_contract
from groot_ros.robot.limit_sources import read_urdf
from groot_ros.sim.model import RobotModel, model_of
from groot_ros.sim.urdf import contract_urdf, model_urdf

ROBOTS = sorted(p.stem for p in (share_directory() / "config" / "robots").glob("*.yaml"))
#: A joint whose anchor is not the origin of its body, a body with two joints, a turned body.
ODD = """
<mujoco>
  <worldbody>
    <body name="a" pos="0.1 0.2 0.3" euler="30 40 50">
      <joint name="one" axis="0 1 0" pos="0.05 0 0.02" range="-1 1"/>
      <joint name="two" type="slide" axis="1 0 0" range="-0.1 0.1"/>
      <geom type="sphere" size="0.01"/>
      <body pos="0 0 0.2" euler="0 90 0">
        <joint name="three" axis="0 0 1" pos="0 0.1 0"/>
        <geom type="ellipsoid" size="0.01 0.02 0.03" rgba="1 0 0 1"/>
        <geom type="capsule" size="0.01 0.05" pos="0 0 0.05"/>
      </body>
    </body>
    <body name="cube"><freejoint/><geom type="box" size="0.01 0.01 0.01"/></body>
  </worldbody>
  <actuator>
    <position name="one" joint="one"/>
    <position name="two" joint="two"/>
    <position name="three" joint="three"/>
  </actuator>
  <keyframe><key name="home" ctrl="0 0 0"/></keyframe>
</mujoco>
"""


def numbers(text):
    return np.array([float(word) for word in text.split()])


def rotation(axis, angle):
    """Return the matrix of a rotation about an axis: Rodrigues' formula."""
    x, y, z = np.asarray(axis) / np.linalg.norm(axis)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def fixed_axes(rpy):
    """Return the matrix of roll, pitch and yaw about fixed axes."""
    roll, pitch, yaw = (rotation(axis, angle) for axis, angle in zip(np.eye(3), rpy, strict=True))
    return yaw @ pitch @ roll


def placed_links(text, joints):
    """Return link -> 4x4 pose at these joint positions: forward kinematics of the URDF."""
    root = ElementTree.fromstring(text)
    poses = {"base_link": np.eye(4)}
    for joint in root.iter("joint"):  # parents come before their children
        step = np.eye(4)
        origin = joint.find("origin")
        step[:3, 3] = numbers(origin.get("xyz"))
        step[:3, :3] = fixed_axes(numbers(origin.get("rpy")))
        moved = np.eye(4)
        if joint.get("type") != "fixed":
            mimic = joint.find("mimic")
            value = joints[joint.get("name")] if mimic is None else joints[mimic.get("joint")]
            axis = numbers(joint.find("axis").get("xyz"))
            if joint.get("type") == "prismatic":
                moved[:3, 3] = axis * value
            else:
                moved[:3, :3] = rotation(axis, value)
        poses[joint.find("child").get("link")] = (
            poses[joint.find("parent").get("link")] @ step @ moved
        )
    return poses


def deviations(model, text, seed):
    """Return the largest deviation of a pose from the body's, and the bodies' names."""
    rng = np.random.default_rng(seed)
    data = mujoco.MjData(model.mujoco)
    joints = {}
    for row, at in zip(model.rows, model.qpos, strict=True):
        low, high = np.clip(model.limits[row], -3, 3)
        joints[model.joints[row]] = data.qpos[at] = rng.uniform(low, high)
    for follower, leader in model.mirrored:
        data.qpos[follower] = joints[model.joints[leader]]
    mujoco.mj_forward(model.mujoco, data)
    links = placed_links(text, joints)
    names = [model.mujoco.body(i).name for i in range(1, model.mujoco.nbody)]
    compared = [name for name in names if name in links]
    off = []
    for name in compared:
        body = data.body(name)
        off.append(np.abs(links[name][:3, 3] - body.xpos).max())
        off.append(np.abs(links[name][:3, :3] - body.xmat.reshape(3, 3)).max())
    return max(off), compared


@pytest.mark.parametrize("robot", ROBOTS)
def test_links_of_the_urdf_are_where_the_bodies_of_the_model_are(robot):
    model = RobotModel.load(model_of(load_contract(robot_path(robot))))
    text = model_urdf(robot, model)
    for seed in range(5):
        off, compared = deviations(model, text, seed)
        assert off < 1e-5
        # Every body but the cubes and other objects that move freely.
        free = int((model.mujoco.jnt_type == mujoco.mjtJoint.mjJNT_FREE).sum())
        assert free >= len(model.cubes)
        assert len(compared) == model.mujoco.nbody - 1 - free


def test_bodies_with_several_or_displaced_joints_are_where_they_should_be(tmp_path):
    (tmp_path / "odd.xml").write_text(ODD)
    model = RobotModel.load(tmp_path / "odd.xml")
    text = model_urdf("odd", model)
    root = ElementTree.fromstring(text)
    kinds = {j.get("name"): j.get("type") for j in root.iter("joint")}
    moving = {name: kind for name, kind in kinds.items() if kind != "fixed"}
    assert moving == {"one": "revolute", "two": "prismatic", "three": "continuous"}
    data = mujoco.MjData(model.mujoco)
    joints = {"one": 0.7, "two": 0.04, "three": -1.1}
    data.qpos[model.qpos] = list(joints.values())
    mujoco.mj_forward(model.mujoco, data)
    links = placed_links(text, joints)
    assert "cube" not in links
    for name, body in (("a", 1), ("body_2", 2)):
        assert np.abs(links[name][:3, 3] - data.xpos[body]).max() < 1e-6
        assert np.abs(links[name][:3, :3] - data.xmat[body].reshape(3, 3)).max() < 1e-6
    shapes = [g[0] for link in root.iter("link") for g in link.iter("geometry")]
    assert [s.tag for s in shapes] == ["sphere", "box", "cylinder", "sphere", "sphere"]
    assert numbers(shapes[1].get("size")) == pytest.approx([0.02, 0.04, 0.06])


def test_the_limits_of_the_urdf_are_read_back_as_those_of_the_model(tmp_path):
    model = RobotModel.load(model_of(load_contract(robot_path("so101"))))
    (tmp_path / "so101.urdf").write_text(model_urdf("so101", model))
    stated = read_urdf(tmp_path / "so101.urdf")
    assert tuple(stated) == model.joints
    for joint, (lower, upper) in zip(model.joints, model.limits, strict=True):
        assert (stated[joint].lower, stated[joint].upper) == (lower, upper)


def test_a_urdf_of_the_contract_is_shown_as_it_is(tmp_path):
    (tmp_path / "arm.urdf").write_text("<robot name='arm'/>")
    contract = replace(load_contract(robot_path("so101")), urdf=tmp_path / "arm.urdf")
    assert contract_urdf(contract) == "<robot name='arm'/>"


@pytest.mark.slow
def test_the_module_prints_the_urdf_of_a_shipped_robot():
    printed = subprocess.run(
        [sys.executable, "-m", "groot_ros.sim.urdf", "so101"], capture_output=True, text=True
    )
    assert printed.stdout == contract_urdf(load_contract(robot_path("so101"))), printed.stderr
