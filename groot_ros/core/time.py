"""Absolute times are integer nanoseconds, so that no addition ever rounds."""

from typing import Protocol

NS_PER_S = 1_000_000_000


class Stamp(Protocol):
    """The fields of builtin_interfaces/Time and Duration."""

    sec: int
    nanosec: int


def s_to_ns(seconds: float) -> int:
    """Duration in seconds to whole nanoseconds, to the nearest."""
    return round(seconds * NS_PER_S)


def ns_to_s(nanoseconds: int) -> float:
    """Duration in nanoseconds to seconds."""
    return nanoseconds / NS_PER_S


def time_to_ns(stamp: Stamp) -> int:
    """Time or Duration of a message, by its fields, to integer nanoseconds."""
    return int(stamp.sec) * NS_PER_S + int(stamp.nanosec)
