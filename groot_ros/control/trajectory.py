"""What goes to a joint_trajectory_controller, checked as the controller itself does not.

The controller takes NaN, repeated joints and jumps without a word, and gives no rejection on
its topic; so each of these is caught here, before the message leaves.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from groot_ros.control.curve import Array, Curve
from groot_ros.core import NS_PER_S
from groot_ros.core.invariants import frozen_float_array, require, require_unique
from groot_ros.robot import Controller

#: rad or m, and per s, that a new message may differ from the motion in force at the same time.
_SAME_POSITION = 1e-6
_SAME_VELOCITY = 1e-3


@dataclass(frozen=True)
class JointTrajectory:
    """One trajectory_msgs/JointTrajectory: knots at stamp + offset, all moving to rest.

    Raises MalformedError on anything that a controller would take amiss, or silently.

    Attributes:
        stamp_ns: absolute time of the first knot, in the past when it is sent; so the
            controller samples these knots alone and keeps nothing of its own.
        offsets_ns: int64 [K], 0 first, strictly increasing.
        positions, velocities: float64 [K, len(joint_names)].

    """

    controller: str
    topic: str
    joint_names: tuple[str, ...]
    stamp_ns: int
    offsets_ns: NDArray[np.int64]
    positions: Array
    velocities: Array

    def __post_init__(self) -> None:
        require_unique(self.joint_names, f"controller '{self.controller}'")
        shape = (len(self.offsets_ns), len(self.joint_names))
        for name in ("positions", "velocities"):
            values = frozen_float_array(getattr(self, name), name)
            require(
                values.shape == shape,
                "sizes_disagree",
                f"{name} {list(values.shape)} for [knots, joints] {list(shape)}",
            )
            object.__setattr__(self, name, values)
        require(len(self.offsets_ns) >= 2, "too_few_knots", f"{len(self.offsets_ns)} knots")
        require(
            self.offsets_ns[0] == 0 and bool((np.diff(self.offsets_ns) > 0).all()),
            "bad_times",
            "knots must begin at the stamp and strictly increase",
        )
        require(
            not self.velocities[-1].any(),
            "no_rest",
            f"the last knot moves at {self.velocities[-1].tolist()}",
        )

    @property
    def end_ns(self) -> int:
        """Time of the last knot."""
        return self.stamp_ns + int(self.offsets_ns[-1])


def prepare(controller: Controller, columns: list[int], curve: Curve) -> JointTrajectory:
    """The message of one controller: all of the curve, for its own joints in its own order."""
    own = curve.columns(columns)
    return JointTrajectory(
        controller=controller.name,
        topic=controller.topic,
        joint_names=controller.joints,
        stamp_ns=own.start_ns,
        offsets_ns=own.times - own.times[0],
        positions=own.positions,
        velocities=own.velocities,
    )


def require_continuous(new: Curve, in_force: Curve | None, now_ns: int) -> None:
    """Raise MalformedError if `new`, sent now, would make the robot step.

    A controller that switches to the new curve finds no knot before now, or another place
    than the curve it has been following.
    """
    require(
        new.start_ns <= now_ns < new.end_ns,
        "not_in_force",
        f"the curve spans {(new.start_ns - now_ns) / NS_PER_S:.3f} to "
        f"{(new.end_ns - now_ns) / NS_PER_S:.3f} s from now",
    )
    if in_force is None:
        return
    (p, v), (old_p, old_v) = new.at(now_ns), in_force.at(now_ns)
    step, kick = np.abs(p - old_p).max(), np.abs(v - old_v).max()
    require(
        bool(step <= _SAME_POSITION and kick <= _SAME_VELOCITY),
        "step",
        f"the new motion is {step:.3g} away from the one in force and {kick:.3g} /s faster",
    )
