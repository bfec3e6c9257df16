"""What chunks become: five ways to execute them, through the ported controllers with servo lag.

    python -m benchmarks.continuity [--picture out/continuity.png]

A three-joint motion of 6 s (that of the measurement on the real controller) is proposed in
chunks of 16 steps at 30 Hz, one every 0.2 s or when the last is done. Chunks come late, some do
not come, and each is off by a constant N(0, 20 mrad) per joint: a policy that never quite agrees
with itself. The synthetic policy with real-time chunking has its own chunk as the denoised end
point, which makes of N guided steps exactly chunk + W (committed - chunk): no network smooths it.

Commands are taken at 250 Hz. "x" is a multiple of the intended motion's own figure.
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from math import ceil
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from groot_ros.control import Executor, ExecutorSettings
from groot_ros.control.continuation import Continuation
from groot_ros.evaluation.table import format_table
from groot_ros.robot.contract import parse_contract
from groot_ros.sim.trajectory import TrajectoryMessage, TrajectoryPoint
from groot_ros.sim.trajectory_controller import RULES, Distro, TrajectoryController
from groot_ros.types import ActionChunk, ActionGroup, ActionKind, ChunkOrigin, RtcMode, s_to_ns

Array = NDArray[np.float64]

JOINTS = ("j1", "j2", "j3")
HORIZON, DT = 16, 1 / 30
#: s: of the control loop, between chunks, of the executor's tick, of a message's way, of the servo.
PERIOD, INFERENCE, TICK, DELIVERY, LAG = 0.004, 0.2, 0.012, 0.002, 0.05
MOTION, STOPPING, TOTAL = 6.0, 1.0, 8.0
EPOCH_NS = 1_750_000_000_000_000_000
#: rad: who is this close to the end, and stays so, has finished.
ARRIVED = 0.06
SEEDS = (0, 1, 2)

CONTRACT = parse_contract(
    {
        "robot": "benchmark",
        "action_dt": DT,
        "joints": {
            name: {"position": [-3.0, 3.0], "velocity": 6.0, "acceleration": 60.0}
            for name in JOINTS
        },
        "groups": {"arm": {"joints": list(JOINTS)}},
        "cameras": {"front": {"topic": "front", "rate": 30.0}},
        "joint_states": [{"topic": "joint_states"}],
        "controllers": [{"name": "arm", "joints": list(JOINTS)}],
    }
)


@dataclass(frozen=True)
class Stream:
    """How chunks come; seconds, rad, and the share of chunks that is lost."""

    latency: float = 0.1
    jitter: float = 0.04
    sigma: float = 0.02
    loss: float = 0.0
    seed: int = 0

    @property
    def period(self) -> float:
        """Seconds between chunks: the next inference begins when the last one is done."""
        return max(INFERENCE, self.latency + self.jitter)

    @property
    def budget(self) -> tuple[int, int]:
        """Steps of delay d and of period s that the policy counts on."""
        d = ceil((self.latency + self.jitter) / DT - 0.1) + 1
        return d, max(ceil(self.period / DT - 0.1), d)


@dataclass(frozen=True)
class Proposal:
    """A chunk on its way: values [16, 3] observed at t_obs s, here at `arrival` s."""

    arrival: float
    t_obs: float
    values: Array


@dataclass(frozen=True)
class Run:
    """Commands [T, 3], the times s that they are meant for, and the seams [S, 3] in rad."""

    times: Array
    commands: Array
    measured: Array
    seams: Array


def intended(t: Array | float) -> Array:
    """[..., 3] rad at t s; slows down over the last second and then stands."""
    t = np.asarray(t, dtype=np.float64)
    late = np.clip(t - (MOTION - STOPPING), 0.0, STOPPING)
    along = np.minimum(t, MOTION - STOPPING) + late - late**2 / (2.0 * STOPPING)
    turn = 2 * np.pi * along
    third = 0.5 * np.sin(0.2 * turn - 0.4) + 0.15 * np.sin(0.8 * turn)
    return np.stack([0.6 * np.sin(0.3 * turn), 0.4 * np.sin(0.45 * turn + 0.7), third], axis=-1)


def proposals(stream: Stream) -> list[Proposal]:
    """What the policy says, in order of arrival."""
    rng = np.random.default_rng(stream.seed)
    sent = []
    for t_obs in np.arange(0.0, TOTAL, stream.period):
        late = max(0.0, stream.latency + rng.uniform(-stream.jitter, stream.jitter))
        offset = rng.normal(0.0, stream.sigma, 3) if stream.sigma else np.zeros(3)
        lost = rng.random() < stream.loss
        values = intended(t_obs + DT * np.arange(HORIZON)) + offset
        if not lost:
            sent.append(Proposal(t_obs + late, t_obs, values))
    return sorted(sent, key=lambda p: p.arrival)


class Sender:
    """One way to make messages of chunks; `messages` is asked every tick."""

    def __init__(self) -> None:
        self.seams: list[Array] = []

    def messages(self, t: float, due: Sequence[Proposal], measured: Array) -> list:
        """What is published at t s, with the chunks that arrived since the last tick."""
        raise NotImplementedError


class HardReplacement(Sender):
    """Each chunk as it is, at the absolute times of its steps, with a tail to rest."""

    def messages(self, t: float, due: Sequence[Proposal], measured: Array) -> list:
        """One message a chunk."""
        return [timed(p.t_obs, p.values) for p in due]


class StampZero(Sender):
    """Each chunk from its arrival on, positions only: what most bridges publish."""

    def messages(self, t: float, due: Sequence[Proposal], measured: Array) -> list:
        """One message a chunk."""
        return [
            TrajectoryMessage(
                0,
                JOINTS,
                [TrajectoryPoint(s_to_ns((i + 1) * DT), v) for i, v in enumerate(p.values)],
            )
            for p in due
        ]


class Ensembling(Sender):
    """Overlapping chunks averaged with weights exp(-0.01 i), oldest first."""

    def __init__(self) -> None:
        super().__init__()
        self._past: list[Proposal] = []

    def messages(self, t: float, due: Sequence[Proposal], measured: Array) -> list:
        """One message when something came."""
        if not due:
            return []
        self._past = [*self._past, *due][-8:]
        newest = self._past[-1]
        times = newest.t_obs + DT * np.arange(HORIZON)
        total, weight = np.zeros((HORIZON, 3)), np.zeros((HORIZON, 1))
        for i, past in enumerate(self._past):
            known = times <= past.t_obs + DT * (HORIZON - 1) + 1e-9
            step = (times - past.t_obs) / DT
            values = [np.interp(step, np.arange(HORIZON), column) for column in past.values.T]
            share = np.exp(-0.01 * i) * known[:, None]
            total += share * np.stack(values, axis=-1)
            weight += share
        return [timed(newest.t_obs, total / weight)]


class ThisExecutor(Sender):
    """groot_ros.control, with or without real-time chunking in the policy."""

    def __init__(self, mode: RtcMode, stream: Stream) -> None:
        super().__init__()
        self._budget = stream.budget
        self._executor = Executor(CONTRACT, ExecutorSettings(max_start_jump=2.0))
        self._continuation = Continuation(mode, {"arm": JOINTS}, DT, HORIZON)
        self._pending: list[tuple[Proposal, ActionChunk]] = []
        self._ids = 0

    def prepare(self, proposal: Proposal) -> ActionChunk:
        """The chunk, conditioned on what was committed when it was observed."""
        stamp_ns = EPOCH_NS + s_to_ns(proposal.t_obs)
        origin = ChunkOrigin(stamp_ns, "a", 0, new_instruction=False)
        prefix = self._continuation.prefix(origin, *self._budget)
        values = proposal.values.copy()
        frozen = 0
        if prefix is not None:
            known, frozen = prefix.values["arm"], prefix.frozen_steps
            pull = prefix.weight[:, None] * (known - values[: len(known)])
            values[: len(known)] += pull
        group = ActionGroup(ActionKind.JOINT_POSITION, "arm", JOINTS, ("rad",) * 3, values)
        self._ids += 1
        return ActionChunk(
            stamp_ns, stamp_ns, DT, (group,), session="a", id=self._ids, frozen_steps=frozen
        )

    def messages(self, t: float, due: Sequence[Proposal], measured: Array) -> list:
        """Whatever the executor has to say."""
        now_ns = EPOCH_NS + s_to_ns(t)
        executor = self._executor
        executor.observe(now_ns, JOINTS, measured.tolist(), [])
        for proposal in due:
            # Observed earlier, but nothing was committed since the last chunk.
            chunk = self.prepare(proposal)
            began = self._ids > 1
            if executor.receive(chunk, now_ns) is None and began:
                self.seams.append(np.array(executor.state(now_ns).seam_jump))
        update = executor.update(now_ns)
        if update is None:
            return []
        self._continuation.take(update.timeline)
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


METHODS: dict[str, Callable[[Stream], Sender]] = {
    "hard replacement": lambda _: HardReplacement(),
    "stamp 0, positions": lambda _: StampZero(),
    "temporal ensembling": lambda _: Ensembling(),
    "this executor": partial(ThisExecutor, RtcMode.OFF),
    "this executor, RTC": partial(ThisExecutor, RtcMode.GUIDED),
}


def timed(t_obs: float, values: Array, tail: float = 0.3) -> TrajectoryMessage:
    """Positions and velocities at the absolute times of the steps, then a tail to rest."""
    velocities = np.gradient(values, DT, axis=0, edge_order=2)
    offsets = [*(DT * np.arange(HORIZON)), DT * (HORIZON - 1) + tail]
    positions = np.vstack([values, values[-1] + velocities[-1] * tail / 2])
    rows = zip(offsets, positions, np.vstack([velocities, np.zeros(3)]), strict=True)
    points = [TrajectoryPoint(s_to_ns(t), p, v) for t, p, v in rows]
    return TrajectoryMessage(EPOCH_NS + s_to_ns(t_obs), JOINTS, points)


def execute(
    make: Callable[[Stream], Sender], distro: Distro, stream: Stream, lag: float = LAG
) -> Run:
    """A whole run at 250 Hz."""
    sender, rules = make(stream), RULES[distro]
    controller = TrajectoryController(JOINTS, rules, PERIOD)
    coming = proposals(stream)
    on_the_way: list[tuple[float, TrajectoryMessage]] = []
    servo = intended(0.0)
    times, commands, measured = [], [], []
    ticks = round(TICK / PERIOD)
    for k in range(round(TOTAL / PERIOD)):
        t = k * PERIOD
        if k % ticks == 0:
            due = [p for p in coming if p.arrival <= t]
            coming = coming[len(due) :]
            on_the_way += [(t + DELIVERY, m) for m in sender.messages(t, due, servo)]
        now_ns = EPOCH_NS + s_to_ns(t)
        while on_the_way and on_the_way[0][0] <= t:
            controller.accept(on_the_way.pop(0)[1], now_ns)
        command = controller.update(now_ns, servo, np.zeros(3))
        servo = servo + (command - servo) * (PERIOD / lag if lag else 1.0)
        times.append(t + (PERIOD if rules.look_ahead else 0.0))
        commands.append(command)
        measured.append(servo)
    seams = np.array(sender.seams).reshape(-1, 3)
    return Run(np.array(times), np.array(commands), np.array(measured), seams)


def sharpness(positions: Array) -> float:
    """p99.5 of the acceleration, rad/s2."""
    return float(np.percentile(np.abs(np.diff(positions, 2, axis=0)) / PERIOD**2, 99.5))


def speed(positions: Array) -> float:
    """p99.5 of the velocity, rad/s."""
    return float(np.percentile(np.abs(np.diff(positions, axis=0)) / PERIOD, 99.5))


def path_error(run: Run) -> float:
    """Root mean square over the run after its start, mrad."""
    counted = run.times > 1.0
    error = run.commands[counted] - intended(run.times[counted])
    return 1e3 * float(np.sqrt((error**2).mean()))


def finish(run: Run) -> float:
    """Seconds until the robot stays near the end."""
    away = np.abs(run.measured - intended(TOTAL)).max(axis=1) > ARRIVED
    return float(run.times[np.flatnonzero(away)[-1]])


def figures(runs: Sequence[Run]) -> list[str]:
    """One row of runs that differ by their seed: means, but the largest step of all."""
    steps, speeds, sharp, seams = [], [], [], []
    for run in runs:
        counted = run.times > 1.0
        commands, wanted = run.commands[counted], intended(run.times[counted])
        steps.append(1e3 * np.abs(np.diff(commands, axis=0)).max())
        speeds.append(speed(commands) / speed(wanted))
        sharp.append(sharpness(commands) / sharpness(wanted))
        if len(run.seams):
            seams.append(1e3 * np.percentile(np.abs(run.seams), 95))
    return [
        f"{max(steps):.1f}",
        f"{np.mean(speeds):.2f}x",
        f"{np.mean(sharp):.2f}x ({max(sharp):.2f})",
        f"{np.mean(seams):.1f}" if seams else "-",
        f"{np.mean([path_error(run) for run in runs]):.2f}",
        f"{np.mean([finish(run) for run in runs]):.2f}",
    ]


HEADER = (
    "largest step mrad",
    "p99.5 vel",
    "p99.5 acc (worst)",
    "seam p95 mrad",
    "path mrad",
    "finish s",
)


def draw(runs: dict[str, Run], path: Path) -> None:
    """Position and acceleration of the first joint."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(2, 1, figsize=(11, 7), sharex=True)
    for name, run in runs.items():
        part = (run.times > 2.0) & (run.times < 4.0)
        axes[0].plot(run.times[part], run.commands[part, 0], label=name, lw=1.2)
        bend = np.abs(np.diff(run.commands[part, 0], 2)) / PERIOD**2
        axes[1].semilogy(run.times[part][1:-1], np.maximum(bend, 1e-2), lw=0.9)
    t = np.linspace(2.0, 4.0, 400)
    axes[0].plot(t, intended(t)[:, 0], "k--", lw=0.8, label="intended")
    axes[0].set_ylabel("command of j1, rad")
    axes[1].set_ylabel("its acceleration, rad/s²")
    axes[1].set_xlabel("s")
    axes[0].legend(fontsize=8)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main() -> None:
    """Print three tables and draw the first."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--picture", type=Path, default=Path("out/continuity.png"))
    picture = parser.parse_known_args()[0].picture
    for distro in RULES:
        runs = {
            name: [execute(make, distro, Stream(seed=seed)) for seed in SEEDS]
            for name, make in METHODS.items()
        }
        print(f"\n{distro}: sigma 20 mrad, latency 100 +- 40 ms, servo lag 50 ms")
        print(format_table(["", *HEADER], [[n, *figures(r)] for n, r in runs.items()]))
        if distro == "jazzy":
            draw({name: each[0] for name, each in runs.items()}, picture)
    agreeing = Stream(jitter=0.0, sigma=0.0)
    rows = [
        [f"{name}, {distro}", *figures([execute(make, distro, agreeing)])]
        for distro in RULES
        for name, make in METHODS.items()
    ]
    print("\noracle chunks, latency 100 ms, servo lag 50 ms")
    print(format_table(["", *HEADER], rows))
    rows = []
    for latency in (0.0, 0.1, 0.2, 0.3, 0.4):
        for name in ("this executor", "this executor, RTC"):
            streams = [Stream(latency=latency, loss=0.1, seed=seed) for seed in SEEDS]
            lossy = [execute(METHODS[name], "jazzy", stream) for stream in streams]
            rows.append([f"{name}, {1e3 * latency:.0f} ms", *figures(lossy)])
    print("\njazzy, sigma 20 mrad, jitter 40 ms, every tenth chunk lost")
    print(format_table(["", *HEADER], rows))
    print(f"\npicture: {picture}")


if __name__ == "__main__":
    main()
