# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the bag tests: message definitions, QoS offers and serialised strings."""

import pytest
from rosbags.interfaces import (
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)

from groot_ros.bags.definitions import MessageDefinition, MessageDefinitions

FOREVER = QosTime(9223372036, 854775807)


@pytest.fixture(scope="session")
def definitions() -> MessageDefinitions:
    return MessageDefinitions()


@pytest.fixture(scope="session")
def string_definition(definitions) -> MessageDefinition:
    return definitions.find("std_msgs/msg/String")


@pytest.fixture
def make_offer():
    def make(*, reliable: bool = True, latched: bool = False) -> Qos:
        return Qos(
            history=QosHistory.UNKNOWN,
            depth=0,
            reliability=QosReliability.RELIABLE if reliable else QosReliability.BEST_EFFORT,
            durability=QosDurability.TRANSIENT_LOCAL if latched else QosDurability.VOLATILE,
            deadline=FOREVER,
            lifespan=FOREVER,
            liveliness=QosLiveliness.AUTOMATIC,
            liveliness_lease_duration=FOREVER,
            avoid_ros_namespace_conventions=False,
        )

    return make


@pytest.fixture
def string_cdr():
    """CDR bytes of std_msgs/String."""

    def encode(text: str) -> bytes:
        data = text.encode() + b"\0"
        return b"\0\1\0\0" + len(data).to_bytes(4, "little") + data

    return encode
