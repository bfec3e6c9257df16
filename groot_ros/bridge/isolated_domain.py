"""A DDS domain apart from whatever else runs on this machine or network, a real robot above all."""

import os
import socket

#: Higher domains take ports that Linux gives to outgoing connections.
_DOMAINS = 101
#: What this process keeps until it ends.
_kept: list["IsolatedDomain"] = []


class IsolatedDomain:
    """One of the domains 1 to 101 without a participant on this machine, reserved until closed.

    Args:
        first: where the search begins; any number.

    Attributes:
        number: the ROS_DOMAIN_ID.

    Raises:
        RuntimeError: there is none.

    """

    def __init__(self, first: int) -> None:
        for offset in range(_DOMAINS):
            self.number = 1 + (first + offset) % _DOMAINS
            # First the reservation: who looks at the same time must not find it free as well.
            reservation = _reserved(self.number)
            if reservation is None:
                continue
            if not _taken(self.number):
                self._reservation = reservation
                return
            reservation.close()
        raise RuntimeError(f"every ROS domain from 1 to {_DOMAINS} is in use on this machine")

    def __enter__(self) -> "IsolatedDomain":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Others may take it."""
        self._reservation.close()


def use_isolated_domain() -> int:
    """Set the environment for this process and its children; gives ROS_DOMAIN_ID."""
    domain = IsolatedDomain(os.getpid())
    _kept.append(domain)
    os.environ["ROS_DOMAIN_ID"] = str(domain.number)
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    if os.environ.get("ROS_DISTRO") == "humble":
        os.environ["ROS_LOCALHOST_ONLY"] = "1"
    return domain.number


def _reserved(domain: int) -> socket.socket | None:
    """A name that only one process of this machine can have, and loses when it dies."""
    name = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        name.bind(f"\0groot_ros/domain/{domain}")
    except OSError:
        name.close()
        return None
    return name


def _taken(domain: int) -> bool:
    """Whether a UDP port is bound that a domain's participants share, or that its first one has.

    The numbers are those of RTPS 2.5, 9.6.2.3: 7400 + 250 domains, and 10 for the first.
    """
    for port in (7400 + 250 * domain, 7410 + 250 * domain):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind(("", port))
            except OSError:
                return True
    return False
