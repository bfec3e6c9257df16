# SPDX-License-Identifier: Apache-2.0
"""The joints that the executor moves, and their measured state."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from groot_ros.control.chunk_validation import Rejection
from groot_ros.control.curve import Array
from groot_ros.control.limits import Limits, Mask
from groot_ros.core import NS_PER_S, MalformedError, ns_to_s, other_clock_hint
from groot_ros.core.invariants import require, require_unique
from groot_ros.robot import Controller, RobotContract
from groot_ros.robot.controller import Interpolation

#: rad or m, and per s: larger values are not measurements, and their square may overflow.
_MAX_VALUE = 1e6
#: A stamp further behind the last one than this comes from a clock that was reset, ns; less is
#: jitter, as of two drivers whose messages interleave.
_RESET_STEP_NS = NS_PER_S


def nearest_turn(angle: float, near: float) -> float:
    """Return the angle, rad, changed by whole turns to lie within half a turn of `near`."""
    return angle + math.tau * round((near - angle) / math.tau)


@dataclass(frozen=True)
class ActuatedJoints:
    """The N joints that a controller of the robot contract moves, in the contract's order.

    Attributes:
        names: the order of every array [N] in this package.
        limits: as the contract states them.
        methods: interpolation between the steps of a chunk, per joint.
        blended: False for grippers. A gripper is not blended into a new chunk, and may stay away
            from its command because it holds an object.
        unmeasured: gripper without a joint state, such as a suction cup -> its open position. It
            is taken to be where it was commanded to be, and open before that.

    """

    names: tuple[str, ...]
    limits: Limits
    methods: tuple[Interpolation, ...]
    blended: Mask
    unmeasured: Mapping[str, float]

    @classmethod
    def of(cls, contract: RobotContract) -> ActuatedJoints:
        """Return the actuated joints of a robot."""
        methods: dict[str, Interpolation] = {
            joint: c.interpolation for c in contract.controllers for joint in c.joints
        }
        names = tuple(name for name in contract.joint_names if name in methods)
        joints = [contract.joints[name] for name in names]
        return cls(
            names,
            Limits.of(joints),
            tuple(methods[name] for name in names),
            np.array([joint.gripper is None for joint in joints]),
            {
                joint.name: joint.gripper.open
                for joint in joints
                if joint.gripper is not None and joint.name not in contract.measured_joints
            },
        )

    @property
    def continuous(self) -> Mask:
        """Return which joints turn without end: they have no position limits."""
        return ~np.isfinite(self.limits.upper)

    def columns(self, controller: Controller) -> list[int]:
        """Return the indices of the controller's joints, in the controller's order."""
        return [self.names.index(joint) for joint in controller.joints]

    def names_where(self, selected: Sequence[bool] | Mask) -> str:
        """Return the names of the selected joints, comma-separated."""
        return ", ".join(name for name, chosen in zip(self.names, selected, strict=True) if chosen)


class MeasuredState:
    """Newest measured position and velocity of each joint, from any number of sources.

    Attributes:
        position: float64 [N] rad or m; of an unmeasured joint the last command.
        velocity: float64 [N] rad/s or m/s; 0 for joints whose source reports none, or NaN as
            joint_state_broadcaster does for joints without a velocity interface.
        stamps_ns: int64 [N], time of each joint's measurement; 0 before the first.
        oldest_ns: time of the oldest of these measurements; None while one is missing.
        near: commanded positions [N]: a continuous joint is taken to be in the turn that is
            nearest to its command. None for the turn in which its driver reports it.

    Args:
        joint_names: order of the arrays [N].
        unmeasured: joint without a source -> its position before the first command.
        continuous: which joints turn without end; by default none.

    """

    def __init__(
        self,
        joint_names: Sequence[str],
        unmeasured: Mapping[str, float] | None = None,
        continuous: Mask | None = None,
    ) -> None:
        self._continuous = () if continuous is None else np.flatnonzero(continuous).tolist()
        self._as_reported: dict[int, float] = {}
        self.near: Array | None = None
        order = {name: i for i, name in enumerate(joint_names)}
        self._unmeasured = {order[name]: at for name, at in (unmeasured or {}).items()}
        self._index = {name: i for name, i in order.items() if i not in self._unmeasured}
        self._size = len(order)
        self.clear()

    def clear(self) -> None:
        """Drop all measurements, as after a jump of the clock; commands are kept."""
        self.position: Array = np.zeros(self._size)
        self.velocity: Array = np.zeros(self._size)
        self.stamps_ns = np.zeros(self._size, dtype=np.int64)
        self._stamps: dict[str, int] = {}
        self._rejections: dict[str, Rejection] = {}
        self.oldest_ns: int | None = None
        self.position[list(self._unmeasured)] = list(self._unmeasured.values())

    def assume_commanded(self, commanded: Array) -> None:
        """Take the unmeasured joints to be where they are commanded to be, [N] rad or m."""
        for at in self._unmeasured:
            self._unmeasured[at] = self.position[at] = commanded[at]

    def record_rejection(
        self, rejection: Rejection, joints: Collection[str] | None = None, *, forget: bool = False
    ) -> None:
        """Keep why a message of these joints, all by default, was not used.

        check_age() gives it as the reason if the state of one of them is unknown.

        Args:
            rejection: the reason.
            joints: the joints of the source of the message.
            forget: drop their measurements, because what was received cannot be trusted.

        """
        for name in self._index if joints is None else self._index.keys() & set(joints):
            self._rejections[name] = rejection
            if forget and self._stamps.pop(name, None) is not None:
                self.stamps_ns[self._index[name]] = 0
                self.oldest_ns = None

    def observe(
        self,
        stamp_ns: int,
        names: Sequence[str],
        positions: Sequence[float],
        velocities: Sequence[float],
        trusted: Collection[str] | None = None,
    ) -> None:
        """Store one joint state message.

        Joints that are not actuated or not in `trusted` are ignored, and so is a message without
        any other, which may be malformed or have velocities only.

        Raises:
            MalformedError: the sizes differ, a joint is named twice, a position is not finite, or
                a value is larger than 1e6: nothing is stored then. out_of_order: a joint has a
                measurement that is newer by up to 1 s; the others are stored. A stamp that is
                further back comes from a clock that was reset, and is stored.

        """
        accepted = self._index if trusted is None else self._index.keys() & set(trusted)
        found = [(i, name) for i, name in enumerate(names) if name in accepted]
        if not found:
            return
        require(
            len(positions) == len(names) and len(velocities) in (0, len(names)),
            "invalid_joint_state",
            f"{len(names)} names with {len(positions)} positions and {len(velocities)} "
            f"velocities; joint '{found[0][1]}' needs a position",
        )
        if len(set(names)) != len(names):
            require_unique(list(names), "a joint state")
        speeds = [v if math.isfinite(v) else 0.0 for v in velocities] or [0.0] * len(names)
        for i, name in found:
            # Not by require(): the message would take most of the time.
            if not (abs(positions[i]) <= _MAX_VALUE and abs(speeds[i]) <= _MAX_VALUE):
                raise MalformedError(
                    "invalid_joint_state",
                    f"joint '{name}' has position and velocity {(positions[i], speeds[i])}",
                )
        late = ""
        for i, name in found:
            behind_ns = self._stamps.get(name, stamp_ns) - stamp_ns
            if 0 < behind_ns <= _RESET_STEP_NS:
                late = (
                    f"a joint state of '{name}' is {ns_to_s(behind_ns):.3f} s behind its last one"
                )
                continue
            self._rejections.pop(name, None)
            at = self._index[name]
            self._stamps[name] = self.stamps_ns[at] = stamp_ns
            self.position[at] = positions[i]
            self.velocity[at] = speeds[i]
            if at in self._continuous:
                self._as_reported[at] = positions[i]
                if self.near is not None:
                    self.position[at] = nearest_turn(positions[i], float(self.near[at]))
        if len(self._stamps) == len(self._index):
            self.oldest_ns = min(self._stamps.values())
        require(not late, "out_of_order", late)

    def use_own_turns(self, references: Mapping[str, float]) -> None:
        """Take continuous joints to be in the turn that their controllers or drivers use.

        This is the turn of the reference of the joint's controller, else the one in which its
        driver reports it.
        """
        self.near = None
        for name, at in self._index.items():
            if at in self._as_reported:
                angle = self._as_reported[at]
                self.position[at] = nearest_turn(angle, references.get(name, angle))

    def start_state(
        self, limits: Limits, slack: float, rest_velocity: float
    ) -> tuple[Array, Array]:
        """Return position and velocity [N] to start a motion from, without encoder noise.

        A joint up to `slack` outside its position limits is set to the limit; one slower than
        `rest_velocity` is set to rest.
        """
        inside = np.clip(self.position, limits.lower, limits.upper)
        near = np.abs(inside - self.position) <= slack
        slow = np.abs(self.velocity) < rest_velocity
        return np.where(near, inside, self.position), np.where(slow, 0.0, self.velocity)

    def check_age(self, now_ns: int, timeout: float, max_future: float) -> Rejection | None:
        """Return why the robot's state is unknown now, or None.

        It is unknown if a joint has no measurement, or the oldest measurement is older than
        `timeout` s or more than `max_future` s in the future.
        """
        if self.oldest_ns is None:
            names = [name for name in self._index if name not in self._stamps]
            for name in names:
                if name in self._rejections:
                    return self._rejections[name]
            missing = ", ".join(names)
            return Rejection("no_joint_state", f"no joint state received for {missing}")
        age = ns_to_s(now_ns - self.oldest_ns)
        if age > timeout:
            oldest = min(self._stamps, key=self._stamps.__getitem__)
            if oldest in self._rejections:
                return self._rejections[oldest]
            return Rejection(
                "stale_joint_state",
                f"the last joint state of {oldest} is {age:.2f} s old, joint_state_timeout is "
                f"{timeout:g}{other_clock_hint(age)}",
            )
        if age < -max_future:
            return Rejection(
                "clock_skew",
                f"joint states are stamped {-age:.3f} s in the future: synchronise the clocks of "
                "the machines",
            )
        return None
