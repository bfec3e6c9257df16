# SPDX-License-Identifier: Apache-2.0
"""URDF of a simulated robot, made from its MJCF, for RViz and Foxglove.

    python -m groot_ros.sim.urdf so101 > so101.urdf

Boxes, cylinders, capsules and spheres are exact; other shapes become their bounding boxes. Bodies
that move freely, such as the cubes, and the surroundings are left out.
"""

import argparse
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from dataclasses import dataclass
from xml.etree.ElementTree import Element, SubElement

import mujoco
import numpy as np
from numpy.typing import NDArray

from groot_ros.core.share import robot_path
from groot_ros.robot import RobotContract, load_contract
from groot_ros.sim.model import RobotModel, model_of

#: Link at the origin of the model, the default frame of views.
ROOT_LINK = "base_link"
#: mjtJoint -> type of the URDF joint; bodies with other joints are left out.
_TYPES = {
    int(mujoco.mjtJoint.mjJNT_HINGE): "revolute",
    int(mujoco.mjtJoint.mjJNT_SLIDE): "prismatic",
}
_SHAPES = mujoco.mjtGeom

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class _Pose:
    """Position [3] and quaternion (w, x, y, z) of a frame in its parent."""

    position: Vector
    quaternion: Vector

    @property
    def origin(self) -> dict[str, str]:
        """Return the attributes of an <origin>: roll, pitch and yaw are about fixed axes."""
        matrix = np.empty(9)
        mujoco.mju_quat2Mat(matrix, self.quaternion)
        r = matrix.reshape(3, 3)
        pitch = np.arctan2(-r[2, 0], np.hypot(r[2, 1], r[2, 2]))
        if np.hypot(r[2, 1], r[2, 2]) > 1e-9:
            roll, yaw = np.arctan2(r[2, 1], r[2, 2]), np.arctan2(r[1, 0], r[0, 0])
        else:
            roll, yaw = 0.0, np.arctan2(-r[0, 1], r[1, 1])
        return {"xyz": _numbers(self.position), "rpy": _numbers((roll, pitch, yaw))}

    def moved(self, offset: Vector) -> "_Pose":
        """Return the pose with its position moved by an offset in its own frame."""
        turned = np.empty(3)
        mujoco.mju_rotVecQuat(turned, np.asarray(offset, dtype=np.float64), self.quaternion)
        return _Pose(self.position + turned, self.quaternion)


def contract_urdf(contract: RobotContract) -> str:
    """Return the file that the contract's key `urdf` names, else a URDF made from the model."""
    if contract.urdf is not None:
        return contract.urdf.read_text(encoding="utf-8")
    return model_urdf(contract.robot, RobotModel.load(model_of(contract)))


def model_urdf(name: str, model: RobotModel) -> str:
    """Return the URDF of a simulated robot, with the joint names of its actuators."""
    m = model.mujoco
    robot = Element("robot", name=name)
    SubElement(robot, "link", name=ROOT_LINK)
    moved = {
        int(m.actuator_trnid[row, 0]): model.joints[row] for row in (int(r) for r in model.rows)
    }
    joint_names = {j: moved.get(j) or m.joint(j).name or f"joint_{j}" for j in range(m.njnt)}
    links = {0: ROOT_LINK}
    for body in range(1, m.nbody):
        parent = int(m.body_parentid[body])
        joints = [int(m.body_jntadr[body]) + i for i in range(int(m.body_jntnum[body]))]
        if parent not in links or any(int(m.jnt_type[j]) not in _TYPES for j in joints):
            continue
        links[body] = _add_body(robot, m, body, links[parent], joints, joint_names)
    for i in range(m.neq):
        if m.eq_type[i] == mujoco.mjtEq.mjEQ_JOINT and m.eq_obj2id[i] >= 0:
            _add_mimic(robot, joint_names, m, i)
    ElementTree.indent(robot)
    return ElementTree.tostring(robot, encoding="unicode") + "\n"


