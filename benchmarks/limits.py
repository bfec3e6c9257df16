# SPDX-License-Identifier: Apache-2.0
"""Check that limited motion stays within its limits, on a million random states and references.

    python -m benchmarks.limits [--cases 1000000] [--robot bimanual] [--jerk-cases 20000]

Each case is one joint with random limits (first row) or with those of a random joint of a robot
(second row), a viable state (also at the edge of the viable set) and a reference of eight knots, 4
to 17 ms apart. There are three kinds of references: constant acceleration, which is often within
the limits; knots near the state; and positions within twice the range. The last two have velocities
within twice the limit. The result of `limited_tracking` is sampled 33 times in each segment and
compared with the limits.

There are fewer cases with a jerk limit, as joints are computed one by one: `track_joint` tracks 24
random knots from a random viable state (p, v, a).
"""

import argparse
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from groot_ros.control.curve import Curve, cubic, end_accelerations
from groot_ros.control.jerk_limits import (
    JointBounds,
    StopTrajectory,
    quickest_stop,
    track_joint,
    viable,
)
from groot_ros.control.limits import BRAKING_GRID, Limits, limited_tracking
from groot_ros.core.share import robot_path
from groot_ros.evaluation.table import format_table
from groot_ros.robot import load_contract

Array = NDArray[np.float64]

KNOTS, BATCH, SAMPLES = 8, 50_000, 33
#: Tolerance for rounding in float64, relative to the limit.
_SLACK = 1e-8
#: Knots of a jerk-limited case, and tolerance for rounding relative to range and limits.
JERK_KNOTS, JERK_SLACK = 24, 1e-6


def any_limits(rng: np.random.Generator, count: int) -> Limits:
    """Draw the limits of `count` joints."""
    lower = -rng.uniform(0.05, 3.0, count)
    upper = rng.uniform(0.05, 3.0, count)
    velocity = 10.0 ** rng.uniform(-0.5, 1.0, count)
    # The time between knots must be at most velocity / acceleration.
    return Limits(lower, upper, velocity, velocity / rng.uniform(0.0171, 1.0, count))


def limits_of(robot: str, rng: np.random.Generator, count: int) -> Limits:
    """Draw `count` joints of a robot, none of them continuous, and return their limits."""
    joints = [
        joint.limits
        for joint in load_contract(robot_path(robot)).joints.values()
        if joint.kind != "continuous"
    ]
    table = np.array([(j.lower, j.upper, j.velocity, j.acceleration) for j in joints])
    return Limits(*table[rng.integers(0, len(table), count)].T)


def viable_states(rng: np.random.Generator, limits: Limits) -> tuple[Array, Array]:
    """Draw a viable position and velocity of each joint."""
    lower, upper = limits.lower, limits.upper
    velocity, acceleration = limits.velocity, limits.acceleration
    count = len(lower)
    v = np.clip(rng.uniform(-1.3, 1.3, count), -1.0, 1.0) * velocity
    stop = np.abs(v) * (np.abs(v) / (2.0 * acceleration) + BRAKING_GRID)
    span = upper - lower
    # A state that is too fast for its range is not viable: set it to rest.
    v = np.where(stop > 0.9 * span, 0.0, v)
    stop = np.where(stop > 0.9 * span, 0.0, stop)
    low = lower + np.where(v < 0, stop, 0.0)
    high = upper - np.where(v > 0, stop, 0.0)
    share = np.clip(rng.uniform(-0.2, 1.2, count), 0.0, 1.0)
    return low + share * (high - low), v


def references(
    rng: np.random.Generator, limits: Limits, p: Array, v: Array, h: float
) -> tuple[Array, Array]:
    """Draw knots [K, count]: constant acceleration, near the state, or anywhere.

    Returns positions and velocities; `h` is the time between knots in s.
    """
    shape = (KNOTS, len(p))
    span = limits.upper - limits.lower
    kind = rng.integers(0, 3, len(p))
    t = h * np.arange(1, KNOTS + 1)[:, None]
    a = limits.acceleration * rng.uniform(-1.0, 1.0, len(p))
    near = p + np.cumsum(rng.normal(0.0, 0.02, shape) * span, axis=0)
    far = limits.lower + span * rng.uniform(-0.5, 1.5, shape)
    any_v = limits.velocity * rng.uniform(-2.0, 2.0, shape)
    steady = p + v * t + a * t**2 / 2.0
    reference_p = np.choose(kind, [steady, near, far])
    return reference_p, np.where(kind == 0, v + a * t, any_v)


