"""The measured joint state, gathered by name from any number of sources."""

import math
from collections.abc import Collection, Sequence

import numpy as np

from groot_ros.control.curve import Array
from groot_ros.control.limits import Limits
from groot_ros.control.rejection import Rejection
from groot_ros.core import ns_to_s
from groot_ros.core.invariants import require, require_unique

#: rad or m, and per s: what is beyond is no measurement, and its square is no number.
_LARGEST = 1e6


class MeasuredState:
    """Newest position and velocity of each joint.

    Attributes:
        position: float64 [N] rad or m.
        velocity: float64 [N] rad/s or m/s; 0 for joints whose source reports none, or NaN, as
            joint_state_broadcaster does of joints without a velocity interface.
        seen_ns: int64 [N], stamp of each joint's position; 0 before the first.
        oldest_ns: stamp of the joint heard of least recently; None while one is missing.

    """

    def __init__(self, joint_names: Sequence[str]) -> None:
        self._index = {name: i for i, name in enumerate(joint_names)}
        self.clear()

    def clear(self) -> None:
        """Forget everything, as after a jump of the clock."""
        self.position: Array = np.zeros(len(self._index))
        self.velocity: Array = np.zeros(len(self._index))
        self.seen_ns = np.zeros(len(self._index), dtype=np.int64)
        self._stamps: dict[str, int] = {}
        self.oldest_ns: int | None = None

    def observe(
        self,
        stamp_ns: int,
        names: Sequence[str],
        positions: Sequence[float],
        velocities: Sequence[float],
        trusted: Collection[str] | None = None,
    ) -> None:
        """Take one message; joints of no interest, not trusted, or with older news are ignored.

        Raises MalformedError when sizes disagree, a joint is named twice, a position is not finite,
        or a value beyond any robot.
        """
        require(
            len(positions) == len(names) and len(velocities) in (0, len(names)),
            "bad_joint_state",
            f"{len(names)} names with {len(positions)} positions and {len(velocities)} velocities",
        )
        if len(set(names)) != len(names):
            require_unique(list(names), "a joint state")
        wanted = self._index if trusted is None else self._index.keys() & set(trusted)
        found = [(i, name) for i, name in enumerate(names) if name in wanted]
        speeds = [v if math.isfinite(v) else 0.0 for v in velocities] or [0.0] * len(names)
        for i, name in found:
            values = (positions[i], speeds[i])
            sound = all(abs(value) <= _LARGEST for value in values)
            require(sound, "bad_joint_state", f"joint '{name}' is at {values}")
        for i, name in found:
            if stamp_ns < self._stamps.get(name, stamp_ns):
                continue
            at = self._index[name]
            self._stamps[name] = self.seen_ns[at] = stamp_ns
            self.position[at] = positions[i]
            self.velocity[at] = speeds[i]
        if len(self._stamps) == len(self._index):
            self.oldest_ns = min(self._stamps.values())

    def settled(self, limits: Limits, slack: float, rest_velocity: float) -> tuple[Array, Array]:
        """Position and velocity to start from, encoder noise taken out.

        A joint up to `slack` outside its position limits is on the limit; one slower than
        `rest_velocity` stands.
        """
        inside = np.clip(self.position, limits.lower, limits.upper)
        near = np.abs(inside - self.position) <= slack
        slow = np.abs(self.velocity) < rest_velocity
        return np.where(near, inside, self.position), np.where(slow, 0.0, self.velocity)

    def unknown(self, now_ns: int, timeout: float, most_ahead: float) -> Rejection | None:
        """Why the robot's state is not known now, or None.

        A joint was never heard of, not for `timeout` s, or not before `most_ahead` s from now.
        """
        if self.oldest_ns is None:
            missing = ", ".join(name for name in self._index if name not in self._stamps)
            return Rejection("no_joint_state", f"nothing heard of {missing}")
        age = ns_to_s(now_ns - self.oldest_ns)
        if age > timeout:
            oldest = min(self._stamps, key=self._stamps.__getitem__)
            return Rejection("stale_joint_state", f"{oldest} was last heard of {age:.2f} s ago")
        if age < -most_ahead:
            return Rejection(
                "clocks_disagree", f"joint states come from {-age:.3f} s in the future"
            )
        return None
