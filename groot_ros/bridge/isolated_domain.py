# SPDX-License-Identifier: Apache-2.0
"""A DDS domain that no other process uses, so that demos and tests cannot reach a real robot."""

import os
import socket

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

    def close(self) -> None:
        """Release the reservation."""
        self._reservation.close()


def use_isolated_domain() -> IsolatedDomain:
    """Set ROS_DOMAIN_ID and local discovery for this process and its children.

    The domain stays reserved until the process ends or it is closed.
    """
    domain = IsolatedDomain(os.getpid())
    _reserved_domains.append(domain)
    os.environ["ROS_DOMAIN_ID"] = str(domain.number)
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    if os.environ.get("ROS_DISTRO") == "humble":
        os.environ["ROS_LOCALHOST_ONLY"] = "1"
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
    """Return whether the domain's shared UDP port, or that of a participant, is bound.

    The port numbers are those of RTPS 2.5, section 9.6.2.3: 7400 + 250 * domain, and 10 more for
    the first participant, 12 for the second. The first port may be free while others are in use:
    its participant has ended, or another process was looking when the participant started.
    """
    for port in (7400 + 250 * domain + offset for offset in (0, 10, 12, 14, 16)):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind(("", port))
            except OSError:
                return True
    return False
