"""The MuJoCo model and the names in it."""

from importlib import resources

import mujoco
import numpy as np
from numpy.typing import NDArray

#: The arm's joints, in the order of every [6] array of this room.
JOINTS = (
    "shoulder_pan",
    "shoulder_lift",
    "elbow_flex",
    "wrist_flex",
    "wrist_roll",
    "gripper",
)
#: Colours of the cubes; the body is called "<colour>_cube".
CUBES = ("red", "green", "blue")
#: Half an edge of a cube, m.
CUBE_HALF_SIZE = 0.015
#: Where the arm rests, rad: the hand raised over the table, the wrist camera on the cubes.
HOME: NDArray[np.float64] = np.array([0.0, -0.8, 0.5, 1.3, 0.0, 0.2])
HOME.setflags(write=False)


def load_model() -> mujoco.MjModel:
    """Arm, table and cubes; a fresh model each time, since models can be changed."""
    text = resources.files("groot_ros.sim").joinpath("so101.xml").read_text(encoding="utf-8")
    return mujoco.MjModel.from_xml_string(text)


def joint_limits(model: mujoco.MjModel) -> NDArray[np.float64]:
    """[6, 2] lower and upper position, rad."""
    return np.array([model.joint(name).range for name in JOINTS])
