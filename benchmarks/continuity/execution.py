"""A whole run: policy, sender, ported controller and a servo that lags."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from benchmarks.continuity.policies import PERIOD, Array, Source
from benchmarks.continuity.senders import EPOCH_NS, Sender
from benchmarks.continuity.stream import Stream, proposals
from groot_ros.core import s_to_ns
from groot_ros.sim.controllers import RULES, Distro, TrajectoryController
from groot_ros.sim.trajectory import TrajectoryMessage

#: s: of the executor's tick, of a message's way, and of the servo.
TICK, DELIVERY, LAG = 0.012, 0.002, 0.05


@dataclass(frozen=True)
class Run:
    """What came of a stream.

    Attributes:
        source: what was intended.
        times: [T], s that the commands are meant for.
        commands, measured: [T, N] rad.
        seams: [S, N] rad.
        conditioned: share of the chunks that real-time chunking acted on.

    """

    source: Source
    times: Array
    commands: Array
    measured: Array
    seams: Array
    conditioned: float


def execute(
    make: Callable[[Source, Stream], Sender],
    source: Source,
    distro: Distro,
    stream: Stream,
    lag: float = LAG,
) -> Run:
    """A run at 250 Hz from where the intended motion begins."""
    sender, rules = make(source, stream), RULES[distro]
    controller = TrajectoryController(source.joints, rules, PERIOD)
    coming = proposals(source, stream)
    on_the_way: list[tuple[float, TrajectoryMessage]] = []
    servo = source.intended(0.0)
    still = np.zeros(len(source.joints))
    times, commands, measured = [], [], []
    ticks = round(TICK / PERIOD)
    for k in range(round(source.seconds / PERIOD)):
        t = k * PERIOD
        if k % ticks == 0:
            due = [p for p in coming if p.arrival <= t]
            coming = coming[len(due) :]
            on_the_way += [(t + DELIVERY, m) for m in sender.messages(t, due, servo)]
        now_ns = EPOCH_NS + s_to_ns(t)
        while on_the_way and on_the_way[0][0] <= t:
            controller.accept(on_the_way.pop(0)[1], now_ns)
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
        np.array(sender.seams).reshape(-1, len(source.joints)),
        float(np.mean(sender.conditioned)) if sender.conditioned else 0.0,
    )
