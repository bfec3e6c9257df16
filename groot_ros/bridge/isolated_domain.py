# SPDX-License-Identifier: Apache-2.0
"""A DDS domain that no other process uses, so that demos and tests cannot reach a real robot."""

import os
import socket
from collections.abc import Iterator

#: Higher domains use ports that Linux assigns to outgoing connections.
_DOMAINS = 101
#: Domains reserved until the process ends.
_reserved_domains: list["IsolatedDomain"] = []


class IsolatedDomain:
    """A domain from 1 to 101 without participants on this machine, reserved until closed.

    Args:
        first: where the search begins, any number.

    Attributes:
        number: the ROS_DOMAIN_ID.

    Raises:
        RuntimeError: all domains are in use.

    """

    def __init__(self, first: int) -> None:
        for offset in range(_DOMAINS):
            self.number = 1 + (first + offset) % _DOMAINS
            # Reserve before looking, or two processes could find the same domain free.
            reservation = _reserve(self.number)
            if reservation is None:
                continue
            if not has_participants(self.number):
                self._reservation = reservation
                return
            reservation.close()
        raise RuntimeError(f"every ROS domain from 1 to {_DOMAINS} is in use on this machine")

    def __enter__(self) -> "IsolatedDomain":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def environment(self) -> dict[str, str]:
        """Variables of the processes that use this domain, with local discovery."""
        local = {"ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}
        if os.environ.get("ROS_DISTRO") == "humble":
            local["ROS_LOCALHOST_ONLY"] = "1"
        return {"ROS_DOMAIN_ID": str(self.number), **local}

    def close(self) -> None:
        """Release the reservation."""
        self._reservation.close()


def use_isolated_domain() -> IsolatedDomain:
    """Set ROS_DOMAIN_ID and local discovery for this process and its children.

    The domain stays reserved until the process ends or it is closed.
    """
    domain = IsolatedDomain(os.getpid())
    _reserved_domains.append(domain)
    os.environ.update(domain.environment)
    return domain


def _reserve(domain: int) -> socket.socket | None:
    """Bind an abstract socket name: one process can hold it, and it is released when that ends."""
    name = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        name.bind(f"\0groot_ros/domain/{domain}")
    except OSError:
        name.close()
        return None
    return name


def has_participants(domain: int) -> bool:
    """Return whether a process of this machine has bound a UDP port of the domain.

    A domain has the 250 ports from 7400 + 250 * domain (RTPS 2.5, section 9.6.2.3). Which of them
    a participant takes depends on how many its process has already, in any domain. The ports are
    read from Linux's table of sockets: binding them to look would take them from a participant
    that starts at the same moment.
    """
    first = 7400 + 250 * domain
    return any(first <= port < first + 250 for port in _bound_udp_ports())


def _bound_udp_ports() -> Iterator[int]:
    for table in ("/proc/net/udp", "/proc/net/udp6"):
        if os.path.exists(table):  # no udp6 where IPv6 is turned off
            with open(table) as lines:
                next(lines)  # the names of the columns
                for line in lines:
                    yield int(line.split()[1].rpartition(":")[2], 16)
