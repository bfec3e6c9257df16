"""What a controller says that it follows. Needs no ROS: any object with the fields will do."""

from math import isfinite
from typing import Any


def reference_of(msg: Any) -> dict[str, float]:
    """Joint -> rad or m, from a control_msgs/JointTrajectoryControllerState.

    `reference` is its name on Jazzy, and beside the older `desired` on Humble. Empty while the
    controller reports none, as it does after a NaN.
    """
    for name in ("reference", "desired"):
        positions = getattr(getattr(msg, name, None), "positions", ())
        if len(positions) == len(msg.joint_names):
            pairs = zip(msg.joint_names, positions, strict=True)
            return {joint: float(p) for joint, p in pairs if isfinite(p)}
    return {}


def state_topic(command_topic: str) -> str:
    """Where a controller with this command topic reports its state."""
    space, slash, _ = command_topic.rpartition("/")
    return f"{space}{slash}controller_state"
