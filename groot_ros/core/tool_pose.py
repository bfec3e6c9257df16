# SPDX-License-Identifier: Apache-2.0
"""Pose of a robot's tool over a table."""

import math
from dataclasses import dataclass

from groot_ros.core.invariants import require

#: Below this length a quaternion has no direction.
_MIN_NORM = 1e-6


@dataclass(frozen=True)
class ToolPose:
    """Pose of a tool in the table frame of the robot contract.

    Attributes:
        position: x, y and z, m; z is the height over the surface.
        rotation: quaternion x, y, z, w, normalised; (0, 0, 0, 1) points straight down.

    Raises:
        MalformedError: a number is not finite, or the quaternion has no direction.

    """

    position: tuple[float, float, float]
    rotation: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 1.0)

    def __post_init__(self) -> None:
        require(
            len(self.position) == 3 and len(self.rotation) == 4,
            "sizes_disagree",
            f"a pose has 3 coordinates and 4 numbers of a quaternion, not {len(self.position)} "
            f"and {len(self.rotation)}",
        )
        finite = all(map(math.isfinite, (*self.position, *self.rotation)))
        require(finite, "not_finite", f"the pose {self} is not finite")
        norm = math.hypot(*self.rotation)
        require(norm > _MIN_NORM, "no_rotation", f"the pose {self} has a quaternion of length 0")
        x, y, z = map(float, self.position)
        qx, qy, qz, qw = (float(value) / norm for value in self.rotation)
        object.__setattr__(self, "position", (x, y, z))
        object.__setattr__(self, "rotation", (qx, qy, qz, qw))

    def __str__(self) -> str:
        x, y, z = self.position
        rotation = ", ".join(f"{value:.3f}" for value in self.rotation)
        return f"x {x:.3f}, y {y:.3f}, z {z:.3f} m, rotation xyzw ({rotation})"
