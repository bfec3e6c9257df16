"""Absolute times are integer nanoseconds, so that no addition ever rounds."""

NS_PER_S = 1_000_000_000


def s_to_ns(seconds: float) -> int:
    """Duration in seconds to whole nanoseconds, to the nearest."""
    return round(seconds * NS_PER_S)


def ns_to_s(nanoseconds: int) -> float:
    """Duration in nanoseconds to seconds."""
    return nanoseconds / NS_PER_S
