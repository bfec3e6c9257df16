# SPDX-License-Identifier: Apache-2.0
"""The table of the tasks: random scenes, their appearance, and contacts of the hand."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import mujoco
import numpy as np
from numpy.typing import NDArray

from groot_ros.core.share import DEMO_ROBOT
from groot_ros.sim.arm import SimulatedArm
from groot_ros.sim.hand_kinematics import ARM_JOINTS, HandKinematics, HandPose
from groot_ros.sim.model import RobotModel, shipped_model

#: Name of the robot contract and of the model.
ROBOT = DEMO_ROBOT
MODEL = RobotModel.load(shipped_model(ROBOT))
COLOURS = MODEL.cubes
#: Half the edge of a cube, m.
HALF_CUBE = float(MODEL.mujoco.geom(MODEL.mujoco.body("red_cube").geomadr[0]).size[0])
#: Objects that no instruction names; a scene has any number of them.
DISTRACTORS = ("can", "block")
#: Radius of the bowl inside, m.
BOWL_RADIUS = 0.045
#: Position of the vertical axis of the arm, [2] m.
PAN_AXIS = np.array([0.0388353, 0.0])

#: Distance from the pan axis, m, and angle about it, rad, within which objects lie.
_CUBE_AREA = ((0.155, 0.270), (-1.0, 1.0))
_BOWL_AREA = ((0.165, 0.235), (-1.0, 1.0))
_DISTRACTOR_AREA = ((0.140, 0.300), (-1.2, 1.2))
#: Largest angle between a face of a cube and the line to the pan axis, rad: a grasp that is never
#: far from the plane of the arm.
_CUBE_YAW = 0.5
#: Smallest distance between the centres of two objects, and of the bowl and an object, m.
_SPACING, _BOWL_SPACING = 0.060, 0.090
#: Where an absent distractor stands: on the table, out of the cameras' view.
_AWAY = {"can": (-0.17, 0.45, 0.0), "block": (-0.17, -0.45, 0.0)}
_DISTRACTOR_SHARE = 0.4
#: Height of the hand at the start, m.
_START_HEIGHT = (0.09, 0.15)

Place = tuple[float, float, float]


@dataclass(frozen=True)
class Look:
    """Appearance of a scene: what changes the images and nothing else.

    Attributes:
        table: name of the table's material.
        tint: factor on the table's colour, [3].
        light: factor on the lamp.
        ambient: factor on the light that has no direction.
        lamp: change of the lamp's direction, [3].
        shift: camera -> change of its position, [3] m.
        turn: camera -> rotation vector of its change, [3] rad.

    """

    table: str
    tint: NDArray[np.float64]
    light: float
    ambient: float
    lamp: NDArray[np.float64]
    shift: Mapping[str, NDArray[np.float64]]
    turn: Mapping[str, NDArray[np.float64]]


@dataclass(frozen=True)
class Scene:
    """Start of an episode.

    Attributes:
        instruction: what the robot is told.
        colour: of the cube that the instruction names.
        cubes: colour -> (x, y, yaw), m and rad.
        bowl: (x, y), m.
        distractors: name -> (x, y, yaw), m and rad; only those that are present.
        joints: positions [6] rad at the start.
        look: appearance.

    """

    instruction: str
    colour: str
    cubes: Mapping[str, Place]
    bowl: tuple[float, float]
    distractors: Mapping[str, Place]
    joints: NDArray[np.float64]
    look: Look

    def apply(self, arm: SimulatedArm) -> None:
        """Reset an arm at this table to the start of the episode."""
        model = arm.model
        model.body("bowl").pos[:2] = self.bowl
        objects = {name: self.distractors.get(name, _AWAY[name]) for name in DISTRACTORS}
        show(model, self.look)
        arm.reset(self.joints, self.cubes, objects)

    def others(self) -> list[NDArray[np.float64]]:
        """Return the places of all objects on the table except the named cube, [2] m each."""
        cubes = [place for colour, place in self.cubes.items() if colour != self.colour]
        places = [*cubes, *self.distractors.values()]
        return [*(np.array(p[:2]) for p in places), np.array(self.bowl)]


def show(model: mujoco.MjModel, look: Look) -> None:
    """Change the appearance of a model of this table; its motion stays the same."""
    plain = MODEL.mujoco
    material = plain.material(look.table).id
    model.geom("table").matid = material
    model.mat_rgba[material, :3] = np.clip(plain.mat_rgba[material, :3] * look.tint, 0.0, 1.0)
    model.light_diffuse[0] = plain.light_diffuse[0] * look.light
    direction = plain.light_dir[0] + look.lamp
    model.light_dir[0] = direction / np.linalg.norm(direction)
    model.vis.headlight.ambient[:] = plain.vis.headlight.ambient * look.ambient
    for camera, shift in look.shift.items():
        index = plain.camera(camera).id
        model.cam_pos[index] = plain.cam_pos[index] + shift
        angle = float(np.linalg.norm(look.turn[camera]))
        turned, rotation = np.zeros(4), np.zeros(4)
        mujoco.mju_axisAngle2Quat(rotation, look.turn[camera] / max(angle, 1e-12), angle)
        mujoco.mju_mulQuat(turned, plain.cam_quat[index], rotation)
        model.cam_quat[index] = turned


def plain_look() -> Look:
    """Return the appearance of the model as it is in its file."""
    none = {camera: np.zeros(3) for camera in ("front", "wrist")}
    return Look("table_plain", np.ones(3), 1.0, 1.0, np.zeros(3), none, none)


def random_look(rng: np.random.Generator) -> Look:
    """Draw table, light and camera poses."""
    materials = [n for n in _material_names() if n.startswith("table_")]
    return Look(
        table=str(rng.choice(materials)),
        tint=rng.uniform(0.75, 1.1) * rng.uniform(0.93, 1.07, 3),
        light=float(rng.uniform(0.6, 1.2)),
        ambient=float(rng.uniform(0.8, 1.25)),
        lamp=rng.uniform(-0.4, 0.4, 3) * (1.0, 1.0, 0.0),
        shift={"front": rng.uniform(-0.006, 0.006, 3), "wrist": rng.uniform(-0.002, 0.002, 3)},
        turn={"front": rng.uniform(-0.015, 0.015, 3), "wrist": rng.uniform(-0.015, 0.015, 3)},
    )


def _material_names() -> list[str]:
    plain = MODEL.mujoco
    return [plain.material(i).name for i in range(plain.nmat)]


def random_scene(
    rng: np.random.Generator,
    instruction: str,
    colour: str,
    accept: Callable[[Scene], bool] = lambda scene: True,
) -> Scene:
    """Draw a scene for an instruction about one cube.

    The jaws can open around the named cube. `accept` is asked before the arm and the
    appearance are drawn.
    """
    while True:
        bowl = _draw(rng, _BOWL_AREA)
        places: list[NDArray[np.float64]] = []
        objects: dict[str, Place] = {}
        present = [name for name in DISTRACTORS if rng.random() < _DISTRACTOR_SHARE]
        for name in (*COLOURS, *present):
            area = _CUBE_AREA if name in COLOURS else _DISTRACTOR_AREA
            place = _draw_free(rng, area, places, bowl)
            if place is None:
                break
            places.append(place)
            yaw = float(np.arctan2(*(place - PAN_AXIS)[::-1]) + rng.uniform(-_CUBE_YAW, _CUBE_YAW))
            objects[name] = (float(place[0]), float(place[1]), yaw)
        if len(objects) < len(COLOURS) + len(present):
            continue
        scene = Scene(
            instruction,
            colour,
            {name: objects[name] for name in COLOURS},
            (float(bowl[0]), float(bowl[1])),
            {name: objects[name] for name in present},
            MODEL.home,
            plain_look(),
        )
        if has_room_for_jaws(scene) and accept(scene):
            return replace(scene, joints=_random_start(rng), look=random_look(rng))


def has_room_for_jaws(scene: Scene) -> bool:
    """Return whether the open jaws can come down around the named cube."""
    x, y, yaw = scene.cubes[scene.colour]
    along = np.array([np.cos(yaw), np.sin(yaw)])
    across = np.array([-along[1], along[0]])
    for place in scene.others():
        offset = place - (x, y)
        room = BOWL_RADIUS if tuple(place) == scene.bowl else 0.02
        if abs(offset @ along) < 0.062 + room and abs(offset @ across) < 0.014 + room:
            return False
    return True


def _draw(
    rng: np.random.Generator, area: tuple[tuple[float, float], tuple[float, float]]
) -> NDArray[np.float64]:
    (near, far), angles = area
    # Uniform over the area, not over the distance.
    distance = np.sqrt(rng.uniform(near**2, far**2))
    angle = rng.uniform(*angles)
    return PAN_AXIS + distance * np.array([np.cos(angle), np.sin(angle)])


def _draw_free(
    rng: np.random.Generator,
    area: tuple[tuple[float, float], tuple[float, float]],
    places: list[NDArray[np.float64]],
    bowl: NDArray[np.float64],
) -> NDArray[np.float64] | None:
    """Draw a place that is not too near to the others; None if there is hardly one."""
    for _ in range(50):
        place = _draw(rng, area)
        if np.linalg.norm(place - bowl) > _BOWL_SPACING and all(
            np.linalg.norm(place - other) > _SPACING for other in places
        ):
            return place
    return None


_KINEMATICS = HandKinematics(MODEL.mujoco, "grasp")


def _random_start(rng: np.random.Generator) -> NDArray[np.float64]:
    """Draw joint positions [6] with the hand over the table and the jaws anywhere."""
    place = _draw(rng, ((0.165, 0.255), (-0.9, 0.9)))
    point = np.array([*place, rng.uniform(*_START_HEIGHT)])
    yaw = float(np.arctan2(*(place - PAN_AXIS)[::-1]) + rng.uniform(-0.4, 0.4))
    arm = _KINEMATICS.solve(HandPose(point, np.pi / 2, yaw), MODEL.home[: len(ARM_JOINTS)], 40)
    return np.array([*arm, rng.uniform(0.0, 0.6)])


class Touches:
    """Finds the cubes that the hand touches."""

    def __init__(self, model: mujoco.MjModel) -> None:
        hand = [g for g in range(model.ngeom) if model.geom_contype[g] == 2]
        self._is_hand = np.zeros(model.ngeom, bool)
        self._is_hand[hand] = True
        self._cube = np.full(model.ngeom, -1)
        for i, colour in enumerate(COLOURS):
            self._cube[model.body(f"{colour}_cube").geomadr[0]] = i

    def cubes(self, data: mujoco.MjData) -> set[str]:
        """Return the colours of the cubes that are in contact with the hand now."""
        pairs = data.contact.geom
        if not len(pairs):
            return set()
        first, second = pairs[:, 0], pairs[:, 1]
        hit = np.where(self._is_hand[first], self._cube[second], -1)
        hit = np.maximum(hit, np.where(self._is_hand[second], self._cube[first], -1))
        return {COLOURS[i] for i in np.unique(hit) if i >= 0}
