# SPDX-License-Identifier: Apache-2.0
"""The table of the tasks with prompts: objects in the physics, what pictures show, and moves.

Objects that a scene does not use float where the model has them, behind the wall, and are not
drawn; nor is the arm, as in VIMA's training data.
"""

from collections.abc import Mapping

import mujoco
import numpy as np
from numpy.typing import NDArray

from groot_ros.core import ns_to_s
from groot_ros.sim.arm import SimulatedArm
from groot_ros.sim.prompt_objects import CONTAINERS, COPIES, SHAPES
from groot_ros.sim.prompt_scene import TABLE, Move, PromptScene
from groot_ros.sim.table import Place

#: Group of what is drawn, and of what is not (MuJoCo draws 0 to 2 by default).
_DRAWN, _HIDDEN = 0, 3
#: Height from which a point of the table is looked at, m.
_ABOVE = 0.5
#: Step in which a placed object is lifted until it touches nothing, and the deepest contact, m.
_LIFT, _DEEPEST = 0.004, 0.0005
#: Most time until everything rests, s, and the speed that counts as rest, m/s or rad/s.
_SETTLING, _REST = 1.5, 0.02
#: Time between two looks whether everything rests, s.
_LOOK_EVERY = 0.1

#: An object is in a container within this distance of its axis and height of its bottom, m.
IN_CONTAINER, BELOW_RIM = 0.060, 0.060
#: Largest distance of an object from where it should be, m, and angle, rad.
NEAR, TURNED = 0.04, np.deg2rad(15.0)


