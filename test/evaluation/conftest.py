# SPDX-License-Identifier: Apache-2.0
"""Bags of real messages, written in one line."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from rclpy.serialization import serialize_message

from groot_ros.bags.definitions import MessageDefinitions
from groot_ros.bags.episode import EpisodeInfo
from groot_ros.bags.writer import BagWriter

#: (topic, seconds, message).
Sent: TypeAlias = tuple[str, float, Any]


@pytest.fixture
def bag_of(tmp_path: Path) -> Callable[..., Path]:
    """Write a bag with these messages, and a description of its recording or none."""
    definitions = MessageDefinitions()

    def write(sent: Iterable[Sent], episode: EpisodeInfo | None = None) -> Path:
        writer = BagWriter(tmp_path / "bag", episode=episode)
        for topic, seconds, message in sent:
            if topic not in writer.counts:
                package, name = type(message).__module__.split(".")[0], type(message).__name__
                writer.add_topic(topic, definitions.find(f"{package}/msg/{name}"))
            writer.write(topic, round(seconds * 1e9), serialize_message(message))
        writer.close()
        return tmp_path / "bag"

    return write
