# SPDX-License-Identifier: Apache-2.0
"""Five methods to execute chunks on a joint_trajectory_controller, and the simulation of a run.

A run combines a policy, a method, the ported controller, and a servo with a lag.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from benchmarks.continuity.policies import (
    DT,
    HORIZON,
    PERIOD,
    Array,
    Proposal,
    Source,
    Stream,
    proposals,
)
from groot_ros.control import Executor, ExecutorConfig
from groot_ros.control.rtc import Continuation
from groot_ros.core import ActionChunk, ActionGroup, ActionKind, ChunkOrigin, RtcMode, s_to_ns
from groot_ros.sim.controllers import RULES, Distro, TrajectoryController
from groot_ros.sim.trajectory import TrajectoryMessage, TrajectoryPoint

EPOCH_NS = 1_750_000_000_000_000_000
#: s: period of the executor's tick, transport time of a message, and time constant of the servo.
TICK, DELIVERY, LAG = 0.012, 0.002, 0.05


class Sender(ABC):
    """Method that converts chunks to messages; `messages` is called every tick.

    Attributes:
        joints: names of the joints.
        splices: old minus new position at each splice, rad, if the method reports it.
        conditioned: one entry per chunk, True if real-time chunking conditioned it.

    """

    def __init__(self, source: Source) -> None:
        self.joints = source.joints
        self.splices: list[Array] = []
        self.conditioned: list[bool] = []

    @abstractmethod
    def messages(
        self, t: float, due: Sequence[Proposal], measured: Array
    ) -> list[TrajectoryMessage]:
        """Return the messages to send.

        Args:
            t: current time, s.
            due: chunks that arrived since the last tick.
            measured: measured positions, [N] rad.

        """


class HardReplacement(Sender):
    """Send each chunk unchanged at the absolute times of its steps, then decelerate to rest."""

    def messages(
        self, t: float, due: Sequence[Proposal], measured: Array
    ) -> list[TrajectoryMessage]:
        """Return one message per chunk."""
        return [timed(self.joints, p.t_obs, p.values) for p in due]


class StampZero(Sender):
    """Send the positions of each chunk, starting at its arrival, as most bridges do."""

    def messages(
        self, t: float, due: Sequence[Proposal], measured: Array
    ) -> list[TrajectoryMessage]:
        """Return one message per chunk."""
        return [
            TrajectoryMessage(
                0,
                self.joints,
                [TrajectoryPoint(s_to_ns((i + 1) * DT), v) for i, v in enumerate(p.values)],
            )
            for p in due
        ]


class Ensembling(Sender):
    """Average overlapping chunks with weights exp(-0.01 i), oldest first."""

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        self._past: list[Proposal] = []

    def messages(
        self, t: float, due: Sequence[Proposal], measured: Array
    ) -> list[TrajectoryMessage]:
        """Return one message if a chunk has arrived."""
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
    """Use groot_ros.control, with or without real-time chunking in the policy."""

    def __init__(self, mode: RtcMode, source: Source, stream: Stream) -> None:
        super().__init__(source)
        self._budget = stream.budget
        self._executor = Executor(source.contract, ExecutorConfig(max_start_jump=2.0))
        self._continuation = Continuation(mode, {"arm": source.joints}, DT, HORIZON)

    def prepare(self, proposal: Proposal) -> ActionChunk:
        """Return the chunk, conditioned on the motion committed at its observation."""
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
        """Return the messages of the executor."""
        now_ns = EPOCH_NS + s_to_ns(t)
        executor = self._executor
        executor.observe(now_ns, self.joints, measured.tolist(), [])
        for proposal in due:
            # The chunk was observed earlier, but nothing has been committed since the last one.
            chunk = self.prepare(proposal)
            began = chunk.id > 1
            if executor.receive(chunk, now_ns) is None and began:
                self.splices.append(np.array(executor.state(now_ns).splice_discontinuity))
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
    """Return a message with the steps of a chunk, and a last point at rest after `tail` s."""
    velocities = np.gradient(values, DT, axis=0, edge_order=2)
    offsets = [*(DT * np.arange(HORIZON)), DT * (HORIZON - 1) + tail]
    positions = np.vstack([values, values[-1] + velocities[-1] * tail / 2])
    rest = np.zeros(len(joints))
    rows = zip(offsets, positions, np.vstack([velocities, rest]), strict=True)
    points = [TrajectoryPoint(s_to_ns(t), p, v) for t, p, v in rows]
    return TrajectoryMessage(EPOCH_NS + s_to_ns(t_obs), joints, points)


@dataclass(frozen=True)
class Run:
    """Commands and measurements of one run.

    Attributes:
        source: the policy, with its intended motion.
        times: time at which each command is to be reached, [T] s.
        commands: [T, N] rad.
        measured: [T, N] rad.
        splices: old minus new position at each splice, [S, N] rad.
        conditioned: share of the chunks that real-time chunking conditioned.

    """

    source: Source
    times: Array
    commands: Array
    measured: Array
    splices: Array
    conditioned: float


def execute(
    method: Callable[[Source, Stream], Sender],
    source: Source,
    distro: Distro,
    stream: Stream,
    lag: float = LAG,
) -> Run:
    """Run a method at 250 Hz from the start of the intended motion.

    Args:
        method: creates the method.
        source: the policy.
        distro: ROS distribution of the controller.
        stream: timing and errors of the chunks.
        lag: time constant of the servo, s; 0 = no lag.

    """
    sender, rules = method(source, stream), RULES[distro]
    controller = TrajectoryController(source.joints, rules, PERIOD)
    pending = proposals(source, stream)
    in_transport: list[tuple[float, TrajectoryMessage]] = []
    servo = source.intended(0.0)
    still = np.zeros(len(source.joints))
    times, commands, measured = [], [], []
    ticks = round(TICK / PERIOD)
    for k in range(round(source.seconds / PERIOD)):
        t = k * PERIOD
        if k % ticks == 0:
            due = [p for p in pending if p.arrival <= t]
            pending = pending[len(due) :]
            in_transport += [(t + DELIVERY, m) for m in sender.messages(t, due, servo)]
        now_ns = EPOCH_NS + s_to_ns(t)
        while in_transport and in_transport[0][0] <= t:
            controller.accept(in_transport.pop(0)[1], now_ns)
        command = controller.update(now_ns, servo, still)
        servo = servo + (command - servo) * (PERIOD / lag if lag else 1.0)
        times.append(t + (PERIOD if rules.look_ahead else 0.0))
        commands.append(command)
        measured.append(servo)
    return Run(
        source,
        np.array(times),
        np.array(commands),
        np.array(measured),
        np.array(sender.splices).reshape(-1, len(source.joints)),
        float(np.mean(sender.conditioned)) if sender.conditioned else 0.0,
    )
