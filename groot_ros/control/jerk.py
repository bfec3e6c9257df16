"""Motion of one joint with bounded jerk: constant-jerk pieces, and a stop from every state.

A joint without a jerk limit needs none of this. For one with it a state is (p, v, a); it is viable
when its quickest jerk-limited stop, and all on the way, keeps every limit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

#: ns: pieces of a stop last whole multiples of this.
GRID_NS = 1_000_000
_GRID = GRID_NS / 1e9
#: Relative slack for rounding, so that motion exactly on a limit passes.
_ROUNDING = 1e-9

#: Position, velocity, acceleration: rad or m and s.
State = tuple[float, float, float]
#: Seconds, and the jerk throughout them.
Piece = tuple[float, float]


@dataclass(frozen=True)
class JointBounds:
    """The limits of one joint, rad or m and s; all but `lower` and `upper` are sizes."""

    lower: float
    upper: float
    velocity: float
    acceleration: float
    jerk: float


class FailSafeTrajectory(Protocol):
    """A motion to rest that is known to keep every limit."""

    end_ns: int

    def at(self, t_ns: int) -> State:
        """The state at an instant not before its start; at rest from `end_ns` on."""

    def switches(self, from_ns: int, to_ns: int) -> list[int]:
        """Instants strictly between these two at which its jerk changes, ascending."""


def advance(state: State, seconds: float, jerk: float) -> State:
    """The state after a time of constant jerk."""
    p, v, a = state
    t = seconds
    return (
        p + t * (v + t * (a / 2.0 + t * jerk / 6.0)),
        v + t * (a + t * jerk / 2.0),
        a + t * jerk,
    )


def _quickest(v: float, a: float, most: float, jerk: float) -> tuple[float, float, float, float]:
    """Sign of the velocity to lose, and seconds to the peak deceleration, at it, and back."""
    # Seen so that the velocity left once the acceleration is gone is positive.
    sign = 1.0 if v + a * abs(a) / (2.0 * jerk) >= 0.0 else -1.0
    speed, pull = sign * v, sign * a
    peak = math.sqrt(max(0.0, jerk * speed + pull * pull / 2.0))
    held = 0.0
    if peak > most:
        peak = most
        held = (speed + pull * pull / (2.0 * jerk) - most * most / jerk) / most
    return sign, (pull + peak) / jerk, held, peak / jerk


def stop_travel(v: float, a: float, most: float, jerk: float) -> float:
    """How far the time-optimal stop from (v, a) goes."""
    sign, up, held, down = _quickest(v, a, most, jerk)
    state = advance((0.0, v, a), up, -sign * jerk)
    return advance(advance(state, held, 0.0), down, sign * jerk)[0]


def stop_pieces(v: float, a: float, bounds: JointBounds) -> list[Piece]:
    """The quickest way to (v, a) = (0, 0) in at most three pieces of whole milliseconds.

    The time-optimal stop ramps to a peak deceleration, holds it and ramps back. Its times are
    rounded up, and the peak that then brings the velocity to zero exactly is taken.
    """
    if v == 0.0 and a == 0.0:
        return []
    _, up, held, down = _quickest(v, a, bounds.acceleration, bounds.jerk)
    return _through(v, a, max(1, _steps(up)), _steps(held), max(1, _steps(down)), bounds)


def gentle_pieces(v: float, a: float, seconds: float, bounds: JointBounds) -> list[Piece]:
    """A stop in about `seconds`: a quarter to the peak, half held, a quarter back.

    Longer where acceleration or jerk need it.
    """
    if v == 0.0 and a == 0.0:
        return []
    quarter = max(1, _steps(seconds / 4.0))
    return _through(v, a, quarter, 2 * quarter, quarter, bounds)


def _steps(seconds: float) -> int:
    return max(0, math.ceil(seconds / _GRID - 1e-9))


def _through(v: float, a: float, up: int, hold: int, down: int, bounds: JointBounds) -> list[Piece]:
    """Pieces of these milliseconds or, where a limit demands, more."""
    most, jerk = bounds.acceleration, bounds.jerk * (1.0 + _ROUNDING)
    while True:
        t1, t2, t3 = up * _GRID, hold * _GRID, down * _GRID
        peak = -(v + a * t1 / 2.0) / (t1 / 2.0 + t2 + t3 / 2.0)
        if abs(peak) > jerk * t3:
            down += 1
        elif abs(peak - a) > jerk * t1:
            up += 1
        elif abs(peak) > most * (1.0 + _ROUNDING):
            hold += 1
        else:
            break
    pieces = [(t1, (peak - a) / t1), (t2, 0.0), (t3, -peak / t3)]
    return [piece for piece in pieces if piece[0] > 0.0]


def within(state: State, pieces: list[Piece], bounds: JointBounds) -> bool:
    """Whether these pieces keep every limit from this state on, at no instant exceeding one."""
    room = _ROUNDING * (bounds.upper - bounds.lower)
    lower, upper = bounds.lower - room, bounds.upper + room
    fastest = bounds.velocity * (1.0 + _ROUNDING)
    sharpest = bounds.acceleration * (1.0 + _ROUNDING)
    most = bounds.jerk * (1.0 + 2.0 * _ROUNDING)
    if not (lower <= state[0] <= upper and abs(state[1]) <= fastest and abs(state[2]) <= sharpest):
        return False
    for seconds, jerk in pieces:
        turns = [seconds, *_turns(state, seconds, jerk)]
        for t in turns:
            p, v, _ = advance(state, t, jerk)
            if not (lower <= p <= upper and abs(v) <= fastest):
                return False
        state = advance(state, seconds, jerk)
        if abs(jerk) > most or abs(state[2]) > sharpest:
            return False
    return True


def _turns(state: State, seconds: float, jerk: float) -> list[float]:
    """Where position or velocity turn within a piece."""
    _, v, a = state
    found = []
    if jerk != 0.0:
        found.append(-a / jerk)
        under = a * a - 2.0 * jerk * v
        if under >= 0.0:
            q = -(a + math.copysign(math.sqrt(under), a))
            found += [q / jerk, 2.0 * v / q if q != 0.0 else 0.0]
    elif a != 0.0:
        found.append(-v / a)
    return [t for t in found if 0.0 < t < seconds]


class Stop:
    """A stop by pieces from a state at an instant."""

    def __init__(self, start_ns: int, state: State, pieces: list[Piece]) -> None:
        self._knots = [(start_ns, state, 0.0)]
        for seconds, jerk in pieces:
            t_ns, before, _ = self._knots[-1]
            self._knots[-1] = (t_ns, before, jerk)
            self._knots.append((t_ns + round(seconds * 1e9), advance(before, seconds, jerk), 0.0))
        self.end_ns = self._knots[-1][0]

    def at(self, t_ns: int) -> State:
        """The state at an instant; exactly at rest from `end_ns` on."""
        if t_ns >= self.end_ns:
            return self._knots[-1][1][0], 0.0, 0.0
        start_ns, state, jerk = next(k for k in reversed(self._knots) if k[0] <= t_ns)
        return advance(state, (t_ns - start_ns) / 1e9, jerk)

    def switches(self, from_ns: int, to_ns: int) -> list[int]:
        """Instants strictly between these two at which its jerk changes."""
        return [t for t, _, _ in self._knots if from_ns < t < to_ns]


def viable(state: State, bounds: JointBounds) -> bool:
    """Whether the quickest stop from here keeps every limit."""
    return within(state, stop_pieces(state[1], state[2], bounds), bounds)