def violations(
    limits: Limits, p: Array, v: Array, h: float, out_p: Array, out_v: Array
) -> tuple[NDArray[np.bool_], Array]:
    """Return the cases that exceed a limit, and the largest excess as a share of each limit.

    The first result is bool [count]. The second is [3]: position (as a share of the range),
    velocity and acceleration.
    """
    p0, v0 = np.concatenate([p[None], out_p[:-1]]), np.concatenate([v[None], out_v[:-1]])
    a0, a1 = end_accelerations(p0, v0, out_p, out_v, h)
    sharp = np.maximum(np.abs(a0), np.abs(a1)).max(axis=0) / limits.acceleration - 1.0
    # Accelerations of a segment of h s are known to 1e-15 / h^2 in float64.
    sharp -= 1e-14 / h**2 / limits.acceleration
    beyond, fast = np.full((2, len(p)), -1.0)
    span = limits.upper - limits.lower
    for tau in np.linspace(0.0, 1.0, SAMPLES):
        at, speed = cubic(p0, v0, out_p, out_v, h, np.asarray(tau))
        out = np.maximum(at - limits.upper, limits.lower - at).max(axis=0) / span
        beyond = np.maximum(beyond, out)
        fast = np.maximum(fast, (np.abs(speed) / limits.velocity).max(axis=0) - 1.0)
    worst = np.stack([beyond, fast, sharp])
    outside: NDArray[np.bool_] = np.any(worst > _SLACK, axis=0)
    return outside, worst.max(axis=1)


def jerk_limited(rng: np.random.Generator, cases: int) -> tuple[int, int, Array]:
    """Run random cases with a jerk limit.

    Returns:
        The number of cases that exceed a limit, the number of knots on a fail-safe trajectory, and
        the largest excess [5]: position as a share of the range; velocity, acceleration and jerk as
        shares of their limits; and the step of the acceleration between segments as a share of its
        limit.

    """
    wrong, on_fail_safe, worst = 0, 0, np.full(5, -np.inf)
    for _ in range(cases):
        velocity = 10.0 ** rng.uniform(-0.5, 1.0)
        acceleration = velocity / rng.uniform(0.0171, 1.0)
        jerk = acceleration * 10.0 ** rng.uniform(0.5, 2.5)
        bounds = JointBounds(
            -rng.uniform(0.05, 3.0), rng.uniform(0.05, 3.0), velocity, acceleration, jerk
        )
        share = np.clip(rng.uniform(-1.2, 1.2, 3), -1.0, 1.0)
        reach = bounds.upper if share[0] > 0 else -bounds.lower
        state = (share[0] * reach, share[1] * velocity, share[2] * acceleration)
        while not viable(state, bounds):
            state = (state[0] * 0.9, state[1] * 0.9, state[2] * 0.9)
        span_ns = int(rng.uniform(4e6, 17e6))
        times = span_ns * np.arange(JERK_KNOTS, dtype=np.int64)
        rough = 10.0 ** rng.uniform(-2.5, 0.0)
        p = state[0] + np.cumsum(rng.normal(0.0, rough, (JERK_KNOTS, 1)), axis=0)
        v = rng.uniform(-1.5, 1.5, (JERK_KNOTS, 1)) * velocity
        fail_safe = StopTrajectory(0, state, quickest_stop(state[1], state[2], bounds))
        tracked, fail_safes = track_joint(Curve(times, p, v), fail_safe, bounds)
        on_fail_safe += sum(fail_safes[int(b)] is fail_safes[int(a)] for a, b in pairwise(times))
        by = _excess(tracked, bounds)
        wrong += bool((by > JERK_SLACK).any())
        worst = np.maximum(worst, by)
    return wrong, on_fail_safe, worst


