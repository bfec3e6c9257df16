"""A DDS domain apart from whatever else runs on this machine or network, a real robot above all."""

import os
import socket

#: Higher domains take ports that Linux gives to outgoing connections.
_DOMAINS = 101


def use_own_domain() -> int:
    """Set the environment for this process and its children; gives ROS_DOMAIN_ID."""
    domain = free_domain(os.getpid())
    os.environ["ROS_DOMAIN_ID"] = str(domain)
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    if os.environ.get("ROS_DISTRO") == "humble":
        os.environ["ROS_LOCALHOST_ONLY"] = "1"
    return domain


def free_domain(first: int) -> int:
    """One of 1 to 101 without a participant on this machine, the search beginning at `first`.

    Raises RuntimeError where there is none.
    """
    for offset in range(_DOMAINS):
        domain = 1 + (first + offset) % _DOMAINS
        if not _taken(domain):
            return domain
    raise RuntimeError(f"every ROS domain from 1 to {_DOMAINS} is in use on this machine")


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