class PromptTable:
    """A simulated arm at this table with the objects of one scene."""

    def __init__(self, arm: SimulatedArm) -> None:
        self.arm = arm
        model = arm.model
        self._bodies = [copy + shape for copy in COPIES for shape in (*SHAPES, *CONTAINERS)]
        joints = {name: model.body(name).jntadr[0] for name in self._bodies}
        self._qpos = {name: int(model.jnt_qposadr[joint]) for name, joint in joints.items()}
        self._dofs = {name: int(model.jnt_dofadr[joint]) for name, joint in joints.items()}
        self._geoms = {}
        for name in self._bodies:
            first = int(model.body(name).geomadr[0])
            self._geoms[name] = slice(first, first + int(model.body(name).geomnum[0]))
        root = model.body_rootid[model.body("base").id]
        model.geom_group[model.body_rootid[model.geom_bodyid] == root] = _HIDDEN
        self._drawn = np.zeros(6, np.uint8)
        self._drawn[_DRAWN] = 1

    def reset(self, scene: PromptScene) -> None:
        """Reset arm and objects to the start of an episode."""
        self.arm.reset()
        self.show(scene)

    def show(self, scene: PromptScene) -> None:
        """Put the objects of a scene on the table; the arm stays as it is."""
        model, used = self.arm.model, dict(zip(scene.bodies.values(), scene.items, strict=True))
        for body in self._bodies:
            shown = body in used
            model.body_gravcomp[model.body(body).id] = not shown
            model.geom_group[self._geoms[body]] = _DRAWN if shown else _HIDDEN
            if shown:
                material = model.material(scene.items[used[body]].material).id
                model.geom_matid[self._geoms[body]] = material
        self.scene = scene
        self.arm.data.qpos[:] = self._layout(scene.places)
        for dof in self._dofs.values():
            self.arm.data.qvel[dof : dof + 6] = 0.0
        mujoco.mj_forward(model, self.arm.data)

    def layout(self, picture: str = TABLE) -> NDArray[np.float64]:
        """Return the positions of all bodies for a CameraRenderer: now, or in a picture."""
        if picture == TABLE:
            return self.arm.scene
        return self._layout(self.scene.pictures[picture])

    def labels(self, picture: str = TABLE) -> NDArray[np.uint16]:
        """Return the label of each geom of the model in a picture; 0 is the background."""
        labels = np.zeros(self.arm.model.ngeom, np.uint16)
        for name, label in self.scene.labels[picture].items():
            labels[self._geoms[self.scene.bodies[name]]] = label
        return labels

    def place(self, name: str) -> Place:
        """Return (x, y, yaw) of an object now, m and rad."""
        body = self.arm.data.body(self.scene.bodies[name])
        x, y, _ = body.xpos
        return float(x), float(y), float(np.arctan2(body.xmat[3], body.xmat[0]))

    def object_at(self, x: float, y: float) -> str | None:
        """Return the topmost object at a point of the table, None if there is none."""
        found = np.full(1, -1, np.int32)
        above, down = np.array([x, y, _ABOVE]), np.array([0.0, 0.0, -1.0])
        model, data = self.arm.model, self.arm.data
        mujoco.mj_ray(model, data, above, down, self._drawn, 1, -1, found)
        for name, body in self.scene.bodies.items():
            geoms = self._geoms[body]
            if geoms.start <= found[0] < geoms.stop:
                return name
        return None

    def carry(self, pick: Place, place: Place) -> str | None:
        """Move the object at a pose to another pose without the arm, and let everything settle.

        It moves rigidly with a tool that goes from `pick` to `place`, and falls from the lowest
        height at which it touches nothing.

        Returns:
            The name of the object; None if there is nothing at `pick`, and nothing moves then.

        """
        name = self.object_at(*pick[:2])
        if name is None:
            return None
        data = self.arm.data
        body = self.scene.bodies[name]
        start, dof = self._qpos[body], self._dofs[body]
        turn = place[2] - pick[2]
        cos, sin = np.cos(turn), np.sin(turn)
        offset = data.qpos[start : start + 2] - pick[:2]
        data.qpos[start : start + 2] = place[:2] + np.array([[cos, -sin], [sin, cos]]) @ offset
        turned = np.zeros(4)
        rotation = np.array([np.cos(turn / 2), 0.0, 0.0, np.sin(turn / 2)])
        mujoco.mju_mulQuat(turned, rotation, data.qpos[start + 3 : start + 7])
        data.qpos[start + 3 : start + 7] = turned
        data.qpos[start + 2] = self.arm.model.qpos0[start + 2]
        data.qvel[dof : dof + 6] = 0.0
        while self._penetration(body) > _DEEPEST:
            data.qpos[start + 2] += _LIFT
        self.settle()
        return name

    def settle(self) -> None:
        """Let time pass until all objects rest, or for 1.5 s."""
        start, looked = self.arm.time_ns, self.arm.time_ns
        while ns_to_s(self.arm.time_ns - start) < _SETTLING:
            self.arm.step()
            if ns_to_s(self.arm.time_ns - looked) >= _LOOK_EVERY:
                looked = self.arm.time_ns
                if self.at_rest:
                    break
        mujoco.mj_forward(self.arm.model, self.arm.data)

    @property
    def at_rest(self) -> bool:
        """Return whether all objects are at rest."""
        rows = [self._dofs[b] + i for b in self.scene.bodies.values() for i in range(6)]
        return bool(np.abs(self.arm.data.qvel[rows]).max() < _REST)

    @property
    def succeeded(self) -> bool:
        """Return whether all objects are where the last moves of each should have brought them."""
        last = {move.name: move for move in self.scene.moves}
        return all(self.fulfilled(move) for move in last.values())

    def fulfilled(self, move: Move) -> bool:
        """Return whether an object is where its move should have brought it."""
        x, y, yaw = self.place(move.name)
        own = self.arm.data.body(self.scene.bodies[move.name]).xpos
        if move.into:
            goal = self.arm.data.body(self.scene.bodies[move.into]).xpos
            is_low = own[2] - goal[2] < BELOW_RIM
            return bool(np.hypot(*(own - goal)[:2]) < IN_CONTAINER and is_low)
        start = self.scene.places[move.name]
        to = start[:2] if move.to is None else move.to
        off = (yaw - start[2] - move.turn + np.pi) % (2 * np.pi) - np.pi
        near = bool(np.hypot(x - to[0], y - to[1]) < NEAR)
        return near and bool(not move.turn or abs(off) < TURNED)

    def displaced(self) -> set[str]:
        """Return the objects that should have stayed where they were and did not."""
        stay = self.scene.items.keys() - {move.name for move in self.scene.moves}
        return {
            name
            for name in stay
            if np.hypot(*np.subtract(self.place(name)[:2], self.scene.places[name][:2])) > NEAR
        }

    def _layout(self, places: Mapping[str, Place]) -> NDArray[np.float64]:
        """Return the positions of all bodies with the arm as it is and only these objects."""
        qpos, model = self.arm.scene, self.arm.model
        at = {self.scene.bodies[name]: place for name, place in places.items()}
        for body, start in self._qpos.items():
            own = slice(start, start + 7)
            qpos[own] = model.qpos0[own]
            if body in at:
                x, y, yaw = at[body]
                height = model.qpos0[start + 2]
                qpos[own] = [x, y, height, np.cos(yaw / 2), 0.0, 0.0, np.sin(yaw / 2)]
        return qpos

    def _penetration(self, body: str) -> float:
        """Return the depth of the deepest contact of a body, m."""
        model, data = self.arm.model, self.arm.data
        mujoco.mj_kinematics(model, data)
        mujoco.mj_comPos(model, data)
        mujoco.mj_collision(model, data)
        geoms = self._geoms[body]
        pairs = data.contact.geom
        own = ((pairs >= geoms.start) & (pairs < geoms.stop)).any(axis=1)
        return float(-data.contact.dist[own].min(initial=0.0))
