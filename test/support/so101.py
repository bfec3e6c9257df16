# SPDX-License-Identifier: Apache-2.0
"""Joints, rest position and cubes of the simulated SO-101, robot contract `so101`."""

from groot_ros.sim.model import RobotModel, shipped_model

_MODEL = RobotModel.load(shipped_model("so101"))
JOINTS, HOME, CUBES = _MODEL.joints, _MODEL.home, _MODEL.cubes
