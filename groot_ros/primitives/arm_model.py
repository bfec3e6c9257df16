# SPDX-License-Identifier: Apache-2.0
"""The MuJoCo model of one arm, read from the MJCF or URDF that the contract names."""

from dataclasses import dataclass
from pathlib import Path

import mink
import mujoco
import numpy as np
from numpy.typing import NDArray

from groot_ros.core import ToolPose
from groot_ros.robot import RobotContract, Table

Array = NDArray[np.float64]

#: Key frame whose `ctrl` is the rest position, as in the simulator.
_HOME_KEY = "home"
_MOVING_JOINTS = (int(mujoco.mjtJoint.mjJNT_HINGE), int(mujoco.mjtJoint.mjJNT_SLIDE))
#: Range that searches begin in for a joint without limits, rad.
_ENDLESS = (-np.pi, np.pi)
#: Axis of the tool that points -> rotation of the tool's frame in the table frame while it points
#: straight down.
_POINTING_DOWN = {
    "-z": mink.SO3.identity(),
    "z": mink.SO3.from_x_radians(np.pi),
    "x": mink.SO3.from_y_radians(np.pi / 2),
}


@dataclass(frozen=True)
class ArmModel:
    """A model without loose objects, and where the n joints of the arm are in it.

    Attributes:
        mujoco: the compiled model; its joint ranges are the position limits of the contract.
        table: the table of the contract.
        tool: name of the site or body, and `tool_kind` which of them.
        arm: names of the joints between base and tool.
        qpos: index of their positions, [n].
        home: their rest position [n], else the middle of their limits.
        limits: their lower and upper positions [n, 2], infinite for an endless joint.
        search_range: the same, finite.
        parts: geoms that the arm moves.

    """

    mujoco: mujoco.MjModel
    table: Table
    tool: str
    tool_kind: str
    arm: tuple[str, ...]
    qpos: NDArray[np.intp]
    home: Array
    limits: Array
    search_range: Array
    parts: NDArray[np.intp]

    @classmethod
    def load(cls, contract: RobotContract) -> "ArmModel":
        """Read the model of a contract.

        Raises:
            ValueError: there is none, or it does not fit the contract; one line.

        """
        table, path = contract.table, contract.model or contract.urdf
        if table is None:
            raise ValueError(
                f"robot '{contract.robot}' has no table: add the section 'table' to the contract"
            )
        if path is None:
            raise ValueError(
                f"robot '{contract.robot}' has no model: name an MJCF with 'model', or a URDF with "
                "'urdf'"
            )
        model, rest = _compile(path)
        kind = next((k for k in ("site", "body") if _index(model, k, table.tool) >= 0), None)
        if kind is None:
            raise ValueError(
                f"{path}: has neither a site nor a body '{table.tool}', which 'table.tool' names"
            )
        body = _index(model, kind, table.tool)
        body = int(model.site_bodyid[body]) if kind == "site" else body
        joints, parts = _chain(model, body)
        names = tuple(model.joint(j).name for j in joints)
        if not names:
            raise ValueError(f"{path}: no joint moves '{table.tool}', which 'table.tool' names")
        for j, name in zip(joints, names, strict=True):
            if name not in contract.joints or model.jnt_type[j] not in _MOVING_JOINTS:
                raise ValueError(
                    f"{path}: joint '{name or j}' is between the base and the tool "
                    f"'{table.tool}', but is no hinge or slide that the contract lists under "
                    "'joints'"
                )
            limits = contract.joints[name].limits
            model.jnt_limited[j] = np.isfinite(limits.lower)
            model.jnt_range[j] = (limits.lower, limits.upper) if model.jnt_limited[j] else 0.0
        limited = model.jnt_limited[joints, None].astype(bool)
        search_range = np.where(limited, model.jnt_range[joints], _ENDLESS)
        home = [rest.get(n, float(r.mean())) for n, r in zip(names, search_range, strict=True)]
        return cls(
            model,
            table,
            table.tool,
            kind,
            names,
            model.jnt_qposadr[joints],
            np.clip(home, *search_range.T),
            np.where(limited, search_range, (-np.inf, np.inf)),
            search_range,
            parts,
        )

    def in_world(self, pose: ToolPose) -> mink.SE3:
        """Return where the tool's frame is in the model's world for a pose in the table frame."""
        x, y, z, w = pose.rotation
        return mink.SE3.from_rotation_and_translation(
            mink.SO3(np.array([w, x, y, z])) @ _POINTING_DOWN[self.table.tool_axis],
            np.add(pose.position, (0.0, 0.0, self.table.height)),
        )

    def in_table_frame(self, world: mink.SE3) -> ToolPose:
        """Return the pose in the table frame for the tool's frame in the model's world."""
        rotation = world.rotation() @ _POINTING_DOWN[self.table.tool_axis].inverse()
        w, x, y, z = map(float, rotation.wxyz)
        px, py, pz = map(float, world.translation() - (0.0, 0.0, self.table.height))
        return ToolPose((px, py, pz), (x, y, z, w))

    def lowest_part(self, data: mujoco.MjData) -> float:
        """Return the height of the lowest bounding box of the arm's parts over the surface, m."""
        boxes = self.mujoco.geom_aabb[self.parts]
        down = data.geom_xmat[self.parts].reshape(-1, 3, 3)[:, 2]
        centres = data.geom_xpos[self.parts, 2] + (down * boxes[:, :3]).sum(axis=1)
        lowest = (centres - (np.abs(down) * boxes[:, 3:]).sum(axis=1)).min(initial=np.inf)
        return float(lowest) - self.table.height


