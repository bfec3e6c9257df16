"""Whether the robot does what it is commanded: a topic does not say that it was refused."""

from collections.abc import Sequence

import numpy as np

from groot_ros.control.interpolation import Array
from groot_ros.control.limits import Mask
from groot_ros.control.patience import Patience


class Following:
    """Watches the distance between command and measurement of the joints that are `watched`."""

    def __init__(self, joint_names: Sequence[str], watched: Mask) -> None:
        self._joint_names = tuple(joint_names)
        self._watched = watched
        self._patience = Patience()

    def judge(
        self, commanded: Array, measured: Array, seen_ns: int, allowed: float, patience: float
    ) -> str:
        """Why the robot cannot be following, or an empty string.

        `commanded` and `measured`, both [N] in rad or m, are of the time `seen_ns`. A joint
        further than `allowed` from its command is a lag for `patience` s, then a fault: a
        controller that refuses or is not active, a motor without power, an obstacle.
        """
        gap = np.where(self._watched, np.abs(commanded - measured), 0.0)
        worst = int(np.argmax(gap))
        if not self._patience.is_over(bool(gap[worst] > allowed), seen_ns, patience):
            return ""
        return (
            f"{self._joint_names[worst]} does not follow: commanded {commanded[worst]:.3f}, "
            f"measured {measured[worst]:.3f}; is its controller active?"
        )
