# SPDX-License-Identifier: Apache-2.0
"""Random sequences of faults and operator commands, with the simulated controllers."""

import random

import numpy as np
import pytest
from support.controller_bench import PERIOD, ControllerBench, sine

VELOCITY, UPPER = 3.0, 1.5


class Events:
    """Applies random events to a bench; each returns the largest step that it allows, rad."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        chosen = self.random
        self.bench = ControllerBench(
            sine(chosen.uniform(0.1, 0.8), chosen.uniform(0.1, 0.9)),
            delay=chosen.choice([0.002, 0.006]),
            latency=chosen.choice([0.05, 0.1, 0.2]),
        )

    def apply(self) -> float:
        """Apply one event, let time pass, and return the largest step allowed meanwhile."""
        event = self.random.choice([self.outage, self.scale, self.drop_out, self.operate])
        # Documented: a message that is taken d s late makes a step of (1 - s) d times the velocity.
        late = (1.0 - self.bench.arm.speed_scaling) * self.bench.delay
        return event(10 ** self.random.uniform(-2.0, 0.2)) + VELOCITY * late

    def outage(self, seconds: float) -> float:
        bench = self.bench
        both = [bench.arm, bench.gripper]
        chosen = self.random.choice([both[:1], both[1:], both])
        for controller in chosen:
            controller.deactivate()
        bench.run(seconds)
        for controller in chosen:
            controller.activate(hold_measured=self.random.random() < 0.5)
        bench.run(0.3)
        # Documented: at most the motion during an outage that is too short to be noticed.
        missed = seconds + bench.delay + 2 * PERIOD if seconds < 0.3 else 0.0
        return VELOCITY * (PERIOD + missed)

    def scale(self, seconds: float) -> float:
        self.bench.scale(self.random.choice([0.0, 0.1, 0.5, 0.9, 1.0]))
        self.bench.run(seconds)
        # The executor learns of a change with the next report.
        return VELOCITY * (2 * PERIOD + self.bench.delay)

    def drop_out(self, seconds: float) -> float:
        source = self.random.choice(["joint_states", "reports", "policy_runs"])
        setattr(self.bench, source, False)
        self.bench.run(min(seconds, 0.5))
        setattr(self.bench, source, True)
        return VELOCITY * PERIOD

    def operate(self, seconds: float) -> float:
        bench, now = self.bench, self.bench.now_ns
        executor = bench.executor
        self.random.choice(
            [
                lambda: executor.hold(True, now),
                lambda: executor.hold(False, now),
                lambda: executor.estop(now),
                lambda: executor.resume(now),
                lambda: bench.send(executor.instruct(self.random.choice("ab"), now)),
                lambda: bench.send(executor.instruct("", now)),
                lambda: executor.reset(now),
            ]
        )()
        executor.resume(now)
        bench.send(executor.instruct("a", now))
        bench.run(seconds)
        return VELOCITY * PERIOD


@pytest.mark.parametrize("seed", range(8))
def test_no_sequence_of_events_makes_a_command_step_or_leave_its_limits(seed):
    events = Events(seed)
    bench = events.bench
    bench.run(0.5)
    # What an outage has left may show while the next event is applied.
    before = VELOCITY * PERIOD
    for _ in range(8):
        began = bench.t
        allowed = events.apply()
        assert bench.largest_step(began) <= 1.02 * max(allowed, before)
        before = allowed
    bench.executor.stop(bench.now_ns)
    bench.policy_runs = False
    bench.scale(1.0)
    bench.run(1.5)
    commands = np.array(bench.commands)
    assert np.isfinite(commands).all()
    assert np.abs(commands).max() <= UPPER + 1e-9
    assert np.ptp(commands[-20:], axis=0).max() == 0.0
