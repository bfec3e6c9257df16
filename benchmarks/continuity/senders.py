"""Five ways to make messages to a joint_trajectory_controller of chunks."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from benchmarks.continuity.policies import DT, HORIZON, Array, Source
from benchmarks.continuity.stream import Proposal, Stream
from groot_ros.control import Executor, ExecutorSettings
from groot_ros.control.rtc import Continuation
from groot_ros.core import ActionChunk, ActionGroup, ActionKind, ChunkOrigin, RtcMode, s_to_ns
from groot_ros.sim.trajectory import TrajectoryMessage, TrajectoryPoint

EPOCH_NS = 1_750_000_000_000_000_000


class Sender(ABC):
    """One way to make messages of chunks; `messages` is asked every tick.

    Attributes:
        seams: old minus new at each splice, rad, where the sender knows.
        conditioned: of each chunk, whether real-time chunking had something to hold it to.

    """

    def __init__(self, source: Source) -> None:
        self.joints = source.joints
        self.seams: list[Array] = []
        self.conditioned: list[bool] = []

    @abstractmethod
    def messages(
        self, t: float, due: Sequence[Proposal], measured: Array
    ) -> list[TrajectoryMessage]:
        """What is published at t s, with the chunks that arrived since the last tick."""


class HardReplacement(Sender):
    """Each chunk as it is, at the absolute times of its steps, with a tail to rest."""

    def messages(
        self, t: float, due: Sequence[Proposal], measured: Array
    ) -> list[TrajectoryMessage]:
        """One message a chunk."""
        return [timed(self.joints, p.t_obs, p.values) for p in due]


class StampZero(Sender):
    """Each chunk from its arrival on, positions only: what most bridges publish."""

    def messages(
        self, t: float, due: Sequence[Proposal], measured: Array
    ) -> list[TrajectoryMessage]:
        """One message a chunk."""
        return [
            TrajectoryMessage(
                0,
                self.joints,
                [TrajectoryPoint(s_to_ns((i + 1) * DT), v) for i, v in enumerate(p.values)],
            )
            for p in due
        ]


class Ensembling(Sender):
    """Overlapping chunks averaged with weights exp(-0.01 i), oldest first."""

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        self._past: list[Proposal] = []

    def messages(
        self, t: float, due: Sequence[Proposal], measured: Array
    ) -> list[TrajectoryMessage]:
        """One message when something came."""
        if not due:
            return []
        self._past = [*self._past, *due][-8:]
        newest = self._past[-1]
        times = newest.t_obs + DT * np.arange(HORIZON)
        total, weight = np.zeros_like(newest.values), np.zeros((HORIZON, 1))
        for i, past in enumerate(self._past):
            known = times <= past.t_obs + DT * (HORIZON - 1) + 1e-9
            step = (times - past.t_obs) / DT
            values = [np.interp(step, np.arange(HORIZON), column) for column in past.values.T]
            share = np.exp(-0.01 * i) * known[:, None]
            total += share * np.stack(values, axis=-1)
            weight += share
        return [timed(self.joints, newest.t_obs, total / weight)]


class ThisExecutor(Sender):
    """groot_ros.control, with or without real-time chunking in the policy."""

    def __init__(self, mode: RtcMode, source: Source, stream: Stream) -> None:
        super().__init__(source)
        self._budget = stream.budget
        self._executor = Executor(source.contract, ExecutorSettings(max_start_jump=2.0))
        self._continuation = Continuation(mode, {"arm": source.joints}, DT, HORIZON)

    def prepare(self, proposal: Proposal) -> ActionChunk:
        """The chunk, conditioned on what was committed when it was observed."""
        stamp_ns = EPOCH_NS + s_to_ns(proposal.t_obs)
        origin = ChunkOrigin(stamp_ns, "a", 0, new_instruction=False)
        prefix = self._continuation.prefix(origin, *self._budget)
        values = proposal.values.copy()
        frozen = 0
        if prefix is not None:
            known, frozen = prefix.values["arm"], prefix.frozen_steps
            values[: len(known)] += prefix.weight[:, None] * (known - values[: len(known)])
        self.conditioned.append(prefix is not None)
        units = ("rad",) * len(self.joints)
        group = ActionGroup(ActionKind.JOINT_POSITION, "arm", self.joints, units, values)
        return ActionChunk(
            stamp_ns,
            stamp_ns,
            DT,
            (group,),
            session="a",
            id=len(self.conditioned),
            frozen_steps=frozen,
        )

    def messages(
        self, t: float, due: Sequence[Proposal], measured: Array
    ) -> list[TrajectoryMessage]:
        """Whatever the executor has to say."""
        now_ns = EPOCH_NS + s_to_ns(t)
        executor = self._executor
        executor.observe(now_ns, self.joints, measured.tolist(), [])
        for proposal in due:
            # Observed earlier, but nothing was committed since the last chunk.
            chunk = self.prepare(proposal)
            began = chunk.id > 1
            if executor.receive(chunk, now_ns) is None and began:
                self.seams.append(np.array(executor.state(now_ns).splice_discontinuity))
        update = executor.update(now_ns)
        if update is None:
            return []
        self._continuation.set_timeline(update.timeline)
        return [
            TrajectoryMessage(
                each.stamp_ns,
                each.joint_names,
                [
                    TrajectoryPoint(int(o), p, v)
                    for o, p, v in zip(
                        each.offsets_ns, each.positions, each.velocities, strict=True
                    )
                ],
            )
            for each in update.trajectories
        ]


METHODS: dict[str, Callable[[Source, Stream], Sender]] = {
    "hard replacement": lambda source, _: HardReplacement(source),
    "stamp 0, positions": lambda source, _: StampZero(source),
    "temporal ensembling": lambda source, _: Ensembling(source),
    "this executor": partial(ThisExecutor, RtcMode.OFF),
    "this executor, RTC": partial(ThisExecutor, RtcMode.GUIDED),
}


def timed(
    joints: tuple[str, ...], t_obs: float, values: Array, tail: float = 0.3
) -> TrajectoryMessage:
    """Positions and velocities at the absolute times of the steps, then a tail to rest."""
    velocities = np.gradient(values, DT, axis=0, edge_order=2)
    offsets = [*(DT * np.arange(HORIZON)), DT * (HORIZON - 1) + tail]
    positions = np.vstack([values, values[-1] + velocities[-1] * tail / 2])
    rest = np.zeros(len(joints))
    rows = zip(offsets, positions, np.vstack([velocities, rest]), strict=True)
    points = [TrajectoryPoint(s_to_ns(t), p, v) for t, p, v in rows]
    return TrajectoryMessage(EPOCH_NS + s_to_ns(t_obs), joints, points)