def _excess(tracked: Curve, bounds: JointBounds) -> Array:
    h = np.diff(tracked.times) / 1e9
    p, v = tracked.positions[:, 0], tracked.velocities[:, 0]
    a0, a1 = end_accelerations(p[:-1], v[:-1], p[1:], v[1:], h)
    tau = np.linspace(0.0, 1.0, SAMPLES)[:, None]
    at, speed = cubic(p[:-1], v[:-1], p[1:], v[1:], h, tau)
    unknown = 2e-14 / h**2
    beyond = np.maximum(at - bounds.upper, bounds.lower - at).max() / (bounds.upper - bounds.lower)
    sharp = (np.maximum(np.abs(a0), np.abs(a1)) - unknown).max() / bounds.acceleration
    jerk = ((np.abs(a1 - a0) - unknown) / h).max() / bounds.jerk
    step = (np.abs(a1[:-1] - a0[1:]) - 2.0 * (unknown[:-1] + unknown[1:])).max()
    fast = np.abs(speed).max() / bounds.velocity
    return np.array([beyond, fast - 1.0, sharp - 1.0, jerk - 1.0, step / bounds.acceleration])


def without_jerk_limit(
    rng: np.random.Generator, draw: Callable[[int], Limits], cases: int
) -> tuple[list[str], Array]:
    """Run random cases without a jerk limit.

    Args:
        rng: of states and references.
        draw: count -> limits of so many joints.
        cases: number of cases.

    Returns:
        The counts of the table's row, and the largest excess [3] as `violations` returns it.

    """
    began, done, wrong, changed, stuck = time.perf_counter(), 0, 0, 0, 0
    worst = np.full(3, -np.inf)
    while done < cases:
        count = min(BATCH, cases - done)
        limits = draw(count)
        p, v = viable_states(rng, limits)
        assert limits.viable(p, v).all()
        h = float(rng.uniform(0.004, 0.017))
        reference_p, reference_v = references(rng, limits, p, v, h)
        out_p, out_v, limited = limited_tracking(
            limits, p, v, np.full(KNOTS, h), reference_p, reference_v
        )
        bad, by = violations(limits, p, v, h, out_p, out_v)
        wrong += int(bad.sum())
        changed += int(limited.sum())
        stuck += int((~limits.viable(out_p[-1], out_v[-1])).sum())
        worst = np.maximum(worst, by)
        done += count
    counts = [f"{n:,}" for n in (done, changed, wrong, stuck)]
    return [*counts, f"{time.perf_counter() - began:.0f}"], worst


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a table without and a table with jerk limits."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.limits", description=__doc__.splitlines()[0] if __doc__ else ""
    )
    parser.add_argument(
        "--cases", type=int, default=1_000_000, help="per row, without a jerk limit (%(default)s)"
    )
    parser.add_argument(
        "--jerk-cases", type=int, default=20_000, help="with a jerk limit (%(default)s)"
    )
    parser.add_argument(
        "--robot", default="bimanual", help="robot contract of the second row (%(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the random cases (%(default)s)")
    options = parser.parse_args(arguments)
    rng = np.random.default_rng(options.seed)
    rows, worst = [], np.full(3, -np.inf)
    for name, draw in (
        ("random", partial(any_limits, rng)),
        (options.robot, partial(limits_of, options.robot, rng)),
    ):
        row, by = without_jerk_limit(rng, draw, options.cases)
        rows.append([name, *row])
        worst = np.maximum(worst, by)
    header = ["limits", "cases", "limited", "violations", "final states not viable", "s"]
    print(format_table(header, rows))
    print(
        "largest excess, as a share: position {:.1e} of the range, velocity {:.1e}, "
        "acceleration {:.1e} of the limit".format(*worst)
    )
    began = time.perf_counter()
    wrong, on_fail_safe, worst = jerk_limited(rng, options.jerk_cases)
    seconds = time.perf_counter() - began
    header = ["cases with a jerk limit", "knots on a fail-safe trajectory", "violations", "s"]
    counts = [f"{n:,}" for n in (options.jerk_cases, on_fail_safe, wrong)]
    print(format_table(header, [[*counts, f"{seconds:.0f}"]]))
    print(
        "largest excess, as a share: position {:.1e} of the range, velocity {:.1e}, acceleration "
        "{:.1e}, jerk {:.1e} of the limit, steps of acceleration {:.1e}".format(*worst)
    )


if __name__ == "__main__":
    main()
