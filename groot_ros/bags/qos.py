# SPDX-License-Identifier: Apache-2.0
"""Quality of service: what publishers offer, and the request that matches all of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rosbags.interfaces import (
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)

from groot_ros.core import NS_PER_S


@dataclass(frozen=True)
class Request:
    """The strongest QoS request that all offers satisfy.

    Attributes:
        reliable: all publishers resend lost messages.
        latched: all publishers keep their last messages for late subscribers.

    """

    reliable: bool
    latched: bool

    @classmethod
    def matching(cls, offers: Sequence[Qos]) -> "Request":
        """Return the request for these offers; as in `ros2 bag record`, the weakest decides."""
        return cls(
            reliable=all(o.reliability is QosReliability.RELIABLE for o in offers),
            latched=all(o.durability is QosDurability.TRANSIENT_LOCAL for o in offers),
        )

    def receives_all(self, offers: Sequence[Qos]) -> bool:
        """Return whether a subscription with this request receives from all publishers."""
        strongest = Request.matching(offers)
        return strongest.reliable >= self.reliable and strongest.latched >= self.latched


def offered_qos(profile: Any) -> Qos:
    """Convert an rclpy QoSProfile; values that discovery does not report stay "unknown"."""
    return Qos(
        history=QosHistory(int(profile.history)),
        depth=int(profile.depth),
        reliability=QosReliability(int(profile.reliability)),
        durability=QosDurability(int(profile.durability)),
        deadline=_time(profile.deadline),
        lifespan=_time(profile.lifespan),
        liveliness=QosLiveliness(int(profile.liveliness)),
        liveliness_lease_duration=_time(profile.liveliness_lease_duration),
        avoid_ros_namespace_conventions=bool(profile.avoid_ros_namespace_conventions),
    )


def _time(duration: Any) -> QosTime:
    return QosTime(*divmod(int(duration.nanoseconds), NS_PER_S))
