# SPDX-License-Identifier: Apache-2.0
"""Conversions of time. Absolute times are integer nanoseconds, so that sums are exact."""

from typing import Protocol

NS_PER_S = 1_000_000_000
#: s between a stamp and the present from which on another clock is the likely cause.
_OTHER_CLOCK = 86_400.0


class Stamp(Protocol):
    """Message with the fields of builtin_interfaces/Time and Duration."""

    sec: int
    nanosec: int


def s_to_ns(seconds: float) -> int:
    """Convert a duration in seconds to nanoseconds, rounded to the nearest."""
    return round(seconds * NS_PER_S)


def ns_to_s(nanoseconds: int) -> float:
    """Convert a duration in nanoseconds to seconds."""
    return nanoseconds / NS_PER_S


def other_clock_hint(offset_s: float) -> str:
    """Return the usual cause of a stamp that is `offset_s` from the present, or an empty string.

    Stamps of a simulation and of wall time are decades apart, no delay is that long.
    """
    if abs(offset_s) < _OTHER_CLOCK:
        return ""
    return ": stamped by another clock: is use_sim_time the same in all nodes?"


def time_to_ns(stamp: Stamp) -> int:
    """Convert a Time or Duration message to integer nanoseconds."""
    return int(stamp.sec) * NS_PER_S + int(stamp.nanosec)
