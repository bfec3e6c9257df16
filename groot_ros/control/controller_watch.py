"""Whether a controller follows what it was sent: its topic for commands never says no."""

from collections.abc import Mapping

from groot_ros.control.fault_debounce import FaultDebounce
from groot_ros.robot import Controller

#: rad or m between our curve and the controller's reference: one control period of fast motion,
#: and a message under way, are less.
_ALLOWED = 0.05


class ControllerWatch:
    """Compares the reference that one controller reports with the motion it was sent."""

    def __init__(self, controller: Controller) -> None:
        self._controller = controller
        self._patience = FaultDebounce()
        self._found = ""

    @property
    def astray(self) -> str:
        """Which joint it leads elsewhere, or did until just now; or an empty string."""
        return self._found if self._patience.tried else ""

    def forget(self) -> None:
        """Nothing was sent that counts."""
        self._patience.forget()

    def judge(
        self,
        intended: Mapping[str, float],
        reference: Mapping[str, float],
        stamp_ns: int,
        patience: float,
    ) -> bool:
        """Whether the controller cannot be following.

        Both say joint -> rad or m at stamp_ns. Joints without a reference are not judged: after
        a NaN a controller reports none. Being elsewhere is a fault after `patience` s.
        """
        gaps = {
            joint: abs(intended[joint] - reference[joint])
            for joint in self._controller.joints
            if joint in reference and joint in intended
        }
        worst = max(gaps, key=gaps.__getitem__, default="")
        wrong = bool(worst) and gaps[worst] > _ALLOWED
        tried = self._patience.tried
        over = self._patience.is_over(wrong, stamp_ns, patience)
        if wrong and (over or not tried):
            self._found = (
                f"controller '{self._controller.name}' does not follow: {worst} was sent "
                f"{intended[worst]:.3f}, its reference is {reference[worst]:.3f}; it rejected the "
                "trajectory (its own log says why) or somebody else commands it"
            )
        return over
