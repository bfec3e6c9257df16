# SPDX-License-Identifier: Apache-2.0
"""Real-time chunking: condition a new chunk on the motion that the executor is committed to.

In steps of the chunk: `frozen` steps will have been executed when the chunk arrives (the inference
delay d), the steps up to `overlap` (H - s) probably will be, and the rest is free.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import Protocol

import numpy as np

from groot_ros.control.curve import Array, Curve
from groot_ros.core import (
    NS_PER_S,
    ChunkOrigin,
    CommittedTimeline,
    Prefix,
    RtcMode,
    s_to_ns,
)
from groot_ros.robot import RobotContract

#: Rate at which the velocity returns after the frozen steps; GR00T's constant for native chunking.
_RAMP_RATE = 6.0
#: s over which a guided hold is released if that much is known, and at least;
#: see `benchmarks.continuity`.
_RELEASE_TIME, _MIN_RELEASE_TIME = 1 / 3, 0.25
#: Steps over which a native hold is released at least; its ramp is steep anyway.
_MIN_SOFT_STEPS = 2


@dataclass(frozen=True)
class Schedule:
    """The per-step factors of a `Prefix`, float64 [K] each."""

    start: Array
    weight: Array
    strength: Array
    clean: Array


def guidance_weights(steps: int, frozen: int, overlap: int) -> Array:
    """Return the soft mask W, [steps]: 1 while frozen, a smooth decrease until `overlap`, then 0.

    Kevin Black et al. (Real-Time Execution of Action Chunking Flow Policies, 2025) let c be the
    remaining share of the overlap and use c (e^c - 1) / (e - 1), which drops by a third in its
    first step. Unless the network smooths that out, it is a corner inside the chunk, where the
    executor does not blend: in `benchmarks.continuity` it has three times the acceleration of
    c^2 (3 - 2 c), which is used here.
    """
    left = np.clip((overlap - np.arange(steps)) / (overlap - frozen + 1), 0.0, 1.0)
    return left**2 * (3.0 - 2.0 * left)


def velocity_ramp(steps: int, frozen: int, overlap: int) -> Array:
    """Return the factor on the velocity, [steps]: 0 while frozen, rising until `overlap`, then 1.

    The rise is (1 - e^-rt) / (1 - e^-r), as in NVIDIA's GR00T.
    """
    t = np.clip((np.arange(steps) - frozen + 1) / (overlap - frozen + 1), 0.0, 1.0)
    return np.expm1(-_RAMP_RATE * t) / np.expm1(-_RAMP_RATE)


def schedule(mode: RtcMode, steps: int, frozen: int, overlap: int) -> Schedule:
    """Return how `steps` known steps condition a chunk; 0 <= frozen <= overlap <= steps.

    guided: the prediction is pulled towards the prefix at every denoising step.
    native: sampling starts from the prefix; the velocity of frozen steps is 0 and returns after
        them.
    trained: the network sees frozen steps as denoised. This needs a checkpoint trained with action
        prefixes. A GR00T checkpoint does not state that, so no node parameter selects this mode.
    """
    zeros, ones = np.zeros(steps), np.ones(steps)
    held = (np.arange(steps) < frozen).astype(np.float64)
    overlapping = (np.arange(steps) < overlap).astype(np.float64)
    if mode == RtcMode.GUIDED:
        return Schedule(zeros, guidance_weights(steps, frozen, overlap), ones, zeros)
    if mode == RtcMode.NATIVE:
        return Schedule(overlapping, zeros, velocity_ramp(steps, frozen, overlap), zeros)
    if mode == RtcMode.TRAINED:
        return Schedule(held, zeros, 1.0 - held, held)
    return Schedule(zeros, zeros, ones, zeros)


class _ChunkShape(Protocol):
    """The part of groot_ros.policy.PolicySpec that a continuation needs."""

    @property
    def horizon(self) -> int:
        """Number of steps of a chunk."""


class ChunkPolicy(Protocol):
    """The part of groot_ros.policy.Policy that a continuation needs."""

    @property
    def joint_groups(self) -> tuple[str, ...]:
        """Action groups that move joints."""

    @property
    def spec(self) -> _ChunkShape:
        """Specification of the checkpoint."""

    @property
    def first_step(self) -> float:
        """Time from the observation to the first step of its chunk, s."""

    @property
    def dt(self) -> float:
        """Time between the steps of a chunk, s."""


class Continuation:
    """Builds the prefix of the next chunk from the newest committed timeline.

    One thread may set the timeline while another one asks for a prefix.

    Args:
        mode: how chunks are conditioned; OFF never gives a prefix.
        groups: action group of the checkpoint -> its joints in order.
        dt: time between the steps of a chunk, s.
        horizon: number of steps of a chunk.
        first_step: time from the observation to the chunk's first step, s.
        frozen_steps: number of steps to freeze whatever the delay; None = as many as it needs.

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

    @classmethod
    def of_policy(
        cls,
        mode: RtcMode,
        policy: ChunkPolicy,
        contract: RobotContract,
        frozen_steps: int | None = None,
    ) -> "Continuation":
        """Return how chunks of this policy continue committed motion."""
        return cls(
            mode,
            {name: contract.action_groups[name].joints for name in policy.joint_groups},
            policy.dt,
            policy.spec.horizon,
            policy.first_step,
            frozen_steps,
        )

    def set_timeline(self, timeline: CommittedTimeline) -> None:
        """Store the newest timeline of the executor."""
        self._timeline = timeline

    def prefix(
        self, origin: ChunkOrigin, inference_delay: int, execution_horizon: int
    ) -> Prefix | None:
        """Return the prefix of a chunk, or None if there is nothing to continue.

        Motion of another session or episode is not continued: after a reset only the executor
        blends. After a change of the instruction, only the frozen steps are continued.

        There is no prefix either if d > H - s, or if too little is known to release the hold
        softly: the step to the free part of the chunk would lie inside it, where nothing blends.
        For the same reason a guided hold is released from before d where less than
        `_RELEASE_TIME` is known after d; the executor blends what that leaves at the splice.

        A given number of frozen steps overrides the delay and both conditions.

        Args:
            origin: observation, session and episode of the chunk.
            inference_delay: d, steps from the observation until the chunk acts; 0 = not measured.
            execution_horizon: s, steps between chunks.

        """
        timeline, given = self._timeline, self._frozen_steps
        if self._mode == RtcMode.OFF or timeline is None or (given is None and inference_delay < 1):
            return None
        if (timeline.session, timeline.episode) != (origin.session, origin.episode):
            return None
        overlap = self._horizon - execution_horizon
        first = round(self._first_step / self._dt)
        late = max(0, inference_delay - first) if given is None else given
        if given is None and late > overlap:
            return None
        values, steps = self._committed(timeline, origin.t_obs_ns)
        frozen = min(late, steps)
        overlap = frozen if origin.new_instruction else min(max(overlap, frozen), steps)
        if not values or overlap < 1:
            return None
        if given is None and not origin.new_instruction:
            if self._ends_abruptly(frozen, overlap):
                return None
            if self._mode == RtcMode.GUIDED:
                frozen = min(frozen, max(1, overlap + 1 - ceil(_RELEASE_TIME / self._dt - 1e-6)))
        return self._conditioned(values, steps, frozen, overlap, timeline.id)

    def recorded_prefix(self, t_obs_ns: int, frozen: int, overlap: int) -> Prefix | None:
        """Return the prefix of a chunk that was recorded, from the timeline that it continued.

        Args:
            t_obs_ns: stamp of its observation.
            frozen: its frozen_steps.
            overlap: its overlap_steps.

        Returns:
            None if the timeline does not cover the chunk's start, or has fewer steps.

        """
        if self._timeline is None:
            return None
        values, steps = self._committed(self._timeline, t_obs_ns)
        if not values or overlap > steps:
            return None
        return self._conditioned(values, steps, frozen, overlap, self._timeline.id)

    def _conditioned(
        self, values: Mapping[str, Array], steps: int, frozen: int, overlap: int, timeline_id: int
    ) -> Prefix:
        factors = schedule(self._mode, steps, frozen, overlap)
        return Prefix(
            values,
            factors.start,
            factors.weight,
            factors.strength,
            factors.clean,
            self._mode,
            frozen,
            timeline_id,
            overlap,
        )

    def _ends_abruptly(self, frozen: int, overlap: int) -> bool:
        if self._mode == RtcMode.GUIDED:
            return overlap * self._dt < _MIN_RELEASE_TIME
        return overlap - frozen < _MIN_SOFT_STEPS

    def _committed(
        self, timeline: CommittedTimeline, t_obs_ns: int
    ) -> tuple[dict[str, np.ndarray], int]:
        """Return group -> [K, D] at the steps of a chunk of this observation, and K."""
        start_ns = t_obs_ns + s_to_ns(self._first_step)
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
