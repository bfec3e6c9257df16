"""Whether the robot does what it is commanded: a topic does not say that it was rejected."""

from collections.abc import Sequence

import numpy as np

from groot_ros.control.curve import Array
from groot_ros.control.fault_debounce import FaultDebounce
from groot_ros.control.limits import Mask


class Following:
    """Watches the distance between command and measurement of the joints that are `watched`."""

    def __init__(self, joint_names: Sequence[str], watched: Mask) -> None:
        self._joint_names = tuple(joint_names)
        self._watched = watched
        self._patience = FaultDebounce()
        self._found = ""

    @property
    def astray(self) -> str:
        """Which joint is away from its command, or was until just now; or an empty string."""
        return self._found if self._patience.tried else ""

    def forget(self) -> None:
        """Nothing is commanded any more."""
        self._patience.forget()

    def judge(
        self, commanded: Array, measured: Array, seen_ns: int, allowed: float, patience: float
    ) -> bool:
        """Whether the robot cannot be following.

        `commanded` and `measured`, both [N] in rad or m, are each of the time at which the joint
        was measured, the first of which is `seen_ns`. A joint further than `allowed` from its
        command is astray, and after `patience` s at fault: a controller that refuses or is not
        active, a motor without power, an obstacle.
        """
        gap = np.where(self._watched, np.abs(commanded - measured), 0.0)
        worst = int(np.argmax(gap))
        wrong = bool(gap[worst] > allowed)
        tried = self._patience.tried
        over = self._patience.is_over(wrong, seen_ns, patience)
        if wrong and (over or not tried):
            self._found = (
                f"{self._joint_names[worst]} does not follow: commanded {commanded[worst]:.3f}, "
                f"measured {measured[worst]:.3f}; is its controller active?"
            )
        return over
