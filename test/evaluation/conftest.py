"""Bags of true messages, written in a line."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from rclpy.serialization import serialize_message

from groot_ros.bags.definitions import MessageDefinitions
from groot_ros.bags.writer import BagWriter

#: (topic, seconds, message).
Said: TypeAlias = tuple[str, float, Any]


@pytest.fixture
def bag_of(tmp_path: Path) -> Callable[[Iterable[Said]], Path]:
    """A bag that holds these messages."""
    definitions = MessageDefinitions()

    def write(said: Iterable[Said]) -> Path:
        writer = BagWriter(tmp_path / "bag")
        for topic, seconds, message in said:
            if topic not in writer.counts:
                room, kind = type(message).__module__.split(".")[0], type(message).__name__
                writer.add_topic(topic, definitions.find(f"{room}/msg/{kind}"))
            writer.write(topic, round(seconds * 1e9), serialize_message(message))
        writer.close()
        return tmp_path / "bag"

    return write
