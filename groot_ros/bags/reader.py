# SPDX-License-Identifier: Apache-2.0
"""Open bags of any recorder (MCAP or sqlite3, compressed or not, one file or several)."""

import struct
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rosbags.interfaces import Connection
from rosbags.rosbag2 import Reader
from rosbags.serde import SerdeError
from rosbags.typesys import Stores, TypesysError, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from groot_ros.bags import BagError
from groot_ros.bags.contents import UNREADABLE, unreadable_bag
from groot_ros.bags.definitions import MessageDefinitions

#: MESSAGE_VERSION of this package's messages that are read.
MESSAGE_VERSION = 2
#: MESSAGE_VERSION -> versions of the package that record it; the first one had no such constant.
_RECORDED_BY = {1: "groot_ros 0.1.0", 2: "groot_ros 0.2.0"}
_VERSIONED = tuple(
    f"groot_ros/msg/{name}"
    for name in ("ActionChunk", "CommittedTimeline", "ExecutorState", "PolicyStatus")
)


@contextmanager
def open_bag(bag: Path) -> Iterator[tuple[Reader, Typestore]]:
    """Open a bag; yield its reader and the message types as the bag defines them.

    Types that the bag names without a definition, as sqlite3 bags do, are those of the sourced
    workspaces; a topic whose type is in neither cannot be deserialised.

    Raises:
        BagError: there is no bag, or it is damaged.

    """
    if not bag.exists():
        raise BagError(f"{bag} does not exist: give the directory of a bag")
    if bag.is_dir() and not (bag / "metadata.yaml").is_file():
        if not any(bag.glob("*.mcap")):
            raise BagError(f"{bag} is not a bag: it has no metadata.yaml")
        raise unreadable_bag(bag, ValueError("it has no metadata.yaml"))
    types = get_typestore(Stores.ROS2_JAZZY)
    try:
        with Reader(bag) as reader:
            for connection in reader.connections:
                _register(types, connection)
            yield reader, types
    except UNREADABLE as error:
        raise unreadable_bag(bag, error) from error


def decode(types: Typestore, raw: bytes | memoryview, msgtype: str) -> Any:
    """Decode a message.

    Unlike Typestore.deserialize_cdr() it accepts bytes after the last field: rclpy's
    serialize_message() appends some for every empty sequence, for example of a JointState without
    velocities, so bags written by Python programs have them.

    Raises:
        SerdeError: the message is not of this type.

    """
    if len(raw) < 4 or bytes(raw[:2]) not in (b"\0\0", b"\0\1"):
        raise SerdeError(f"a message of {msgtype} has an unknown encoding")
    definition = types.get_msgdef(msgtype)
    read = definition.deserialize_cdr_le if raw[1] else definition.deserialize_cdr_be
    try:
        message, _ = read(raw[4:], 0, definition.cls, types)
    except (struct.error, ValueError, SerdeError) as error:
        raise SerdeError(f"a message is not of the type {msgtype}: {error}") from error
    return message


def recorded_version(msgtype: str, types: Typestore) -> int:
    """Return the MESSAGE_VERSION with which a bag defines one of this package's messages."""
    if msgtype not in types.fielddefs:
        return 1
    constants = {name: value for name, _, value in types.fielddefs[msgtype][0]}
    return int(constants.get("MESSAGE_VERSION", 1))


def require_version(bag: Path, reader: Reader, types: Typestore) -> None:
    """Raise BagError if the bag holds this package's messages in another version."""
    recorded = {c.msgtype for c in reader.connections}.intersection(_VERSIONED)
    for msgtype in sorted(recorded):
        version = recorded_version(msgtype, types)
        if version != MESSAGE_VERSION:
            recorder = _RECORDED_BY.get(version, f"a later version (message version {version})")
            raise BagError(
                f"bag {bag} has the messages of {recorder}, but this is a report of "
                f"{_RECORDED_BY[MESSAGE_VERSION]} messages: make the report with the version that "
                "recorded the bag, or record the run again"
            )


def full_topic(namespace: str, topic: str) -> str:
    """Resolve a topic name like ROS: relative to the namespace, absolute if it begins with "/"."""
    parts = (topic,) if topic.startswith("/") else (namespace, topic)
    return "/" + "/".join(part.strip("/") for part in parts if part.strip("/"))


def robot_namespace(topics: Iterable[str], recorded: Collection[str], given: str | None) -> str:
    """Return the namespace in which the topics of a robot were recorded.

    Args:
        topics: names in the robot contract.
        recorded: full names of the recorded topics.
        given: the requested namespace; None = the only one that fits.

    Raises:
        ValueError: a topic is missing, or several namespaces fit.

    """
    topics = list(topics)
    candidates = [given] if given is not None else _namespaces(topics, recorded)
    if len(candidates) > 1:
        names = ", ".join(name or "/" for name in candidates)
        raise ValueError(f"contains several robots: choose one of {names} with --namespace")
    namespace = candidates[0] if candidates else ""
    missing = [
        full_topic(namespace, topic)
        for topic in topics
        if full_topic(namespace, topic) not in recorded
    ]
    if missing:
        available = ", ".join(sorted(recorded)) or "none"
        raise ValueError(f"topics missing: {', '.join(missing)}; recorded topics: {available}")
    return namespace


def _namespaces(topics: Sequence[str], recorded: Collection[str]) -> list[str]:
    """Return every namespace in which all topics were recorded."""
    ends = [f"/{topic}" for topic in topics if not topic.startswith("/")][:1]
    found = {name.removesuffix(end) for end in ends for name in recorded if name.endswith(end)}
    return sorted(
        own for own in found if all(full_topic(own, topic) in recorded for topic in topics)
    )


def _register(types: Typestore, connection: Connection) -> None:
    """Add the definition of a topic's type, and of the types in it, if it is not known yet."""
    if connection.msgtype in types.fielddefs:
        return
    text = connection.msgdef.data
    if not text:
        try:
            text = MessageDefinitions().find(connection.msgtype).text
        except BagError:
            # Not an error yet: perhaps nobody reads this topic.
            return
    try:
        new = get_types_from_msg(text, connection.msgtype)
        types.register({k: v for k, v in new.items() if k not in types.fielddefs})
    except TypesysError as error:
        raise BagError(
            f"topic {connection.topic}: the definition of {connection.msgtype} in the bag cannot "
            f"be read: {error}"
        ) from error
