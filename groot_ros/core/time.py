# SPDX-License-Identifier: Apache-2.0
"""Conversions of time. Absolute times are integer nanoseconds, so that sums are exact."""

from typing import Protocol

NS_PER_S = 1_000_000_000


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


def time_to_ns(stamp: Stamp) -> int:
    """Convert a Time or Duration message to integer nanoseconds."""
    return int(stamp.sec) * NS_PER_S + int(stamp.nanosec)
