# SPDX-License-Identifier: Apache-2.0
"""The SO-101 that the demo's task, expert and training data are made for."""

from groot_ros.sim.model import RobotModel, shipped_model

MODEL = RobotModel.load(shipped_model("so101"))
#: The arm's joints, in the order of every [6] array.
JOINTS = MODEL.joints
#: Colours of the cubes.
CUBES = MODEL.cubes
#: Rest position, rad: the hand raised over the table, the wrist camera on the cubes.
HOME = MODEL.home
#: Half the edge of a cube, m.
CUBE_HALF_SIZE = float(MODEL.mujoco.geom(MODEL.mujoco.body("red_cube").geomadr[0]).size[0])
