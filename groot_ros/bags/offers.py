"""The quality of service that publishers offer, and what a recorder asks for to hear them all."""

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
    """The strongest request that every offer satisfies.

    Attributes:
        reliable: all publishers resend what was lost.
        latched: all publishers keep their last messages for late joiners.

    """

    reliable: bool
    latched: bool

    @classmethod
    def matching(cls, offers: Sequence[Qos]) -> "Request":
        """As `ros2 bag record` adapts: one publisher that offers less weakens the request."""
        return cls(
            reliable=all(o.reliability is QosReliability.RELIABLE for o in offers),
            latched=all(o.durability is QosDurability.TRANSIENT_LOCAL for o in offers),
        )

    def hears(self, offers: Sequence[Qos]) -> bool:
        """Whether a subscription with this request receives from all of them."""
        wanted = Request.matching(offers)
        return wanted.reliable >= self.reliable and wanted.latched >= self.latched


def offered_qos(profile: Any) -> Qos:
    """An rclpy QoSProfile as the bag stores it; what discovery does not tell stays "unknown"."""
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
