# SPDX-License-Identifier: Apache-2.0
"""Recent joint positions of several sources, interpolated at the time of an observation."""

import math
from collections.abc import Collection, Sequence

from groot_ros.core import MalformedError, StampedInput, ns_to_s, other_clock_hint
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
    ) -> bool:
        """Add a message of one source; a malformed message is rejected as a whole.

        A message without any of the joints is ignored: it may be malformed, or have velocities
        only. Joints are kept whose position is newer than their last one.

        Returns:
            Whether the message has a joint whose history was dropped, because the clock of the
            driver was reset.

        Raises:
            MalformedError: sizes_disagree, duplicate_name, non_finite.
            Rejected: out_of_order; the other joints of the message are kept.

        """
        named = set(names)
        present = [j for j in self._joints_of[topic] if j in named]
        self._named[topic] = tuple(names)
        if not present:
            return False
        require(
            len(names) == len(positions),
            "sizes_disagree",
            f"{topic}: {len(names)} names and {len(positions)} positions; joint '{present[0]}' "
            "needs a position",
        )
        if len(named) != len(names):
            require_unique(list(names), topic)
        by_name = dict(zip(names, positions, strict=True))
        for joint in present:
            if not math.isfinite(by_name[joint]):
                raise MalformedError("non_finite", f"{topic}: {joint} is {by_name[joint]}")
        reset = any(self._histories[joint].is_reset_by(stamp_ns) for joint in present)
        late = [
            joint
            for joint in present
            if not self._histories[joint].append(stamp_ns, float(by_name[joint]))
        ]
        if late:
            behind = ns_to_s(self._histories[late[0]].newest - stamp_ns)
            raise Rejected(
                "out_of_order",
                f"'{topic}' repeats the stamp of the last position of '{late[0]}', or is behind "
                f"it by {behind:.3f} s",
            )
        return reset

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

    def drop_topic(self, topic: str) -> None:
        """Drop all samples of one source."""
        for joint in self._joints_of[topic]:
            self._histories[joint].clear()

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
            raise self._stale(joint, "is {:.3f} s older than", stamp_ns - before)
        if after is None or before == stamp_ns:
            return history.at(before), [before]
        if after - stamp_ns > max_gap_ns:
            raise self._stale(joint, "is followed only {:.3f} s after", after - stamp_ns)
        share = (stamp_ns - before) / (after - before)
        between = interpolate_angle if joint in self._continuous else interpolate
        return between(history.at(before), history.at(after), share), [before, after]

    def _missing(self, joint: str, stamp_ns: int, after: int | None) -> Rejected:
        topic = self._topic_of[joint]
        if topic not in self._named:
            return Rejected("missing_joint_state", f"nothing received on '{topic}'", topic)
        if after is None:
            named = self._named[topic]
            if joint in named:
                detail = f"no position of joint '{joint}' on '{topic}' since the last reset"
                return Rejected("missing_joint_state", detail, topic)
            return Rejected(
                "missing_joint",
                f"'{topic}' does not name joint '{joint}'; it names "
                f"{', '.join(named) or 'no joint at all'}",
                topic,
            )
        late = ns_to_s(after - stamp_ns)
        return Rejected(
            "missing_joint_state",
            f"the first position of joint '{joint}' on '{topic}' is {late:.3f} s newer than "
            f"the images{other_clock_hint(late)}",
        )

    def _stale(self, joint: str, how: str, gap_ns: int) -> Rejected:
        topic, gap = self._topic_of[joint], ns_to_s(gap_ns)
        return Rejected(
            "stale_joint_state",
            f"the position of '{joint}' on '{topic}' {how.format(gap)} the images"
            f"{other_clock_hint(gap)}",
            topic,
        )
