"""A /clock that stands still, or never began."""

from groot_ros.core import NS_PER_S, ns_to_s


class ClockStall:
    """Watches ROS time against a steady clock.

    Args:
        patience_ns: how long ROS time may stand.

    """

    def __init__(self, patience_ns: int = NS_PER_S) -> None:
        self._patience_ns = patience_ns
        self._seen_ns: int | None = None
        self._since_ns = 0

    def look(self, ros_ns: int, steady_ns: int) -> str:
        """What is wrong with /clock now, or an empty string."""
        if ros_ns != self._seen_ns:
            self._seen_ns, self._since_ns = ros_ns, steady_ns
        stood_ns = steady_ns - self._since_ns
        if stood_ns < self._patience_ns:
            return ""
        if ros_ns == 0:
            return "no /clock: use_sim_time is on and nobody publishes it"
        return f"/clock has stood still for {ns_to_s(self._patience_ns):g} s or more"
