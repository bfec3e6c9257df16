"""The joints that the executor drives: those of some controller, in the contract's order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from groot_ros.control.limits import Limits, Mask
from groot_ros.core import ActionKind
from groot_ros.robot import Controller, RobotContract
from groot_ros.robot.controller import Interpolation


@dataclass(frozen=True)
class ActuatedJoints:
    """What of N joints does not change while running.

    Attributes:
        names: in order; every array [N] of this room has this order.
        limits: as the contract states them.
        methods: how each joint moves between the steps of a chunk.
        blended: which joints are no gripper's. A gripper is not blended into a new chunk, and may
            rightly be elsewhere than commanded.

    """

    names: tuple[str, ...]
    limits: Limits
    methods: tuple[Interpolation, ...]
    blended: Mask

    @classmethod
    def of(cls, contract: RobotContract) -> ActuatedJoints:
        """The actuated joints of a robot."""
        methods: dict[str, Interpolation] = {
            joint: c.interpolation for c in contract.controllers for joint in c.joints
        }
        names = tuple(name for name in contract.joint_names if name in methods)
        grippers = {
            joint
            for group in contract.groups.values()
            if group.kind == ActionKind.GRIPPER
            for joint in group.joints
        }
        return cls(
            names,
            Limits.of([contract.joints[name] for name in names]),
            tuple(methods[name] for name in names),
            np.array([name not in grippers for name in names]),
        )

    def columns(self, controller: Controller) -> list[int]:
        """Where the controller's joints are, in its own order."""
        return [self.names.index(joint) for joint in controller.joints]

    def among(self, which: Sequence[bool] | Mask) -> str:
        """The names of some joints, for a message."""
        return ", ".join(name for name, chosen in zip(self.names, which, strict=True) if chosen)