def _compile(path: Path) -> tuple[mujoco.MjModel, dict[str, float]]:
    """Return the model without loose objects, and the rest positions of its joints by name."""
    try:
        spec = mujoco.MjSpec.from_file(str(path))
        if "<robot" in path.read_text(encoding="utf-8", errors="replace"):
            _complete_urdf(spec)
        rest = _rest_positions(spec.compile())
        for key in list(spec.keys):
            spec.delete(key)
        for body in list(spec.bodies):
            if any(joint.type == mujoco.mjtJoint.mjJNT_FREE for joint in body.joints):
                spec.delete(body)
        return spec.compile(), rest
    except (ValueError, OSError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{path}: is not a model of MuJoCo: {reason}") from error


def _complete_urdf(spec: mujoco.MjSpec) -> None:
    """Let a URDF compile for kinematics."""
    # The tool is often a link at a fixed joint, which must not be merged into its parent.
    spec.compiler.fusestatic = False
    # Masses do not matter here, and many links have none.
    spec.compiler.boundmass, spec.compiler.boundinertia = 1e-3, 1e-6
    # Their files are in other packages (package://).
    for geom in list(spec.geoms):
        if geom.type == mujoco.mjtGeom.mjGEOM_MESH:
            spec.delete(geom)
    for mesh in list(spec.meshes):
        spec.delete(mesh)


def _rest_positions(model: mujoco.MjModel) -> dict[str, float]:
    key = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_KEY, _HOME_KEY)
    if key < 0:
        return {}
    driven = np.flatnonzero(model.actuator_trntype == mujoco.mjtTrn.mjTRN_JOINT)
    return {
        model.joint(int(model.actuator_trnid[i, 0])).name: float(model.key_ctrl[key, i])
        for i in driven
    }


def _index(model: mujoco.MjModel, kind: str, name: str) -> int:
    objects = {"site": mujoco.mjtObj.mjOBJ_SITE, "body": mujoco.mjtObj.mjOBJ_BODY}
    return int(mujoco.mj_name2id(model, objects[kind], name))


def _chain(model: mujoco.MjModel, body: int) -> tuple[list[int], NDArray[np.intp]]:
    """Return the joints from the base to a body, and the geoms that they move."""
    line = [body]
    while line[-1]:
        line.append(int(model.body_parentid[line[-1]]))
    joints = [
        int(model.body_jntadr[b]) + i
        for b in reversed(line)
        for i in range(int(model.body_jntnum[b]))
    ]
    moved = np.zeros(model.nbody, bool)
    if joints:
        first = int(model.jnt_bodyid[joints[0]])
        moved[first] = True
        # A body follows its parent in the model.
        for b in range(first + 1, model.nbody):
            moved[b] = moved[model.body_parentid[b]]
    geoms = moved[model.geom_bodyid] & (model.geom_type != mujoco.mjtGeom.mjGEOM_PLANE)
    return joints, np.flatnonzero(geoms)
