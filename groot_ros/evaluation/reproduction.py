# SPDX-License-Identifier: Apache-2.0
"""Reproduce the chunks that a policy published: same images, state, seed, prefix and checkpoint.

A chunk of the same checkpoint, engine and number of threads comes out bit by bit. Chunks whose
inputs or prefix are not in the bag are counted as not reproducible, with a reason; they say nothing
about the policy.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from groot_ros.bags.recording import RobotBag
from groot_ros.control.rtc import Continuation
from groot_ros.core import ActionChunk, CommittedTimeline, Prefix, RtcMode
from groot_ros.evaluation.bag_observations import ChunkObservation, chunk_observations
from groot_ros.observation.spec import ObservationSpec
from groot_ros.policy import Policy


@dataclass(frozen=True)
class Difference:
    """Largest difference between a recorded chunk and the same chunk computed offline.

    Attributes:
        chunk_id: of the recorded chunk.
        since_start: s from the start of the bag to its observation.
        joint: where the difference is largest; a group's name if the chunks have other columns.
        step: of the chunk.
        value: rad or m; inf if the chunks have other columns.

    """

    chunk_id: int
    since_start: float
    joint: str
    step: int
    value: float


@dataclass
class Reproduction:
    """Chunks of a recording compared with the same chunks computed offline.

    Attributes:
        recorded: number of chunks in the bag.
        exact: number of chunks that are equal bit by bit.
        differing: the others that were computed.
        not_reproducible: reason -> number of chunks that cannot be computed from the bag.

    """

    recorded: int = 0
    exact: int = 0
    differing: list[Difference] = field(default_factory=list)
    not_reproducible: Counter[str] = field(default_factory=Counter)

    @property
    def worst(self) -> Difference | None:
        """Return the largest difference; None if there is none."""
        return max(self.differing, key=lambda each: each.value, default=None)


def reproduce(bag: RobotBag, policy: Policy) -> Reproduction:
    """Compute the chunks of a bag again, and compare.

    Chunks of another checkpoint, embodiment or engine are counted as not reproducible.

    Args:
        bag: after `read()`.
        policy: with the robot contract of the bag.

    """
    reproducer = _Reproducer(bag, policy)
    steps = policy.num_inference_steps
    try:
        for each in chunk_observations(bag, ObservationSpec.of_policy(policy.spec)):
            reproducer.add(each)
    finally:
        policy.num_inference_steps = steps
    return reproducer.result


class _Reproducer:
    """State of one pass: the session of a stateful policy, and the counts."""

    def __init__(self, bag: RobotBag, policy: Policy) -> None:
        self._bag = bag
        self._policy = policy
        self._continuations: dict[RtcMode, Continuation] = {}
        self._session: Any = None
        #: Session, episode and id of the last chunk that was computed.
        self._last = ("", -1, 0)
        self.result = Reproduction()

    def add(self, each: ChunkObservation) -> None:
        """Compute one chunk; chunks come in the order of the recording."""
        chunk, result = each.recorded.chunk, self.result
        result.recorded += 1
        reason = self._other_policy(chunk) or each.reason or self._missing_history(chunk)
        prefix: Prefix | None = None
        if not reason and chunk.prefix_id:
            prefix = self._prefix(chunk, each.recorded.received_ns)
            if prefix is None:
                reason = "prefix_not_recorded"
        if reason:
            result.not_reproducible[reason] += 1
            return
        assert each.observation is not None
        self._policy.num_inference_steps = (
            chunk.num_inference_steps or self._policy.num_inference_steps
        )
        computed = self._policy.infer(each.observation, prefix, chunk.noise_seed, self._session)
        self._last = (chunk.session, chunk.episode, chunk.id)
        difference = compare(chunk, computed)
        if difference is None:
            result.exact += 1
            return
        joint, step, value = difference
        since = self._bag.since_start(chunk.stamp_ns)
        result.differing.append(Difference(chunk.id, since, joint, step, value))

    def _other_policy(self, chunk: ActionChunk) -> str:
        policy = self._policy
        if chunk.checkpoint_hash != policy.checkpoint_hash:
            return "other_checkpoint"
        if chunk.embodiment != policy.spec.embodiment:
            return "other_embodiment"
        return "" if chunk.engine == policy.engine.name else "other_engine"

    def _missing_history(self, chunk: ActionChunk) -> str:
        """Return a reason if a stateful policy saw observations that are not in the bag."""
        if not self._policy.spec.stateful:
            return ""
        session, episode, number = self._last
        if (chunk.session, chunk.episode) == (session, episode):
            return "" if chunk.id == number + 1 else "earlier_chunk_not_reproduced"
        # Ids count over the session, so only the first chunk of a session is known to be a first.
        first = chunk.id == 1 or (chunk.session == session and chunk.id == number + 1)
        if first:
            self._session = self._policy.new_session()
        return "" if first else "earlier_chunk_not_reproduced"

    def _prefix(self, chunk: ActionChunk, received_ns: int) -> Prefix | None:
        """Return the prefix that the chunk was conditioned on; None if the bag lacks it."""
        timeline = self._timeline(chunk, received_ns)
        # Chunks of version 0.2.0 do not state how many steps were conditioned.
        if timeline is None or not chunk.overlap_steps:
            return None
        if chunk.rtc_mode not in self._continuations:
            continuation = Continuation.of_policy(chunk.rtc_mode, self._policy, self._bag.contract)
            self._continuations[chunk.rtc_mode] = continuation
        continuation = self._continuations[chunk.rtc_mode]
        continuation.set_timeline(timeline)
        return continuation.recorded_prefix(chunk.stamp_ns, chunk.frozen_steps, chunk.overlap_steps)

    def _timeline(self, chunk: ActionChunk, received_ns: int) -> CommittedTimeline | None:
        """Return the timeline with the id that the chunk states; executors count from 1 again."""
        found = [
            (abs(received_ns - at), timeline)
            for at, timeline in self._bag.timelines
            if timeline.id == chunk.prefix_id
            and (timeline.session, timeline.episode) == (chunk.session, chunk.episode)
        ]
        return min(found, key=lambda pair: pair[0])[1] if found else None


def compare(recorded: ActionChunk, computed: ActionChunk) -> tuple[str, int, float] | None:
    """Return (joint, step, rad or m) of the largest difference; None if there is none at all."""
    worst: tuple[str, int, float] | None = None
    others = {group.name: group for group in computed.groups}
    for group in recorded.groups:
        other = others.get(group.name)
        if other is None or other.values.shape != group.values.shape or other.names != group.names:
            return group.name, 0, float("inf")
        difference = np.abs(group.values - other.values)
        step, column = (int(i) for i in np.unravel_index(difference.argmax(), difference.shape))
        value = float(difference[step, column])
        if value > (0.0 if worst is None else worst[2]):
            name = group.names[column] if len(group.names) == group.width else group.name
            worst = (name, step, value)
    times = (recorded.start_ns, recorded.dt, recorded.frozen_steps)
    if worst is None and times != (computed.start_ns, computed.dt, computed.frozen_steps):
        return "time of the steps", 0, float("inf")
    return worst
