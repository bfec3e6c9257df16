"""From the executor's committed timeline to the prefix of the next chunk."""

from collections.abc import Mapping
from math import ceil

import numpy as np

from groot_ros.control.curve import Curve
from groot_ros.control.rtc import schedule
from groot_ros.core import (
    NS_PER_S,
    ChunkOrigin,
    CommittedTimeline,
    Prefix,
    RtcMode,
    s_to_ns,
)

#: s over which a hold ends where so much is known, and at least, see `benchmarks.continuity`.
_ENDING, _SHORTEST_ENDING = 1 / 3, 0.25
#: Steps over which it ends at least in the native form, whose ramp is steep anyway.
_FEWEST_SOFT = 2


class Continuation:
    """What of the committed motion the next chunk of one policy continues.

    The newest timeline may be handed over by one thread while another asks for a prefix.

    Args:
        mode: how chunks are conditioned; OFF never gives a prefix.
        groups: action group of the checkpoint -> its joints in order.
        dt: s between the steps of a chunk.
        horizon: steps of a chunk.
        first_step: s from the observation to the chunk's first step.
        frozen_steps: steps to freeze whatever the delay; None = as many as it needs.

    """

    def __init__(
        self,
        mode: RtcMode,
        groups: Mapping[str, tuple[str, ...]],
        dt: float,
        horizon: int,
        first_step: float = 0.0,
        frozen_steps: int | None = None,
    ) -> None:
        self._mode = mode
        self._groups = dict(groups)
        self._dt = dt
        self._horizon = horizon
        self._first_step = first_step
        self._frozen_steps = frozen_steps
        self._timeline: CommittedTimeline | None = None

    def take(self, timeline: CommittedTimeline) -> None:
        """The executor has committed to this."""
        self._timeline = timeline

    def prefix(self, origin: ChunkOrigin, delay: int, period: int) -> Prefix | None:
        """The prefix of a chunk, or None where there is nothing to continue.

        `delay` (d, 0 = not measured yet) and `period` (s) are steps from t_obs until the chunk
        acts and between chunks. Motion of another session or episode is not continued: after a
        reset, the executor's blend alone takes care of the seam. After a changed instruction
        only the frozen steps are. Nor is anything where d > H - s, or where too little is known
        for the hold to end softly: the step to what the chunk wants would lie inside it, where
        nothing blends. For the same reason a guided hold begins to soften before d where less
        than `_ENDING` s is known beyond: what it leaves at the splice the executor blends.
        Where the number of frozen steps was given, neither delay nor budget nor softness count.
        """
        timeline, given = self._timeline, self._frozen_steps
        if self._mode == RtcMode.OFF or timeline is None or (given is None and delay < 1):
            return None
        if (timeline.session, timeline.episode) != (origin.session, origin.episode):
            return None
        overlap = self._horizon - period
        late = max(0, delay - round(self._first_step / self._dt)) if given is None else given
        if given is None and late > overlap:
            return None
        values, steps = self._committed(timeline, origin.t_obs_ns + s_to_ns(self._first_step))
        frozen = min(late, steps)
        overlap = frozen if origin.new_instruction else min(max(overlap, frozen), steps)
        if not values or overlap < 1:
            return None
        if given is None and not origin.new_instruction:
            if self._ends_abruptly(frozen, overlap):
                return None
            if self._mode == RtcMode.GUIDED:
                frozen = min(frozen, max(1, overlap + 1 - ceil(_ENDING / self._dt - 1e-6)))
        weights = schedule(self._mode, steps, frozen, overlap)
        return Prefix(
            values,
            weights.start,
            weights.weight,
            weights.strength,
            weights.clean,
            self._mode,
            frozen,
            timeline.id,
        )

    def _ends_abruptly(self, frozen: int, overlap: int) -> bool:
        if self._mode == RtcMode.GUIDED:
            return overlap * self._dt < _SHORTEST_ENDING
        return overlap - frozen < _FEWEST_SOFT

    def _committed(
        self, timeline: CommittedTimeline, start_ns: int
    ) -> tuple[dict[str, np.ndarray], int]:
        """Group -> [K, D] at the steps of a chunk from start_ns on, and K."""
        rows = np.round(np.arange(len(timeline.positions)) * (timeline.dt * NS_PER_S))
        curve = Curve(
            timeline.start_ns + rows.astype(np.int64), timeline.positions, timeline.velocities
        )
        offsets = np.round(np.arange(self._horizon) * (self._dt * NS_PER_S)).astype(np.int64)
        due = start_ns + offsets
        steps = int((due <= curve.end_ns).sum())
        if start_ns < curve.start_ns or steps == 0 or len(rows) < 2:
            return {}, 0
        positions, _ = curve.sample(due[:steps])
        column = {name: i for i, name in enumerate(timeline.joint_names)}
        return {
            group: positions[:, [column[joint] for joint in joints]]
            for group, joints in self._groups.items()
            if all(joint in column for joint in joints)
        }, steps
