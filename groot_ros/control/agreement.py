"""Whether what is wanted agrees with where the robot is measured to be."""

from collections.abc import Sequence

import numpy as np

from groot_ros.control.curve import Array
from groot_ros.control.limits import Mask
from groot_ros.control.rejection import Rejection


def check_start_state(
    joint_names: Sequence[str],
    watched: Mask,
    measured: Array,
    wanted: Array,
    commanded: Array,
    allowed: float,
) -> Rejection | None:
    """A rejection naming the joint that is furthest off, or None.

    The robot must be within `allowed` rad or m of what the chunk wants at the splice ("jump"),
    and of what it is commanded now ("not_following"). Joints that are not `watched` may be
    anywhere: a gripper that holds something never gets where it is told.
    """
    for reason, what, position in (
        ("jump", "the chunk wants", wanted),
        ("not_following", "the commanded position is", commanded),
    ):
        gap = np.where(watched, np.abs(position - measured), 0.0)
        worst = int(np.argmax(gap))
        if gap[worst] > allowed:
            return Rejection(
                reason,
                f"{what} {joint_names[worst]} at {position[worst]:.3f}, measured "
                f"{measured[worst]:.3f}: further than max_start_jump {allowed:g}",
            )
    return None
