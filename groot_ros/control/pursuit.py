"""A joint with a jerk limit pursues a reference, and can stop within its limits at every knot."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from groot_ros.control.curve import Curve
from groot_ros.control.jerk import (
    FailSafeTrajectory,
    JointBounds,
    State,
    Stop,
    advance,
    stop_pieces,
    stop_travel,
    within,
)
from groot_ros.core import NS_PER_S

#: 1/s: how fast a small error is closed, unless jerk / acceleration is slower.
_BANDWIDTH = 60.0
#: Share of the limits spent on closing in; the rest follows the goal's own bends.
_CLOSING_SHARE = 0.7
#: Of the interval of jerks, until the one wanted is known well enough.
_HALVINGS = 10


class RemainingTrajectory:
    """What is left of one joint's motion in force, an FailSafeTrajectory: it ends in a stop."""

    def __init__(self, curve: Curve, joint: int) -> None:
        self._curve = curve.columns([joint])
        self.end_ns = int(curve.times[-2])

    def at(self, t_ns: int) -> State:
        """The state at an instant of the curve."""
        p, v = self._curve.at(t_ns)
        a = self._curve.acceleration_at(t_ns)
        return float(p[0]), float(v[0]), float(a[0])

    def switches(self, from_ns: int, to_ns: int) -> list[int]:
        """The curve's knots strictly between these two instants."""
        times = self._curve.times
        inside = times[(times > from_ns) & (times < to_ns) & (times <= self.end_ns)]
        return [int(t) for t in inside]


#: Instant -> joint -> the stop that is known to keep its limits from there on.
Escapes = dict[int, dict[int, FailSafeTrajectory]]


def jerk_limited_tracking(
    reference: Curve, in_force: Curve, all_bounds: Mapping[int, JointBounds]
) -> tuple[Curve, Escapes]:
    """The reference with the joints of `all_bounds` within their jerk limits.

    It begins on the motion in force, which ends in a stop that keeps every limit. There are more
    knots where a joint's jerk changes between two of the reference's. Escapes are known at all of
    the reference's knots.
    """
    own = {
        j: pursue(reference.columns([j]), RemainingTrajectory(in_force, j), b)
        for j, b in all_bounds.items()
    }
    count = reference.positions.shape[1]
    curves = [own[j][0] if j in own else reference.columns([j]) for j in range(count)]
    escapes: Escapes = {
        int(t): {j: known[int(t)] for j, (_, known) in own.items()} for t in reference.times
    }
    return Curve.stack_joints(curves), escapes


def pursue(
    reference: Curve, escape: FailSafeTrajectory, bounds: JointBounds
) -> tuple[Curve, dict[int, FailSafeTrajectory]]:
    """One joint's motion from where its escape is now after a reference, and stops on its way.

    Each step has the constant jerk that `_closing` picks; it is taken if it and the quickest stop
    after it keep every limit. Otherwise the joint follows the escape for this step, so that from
    a state with an escape every limit is kept.
    """
    times = [int(t) for t in reference.times]
    # Mean accelerations around each knot.
    bends = np.gradient(reference.velocities[:, 0], (reference.times - times[0]) / NS_PER_S)
    goals = list(
        zip(
            *(x[:, 0].tolist() for x in (reference.positions, reference.velocities)),
            bends.tolist(),
            strict=True,
        )
    )
    state = escape.at(times[0])
    knots = [(times[0], state)]
    known = {times[0]: escape}
    for k in range(1, len(times)):
        h = (times[k] - times[k - 1]) / NS_PER_S
        jerk = _closing(state, goals[k], h, bounds)
        after = advance(state, h, jerk)
        stop = stop_pieces(after[1], after[2], bounds)
        if within(state, [(h, jerk), *stop], bounds):
            state, escape = after, Stop(times[k], after, stop)
        else:
            knots += [(t, escape.at(t)) for t in escape.switches(times[k - 1], times[k])]
            state = escape.at(times[k])
        knots.append((times[k], state))
        known[times[k]] = escape
    moved = Curve(
        np.array([t for t, _ in knots], dtype=np.int64),
        np.array([[s[0]] for _, s in knots]),
        np.array([[s[1]] for _, s in knots]),
    )
    return moved, known


def _closing(state: State, goal: State, h: float, bounds: JointBounds) -> float:
    """The jerk for h s that best closes in on where the goal will be after them.

    A small error decays like three equal poles. A large one would saturate that and overshoot:
    there the jerk is such that the quickest stop relative to the goal, with a share of the
    limits, would end on it.
    """
    low = max(-bounds.jerk, (-bounds.acceleration - state[2]) / h)
    high = min(bounds.jerk, (bounds.acceleration - state[2]) / h)
    p, v, a = (wanted - is_at for wanted, is_at in zip(goal, advance(state, h, 0.0), strict=True))
    rate = min(_BANDWIDTH, bounds.jerk / bounds.acceleration)
    x = rate * h
    # Jerk = r^3 e + 3 r^2 e' + 3 r e'' of the errors that it leaves after the step.
    jerk = rate * (rate * (rate * p + 3.0 * v) + 3.0 * a) / (1.0 + x * (3.0 + x * (1.5 + x / 6.0)))
    if abs(jerk) <= _CLOSING_SHARE * bounds.jerk and low <= jerk <= high:
        return jerk
    most, sharpest = _CLOSING_SHARE * bounds.acceleration, _CLOSING_SHARE * bounds.jerk

    def overshoot(jerk: float) -> float:
        ahead = (h * h * h * jerk / 6.0 - p, h * h * jerk / 2.0 - v, h * jerk - a)
        return ahead[0] + stop_travel(ahead[1], ahead[2], most, sharpest)

    if overshoot(low) >= 0.0:
        return low
    if overshoot(high) <= 0.0:
        return high
    for _ in range(_HALVINGS):
        jerk = (low + high) / 2.0
        if overshoot(jerk) > 0.0:
            high = jerk
        else:
            low = jerk
    return (low + high) / 2.0
