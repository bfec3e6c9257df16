# SPDX-License-Identifier: Apache-2.0
"""Recent joint positions of several sources, interpolated at the time of an observation."""

import math
from collections.abc import Collection, Sequence

from groot_ros.core import MalformedError, StampedInput, ns_to_s
from groot_ros.core.invariants import require, require_unique
from groot_ros.observation.history import History
from groot_ros.observation.rejections import Rejected
from groot_ros.robot import JointStateSource

#: Samples kept per joint: about 4 s of a 1 kHz driver.
_CAPACITY = 4096


def interpolate(a: float, b: float, share: float) -> float:
    """Return the value at this share of the way from a to b."""
    return (1.0 - share) * a + share * b


def interpolate_angle(a: float, b: float, share: float) -> float:
    """Interpolate the shorter way round, rad.

    Where a driver reports (-pi, pi], the result stays in that range.
    """
    nearest = a + math.remainder(b - a, math.tau)
    angle = interpolate(a, nearest, share)
    wrapped = max(abs(a), abs(b)) <= math.pi < abs(angle)
    return math.remainder(angle, math.tau) if wrapped else angle


class JointBuffer:
    """Positions by joint name; the order of a message and further joints in it do not matter.

    Each joint has its own history, because several drivers may share one topic, each of them
    publishing only its own joints.

    Args:
        sources: the topics, and the joints each of them is trusted for.
        joints: the joints to keep; all others are ignored.
        span_ns: how long positions are kept.
        continuous: the joints that turn without end.

    """

    def __init__(
        self,
        sources: Sequence[JointStateSource],
        joints: Collection[str],
        span_ns: int,
        continuous: Collection[str] = (),
    ) -> None:
        self._continuous = frozenset(continuous)
        self._joints_of = {s.topic: [j for j in s.joints if j in joints] for s in sources}
        self._topic_of = {j: topic for topic, own in self._joints_of.items() for j in own}
        self._histories: dict[str, History[float]] = {
            j: History(span_ns, _CAPACITY) for j in self._topic_of
        }
        self._named: dict[str, tuple[str, ...]] = {}

    def set_span(self, span_ns: int) -> None:
        """Change how long positions are kept."""
        for history in self._histories.values():
            history.span_ns = span_ns

    def add_joint_state(
        self, topic: str, stamp_ns: int, names: Sequence[str], positions: Sequence[float]
    ) -> None:
        """Add a message of one source; a malformed message is rejected as a whole.

        Raises:
            MalformedError: sizes_disagree, duplicate_name, non_finite.

        """
        require(
            len(names) == len(positions),
            "sizes_disagree",
            f"{topic}: {len(names)} names and {len(positions)} positions",
        )
        by_name = dict(zip(names, positions, strict=True))
        if len(by_name) != len(names):
            require_unique(list(names), topic)
        present = [j for j in self._joints_of[topic] if j in by_name]
        for joint in present:
            if not math.isfinite(by_name[joint]):
                raise MalformedError("non_finite", f"{topic}: {joint} is {by_name[joint]}")
        for joint in present:
            self._histories[joint].append(stamp_ns, float(by_name[joint]))
        self._named[topic] = tuple(names)

    def interpolate(
        self, stamp_ns: int, max_gap_ns: int
    ) -> tuple[dict[str, float], tuple[StampedInput, ...]]:
        """Return joint -> position at `stamp_ns`, rad or m, and the samples used.

        Positions are interpolated linearly between the samples before and after `stamp_ns`; the
        newest sample is held if there is none after it. Every sample used lies within
        `max_gap_ns` of `stamp_ns`.

        Raises:
            Rejected: missing_joint_state, missing_joint, stale_joint_state.

        """
        positions: dict[str, float] = {}
        used: set[tuple[int, str]] = set()
        for joint in self._histories:
            positions[joint], stamps = self._position(joint, stamp_ns, max_gap_ns)
            used.update((s, self._topic_of[joint]) for s in stamps)
        return positions, tuple(StampedInput(topic, stamp) for stamp, topic in sorted(used))

    def drop_after(self, stamp_ns: int) -> None:
        """Drop the samples that are newer than this."""
        for history in self._histories.values():
            history.drop_after(stamp_ns)

    def clear(self) -> None:
        """Drop all samples."""
        self._named.clear()
        for history in self._histories.values():
            history.clear()

    def _position(self, joint: str, stamp_ns: int, max_gap_ns: int) -> tuple[float, list[int]]:
        """Return the joint's position and the stamps of the one or two samples used."""
        history = self._histories[joint]
        before, after = history.neighbours(stamp_ns)
        if before is None:
            raise self._missing(joint, stamp_ns, after)
        if stamp_ns - before > max_gap_ns:
            raise self._stale(joint, f"is {ns_to_s(stamp_ns - before):.3f} s older than")
        if after is None or before == stamp_ns:
            return history.at(before), [before]
        if after - stamp_ns > max_gap_ns:
            raise self._stale(joint, f"is followed only {ns_to_s(after - stamp_ns):.3f} s after")
        share = (stamp_ns - before) / (after - before)
        between = interpolate_angle if joint in self._continuous else interpolate
        return between(history.at(before), history.at(after), share), [before, after]

    def _missing(self, joint: str, stamp_ns: int, after: int | None) -> Rejected:
        topic = self._topic_of[joint]
        if topic not in self._named:
            return Rejected("missing_joint_state", f"nothing received on '{topic}'")
        if after is None:
            named = ", ".join(self._named[topic]) or "no joint at all"
            return Rejected(
                "missing_joint", f"'{topic}' does not name joint '{joint}'; it names {named}"
            )
        late = ns_to_s(after - stamp_ns)
        return Rejected(
            "missing_joint_state",
            f"the first position of joint '{joint}' on '{topic}' is {late:.3f} s newer than "
            "the images",
        )

    def _stale(self, joint: str, how: str) -> Rejected:
        topic = self._topic_of[joint]
        return Rejected(
            "stale_joint_state", f"the position of '{joint}' on '{topic}' {how} the images"
        )