def _add_body(
    robot: Element,
    m: mujoco.MjModel,
    body: int,
    parent: str,
    joints: list[int],
    joint_names: dict[int, str],
) -> str:
    """Add the joints and the link of a body; return the name of the link.

    A URDF joint lies at the origin of its child. A body with a joint elsewhere, or with several
    joints, gets a link for each of them.
    """
    name = m.body(body).name or f"body_{body}"
    name = f"{name}_body" if name == ROOT_LINK else name
    pose = _Pose(m.body_pos[body].copy(), m.body_quat[body].copy())
    identity = np.array([1.0, 0.0, 0.0, 0.0])
    for j in joints:
        anchor = m.jnt_pos[j].copy()
        is_last = j == joints[-1] and not anchor.any()
        link = name if is_last else f"{name}_{joint_names[j]}"
        element = _joint(robot, joint_names[j], _kind(m, j), parent, link, pose.moved(anchor))
        SubElement(element, "axis", xyz=_numbers(m.jnt_axis[j]))
        lower, upper = m.jnt_range[j] if m.jnt_limited[j] else (0.0, 0.0)
        SubElement(
            element, "limit", lower=f"{lower:g}", upper=f"{upper:g}", effort="0", velocity="0"
        )
        if link != name:
            SubElement(robot, "link", name=link)
        parent, pose = link, _Pose(-anchor, identity)
    if parent != name:
        _joint(robot, f"{name}_fixed", "fixed", parent, name, pose)
    link_element = SubElement(robot, "link", name=name)
    first = int(m.body_geomadr[body])
    for geom in range(first, first + int(m.body_geomnum[body])):
        for place, shape, attributes in _shapes(m, geom):
            visual = SubElement(link_element, "visual")
            SubElement(visual, "origin", place.origin)
            SubElement(SubElement(visual, "geometry"), shape, attributes)
            material = int(m.geom_matid[geom])
            rgba = m.geom_rgba[geom] if material < 0 else m.mat_rgba[material]
            colour = SubElement(visual, "material", name=f"colour_{geom}")
            SubElement(colour, "color", rgba=_numbers(rgba))
    return name


def _kind(m: mujoco.MjModel, joint: int) -> str:
    kind = _TYPES[int(m.jnt_type[joint])]
    return "continuous" if kind == "revolute" and not m.jnt_limited[joint] else kind


def _joint(robot: Element, name: str, kind: str, parent: str, child: str, pose: _Pose) -> Element:
    joint = SubElement(robot, "joint", name=name, type=kind)
    SubElement(joint, "parent", link=parent)
    SubElement(joint, "child", link=child)
    SubElement(joint, "origin", pose.origin)
    return joint


def _add_mimic(robot: Element, joint_names: dict[int, str], m: mujoco.MjModel, i: int) -> None:
    follower, leader = joint_names[int(m.eq_obj1id[i])], joint_names[int(m.eq_obj2id[i])]
    offset, factor = m.eq_data[i, :2]
    for joint in robot.findall("joint"):
        if joint.get("name") == follower:
            SubElement(joint, "mimic", joint=leader, multiplier=f"{factor:g}", offset=f"{offset:g}")


def _shapes(m: mujoco.MjModel, geom: int) -> Iterator[tuple[_Pose, str, dict[str, str]]]:
    """Yield pose, element and attributes of the shapes that a geom is drawn with."""
    pose = _Pose(m.geom_pos[geom].copy(), m.geom_quat[geom].copy())
    size, kind = m.geom_size[geom], int(m.geom_type[geom])
    if kind == _SHAPES.mjGEOM_SPHERE:
        yield pose, "sphere", {"radius": f"{size[0]:g}"}
    elif kind in (_SHAPES.mjGEOM_CYLINDER, _SHAPES.mjGEOM_CAPSULE):
        yield pose, "cylinder", {"radius": f"{size[0]:g}", "length": f"{2 * size[1]:g}"}
        if kind == _SHAPES.mjGEOM_CAPSULE:
            for end in (-size[1], size[1]):
                yield pose.moved(np.array([0, 0, end])), "sphere", {"radius": f"{size[0]:g}"}
    else:
        centre, half = m.geom_aabb[geom, :3], m.geom_aabb[geom, 3:]
        yield pose.moved(centre), "box", {"size": _numbers(2 * half)}


def _numbers(values: object) -> str:
    # Adding 0 turns -0 into 0.
    return " ".join(f"{v + 0.0:.9g}" for v in np.round(np.asarray(values, dtype=np.float64), 9))


def main() -> None:
    """Print the URDF of a simulated robot."""
    parser = argparse.ArgumentParser("python -m groot_ros.sim.urdf", description=main.__doc__)
    parser.add_argument("robot", help="robot contract, a name or a file")
    contract = load_contract(robot_path(parser.parse_args().robot))
    print(contract_urdf(contract), end="")


if __name__ == "__main__":
    main()
