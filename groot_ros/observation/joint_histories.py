"""The joints' positions at any recent moment, put together from several sources."""

import math
from collections.abc import Collection, Sequence

from groot_ros.core import MalformedError, StampedInput, ns_to_s
from groot_ros.core.invariants import require, require_unique
from groot_ros.observation.history import History
from groot_ros.observation.rejections import Rejected
from groot_ros.robot import JointStateSource

#: Samples kept per joint: seconds of a 1 kHz driver.
_CAPACITY = 4096


class JointHistories:
    """Positions by joint name, whatever the order of a message and whatever else it names.

    Each joint has a history of its own: several drivers may share one topic, each naming
    only its own joints.

    Args:
        sources: who is trusted for which joint.
        joints: the joints wanted; every other one is ignored.
        span_ns: how far back positions are kept.

    """

    def __init__(
        self, sources: Sequence[JointStateSource], joints: Collection[str], span_ns: int
    ) -> None:
        self._wanted = {s.topic: [j for j in s.joints if j in joints] for s in sources}
        self._topic_of = {j: topic for topic, own in self._wanted.items() for j in own}
        self._histories: dict[str, History[float]] = {
            j: History(span_ns, _CAPACITY) for j in self._topic_of
        }
        self._named: dict[str, tuple[str, ...]] = {}

    def keep(self, span_ns: int) -> None:
        """Change how far back positions are kept."""
        for history in self._histories.values():
            history.span_ns = span_ns

    def add(
        self, topic: str, stamp_ns: int, names: Sequence[str], positions: Sequence[float]
    ) -> None:
        """One message of one source; rejected whole when it is malformed.

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
        present = [j for j in self._wanted[topic] if j in by_name]
        for joint in present:
            if not math.isfinite(by_name[joint]):
                raise MalformedError("non_finite", f"{topic}: {joint} is {by_name[joint]}")
        for joint in present:
            self._histories[joint].add(stamp_ns, float(by_name[joint]))
        self._named[topic] = tuple(names)

    def at(
        self, stamp_ns: int, max_gap_ns: int
    ) -> tuple[dict[str, float], tuple[StampedInput, ...]]:
        """Joint -> position at the moment, rad or m, and the samples that went into it.

        Linear between the two samples around the moment; the newest sample is held when
        none is newer. Every sample used lies within `max_gap_ns` of the moment.

        Raises:
            Rejected: missing_joint_state, missing_joint, stale_joint_state.

        """
        positions: dict[str, float] = {}
        used: set[tuple[int, str]] = set()
        for joint in self._histories:
            positions[joint], stamps = self._position(joint, stamp_ns, max_gap_ns)
            used.update((s, self._topic_of[joint]) for s in stamps)
        return positions, tuple(StampedInput(topic, stamp) for stamp, topic in sorted(used))

    def forget_after(self, stamp_ns: int) -> None:
        """Forget samples newer than this."""
        for history in self._histories.values():
            history.forget_after(stamp_ns)

    def clear(self) -> None:
        """Forget every sample."""
        self._named.clear()
        for history in self._histories.values():
            history.clear()

    def _position(self, joint: str, stamp_ns: int, max_gap_ns: int) -> tuple[float, list[int]]:
        history = self._histories[joint]
        before, after = history.around(stamp_ns)
        if before is None:
            raise self._absent(joint, stamp_ns, after)
        if stamp_ns - before > max_gap_ns:
            raise self._stale(joint, f"is {ns_to_s(stamp_ns - before):.3f} s older than")
        if after is None or before == stamp_ns:
            return history.at(before), [before]
        if after - stamp_ns > max_gap_ns:
            raise self._stale(joint, f"is followed only {ns_to_s(after - stamp_ns):.3f} s after")
        share = (stamp_ns - before) / (after - before)
        position = (1.0 - share) * history.at(before) + share * history.at(after)
        return position, [before, after]

    def _absent(self, joint: str, stamp_ns: int, after: int | None) -> Rejected:
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
            f"'{topic}' has joint '{joint}' only from {late:.3f} s after the images on",
        )

    def _stale(self, joint: str, how: str) -> Rejected:
        topic = self._topic_of[joint]
        return Rejected(
            "stale_joint_state", f"the position of '{joint}' on '{topic}' {how} the images"
        )
