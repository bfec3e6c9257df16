# SPDX-License-Identifier: Apache-2.0
"""Recovery of a bag whose recording process was killed, or whose file is damaged.

An unfinished bag has no metadata.yaml, and its MCAP file has no index and possibly an incomplete
record at its end. Everything before is intact, because the writer only appends. In a file with
damaged bytes, reading continues at the next position where a record and its successor make sense.
"""

import logging
import mmap
import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from itertools import chain, islice
from pathlib import Path

from mcap.data_stream import ReadDataStream
from mcap.exceptions import McapError
from mcap.opcode import Opcode
from mcap.records import Channel, Chunk, McapRecord, Message, Schema
from mcap.stream_reader import breakup_chunk
from mcap.writer import MCAP0_MAGIC
from rosbags.interfaces import Qos
from rosbags.rosbag2.metadata import parse_qos
from zstandard import ZstdError

from groot_ros.bags import BagError
from groot_ros.bags.definitions import MessageDefinition
from groot_ros.bags.episode import EpisodeInfo, read_episode
from groot_ros.bags.writer import BagWriter

_LOGGER = logging.getLogger("groot_ros.bags")

_QOS_KEY = "offered_qos_profiles"
#: Opcode and length of a record.
_HEAD = struct.Struct("<BQ")
#: Records that are read.
_READ = (Opcode.SCHEMA, Opcode.CHANNEL, Opcode.MESSAGE)
#: Bytes of a chunk before the name of its compression; longest such name, and longest record, that
#: is believed.
_CHUNK_HEADER, _MAX_NAME, _MAX_RECORD = 9 + 28, 8, 2**32
#: Beginning of a schema, channel, message or chunk: opcode, and a length below 4 GiB. Lookahead, as
#: they may overlap.
_RECORD = re.compile(rb"[\x03-\x06](?=[\s\S]{4}\x00{4})")
#: What mcap raises for a record whose bytes are damaged.
_DAMAGED = (McapError, ZstdError, RuntimeError, KeyError, ValueError, struct.error, MemoryError)


@dataclass(frozen=True)
class RecordedTopic:
    """A topic as described in the file."""

    name: str
    definition: MessageDefinition
    offered: tuple[Qos, ...]


@dataclass
class Damage:
    """Part of a file that could not be read.

    Attributes:
        first: position of the first damaged byte; None without damage.
        bytes: number of bytes that were skipped.

    """

    first: int | None = None
    bytes: int = 0

    def record(self, begin: int, end: int) -> None:
        """Record that the bytes from `begin` to `end` were skipped."""
        self.first = begin if self.first is None else self.first
        self.bytes += end - begin


def read_messages(
    path: Path, damage: Damage | None = None
) -> Iterator[tuple[RecordedTopic, int, bytes]]:
    """Iterate over (topic, stamp in ns, data) of every complete message, in file order.

    Args:
        path: an MCAP file.
        damage: filled with the part that could not be read; not an incomplete end.

    Raises:
        BagError: not an MCAP file.

    """
    damage = Damage() if damage is None else damage
    schemas: dict[int, MessageDefinition] = {}
    topics: dict[int, RecordedTopic] = {}
    with path.open("rb") as file:
        if file.read(len(MCAP0_MAGIC)) != MCAP0_MAGIC:
            raise BagError(f"{path} is not an MCAP file")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            for begin, opcode, body in _records(data, damage):
                try:
                    for record in _parsed(opcode, body):
                        if isinstance(record, Schema):
                            text = record.data.decode()
                            schemas[record.id] = MessageDefinition.parse(record.name, text)
                        elif isinstance(record, Channel):
                            qos = parse_qos(record.metadata.get(_QOS_KEY, ""))
                            definition = schemas[record.schema_id]
                            topics[record.id] = RecordedTopic(record.topic, definition, tuple(qos))
                        elif isinstance(record, Message):
                            yield topics[record.channel_id], record.log_time, record.data
                # A record whose own bytes are damaged: the next one is intact.
                except _DAMAGED:
                    damage.record(begin, begin + _HEAD.size + len(body))


def recover(
    bag: Path,
    out: Path,
    damage: Damage | None = None,
    on_progress: Callable[[int], object] | None = None,
) -> BagWriter:
    """Copy every complete message of an unfinished or damaged bag into a new, finished one.

    The new bag is finished even if copying is interrupted.

    Args:
        bag: directory with one .mcap file, or that file; it is not changed.
        out: directory of the new bag; must not exist yet.
        damage: filled with the part that could not be read.
        on_progress: called with the number of bytes of each message.

    Returns:
        The closed writer, for its counts.

    Raises:
        BagError: there is no readable MCAP file, in which case `out` is not created; or `out`
            cannot be written.

    """
    saved = read_messages(mcap_file(bag), damage)
    # Raises for an unreadable file before the output is created.
    first = list(islice(saved, 1))
    writer = BagWriter(out, episode=_episode(bag))
    try:
        for topic, stamp_ns, data in chain(first, saved):
            if topic.name not in writer.counts:
                writer.add_topic(topic.name, topic.definition, topic.offered)
            writer.write(topic.name, stamp_ns, data)
            if on_progress is not None:
                on_progress(len(data))
    finally:
        writer.close()
    return writer


def mcap_file(bag: Path) -> Path:
    """Return the only MCAP file of a bag directory, or the file itself."""
    files = [bag] if bag.is_file() else sorted(bag.glob("*.mcap"))
    if len(files) != 1:
        raise BagError(f"{bag} contains {len(files)} .mcap files, expected 1: give the path of one")
    return files[0]


def _episode(bag: Path) -> EpisodeInfo | None:
    try:
        info = read_episode(bag)
    except BagError as error:
        _LOGGER.warning("%s; the recovered bag has no such entry", error)
        return None
    return None if info == EpisodeInfo() else info


def _parsed(opcode: int, body: bytes) -> list[McapRecord]:
    stream = ReadDataStream(BytesIO(body))
    if opcode == Opcode.CHUNK:
        return breakup_chunk(Chunk.read(stream))
    if opcode == Opcode.MESSAGE:
        return [Message.read(stream, len(body))]
    return [Schema.read(stream) if opcode == Opcode.SCHEMA else Channel.read(stream)]


def _records(data: mmap.mmap, damage: Damage) -> Iterator[tuple[int, int, bytes]]:
    """Iterate over (position, opcode, body) of schemas, channels, messages, compressed chunks.

    The records of an uncompressed chunk have the same form as outside of it. Only its header is
    skipped, so an incomplete chunk is read as far as it goes.
    """
    at = len(MCAP0_MAGIC)
    while len(data) - at >= _HEAD.size:
        opcode, length = _HEAD.unpack_from(data, at)
        end = at + _HEAD.size + length
        if opcode == Opcode.DATA_END and length == 4:
            return
        compressed = _is_compressed(data, at) if opcode == Opcode.CHUNK else None
        if compressed is False:
            at += _CHUNK_HEADER + 4 + 8
        elif _is_intact(data, at) and (opcode != Opcode.CHUNK or compressed):
            if opcode in _READ or compressed:
                yield at, opcode, data[at + _HEAD.size : end]
            at = end
        else:
            follower = _next_record(data, at + 1)
            if follower is None and end > len(data) and _is_head(data, at):
                return  # the incomplete record of a recording that was killed
            until = len(data) if follower is None else follower
            if _is_head(data, at) and end <= until:
                # Nothing intact within it: its length is right, and what follows is damaged.
                if opcode in _READ:
                    yield at, opcode, data[at + _HEAD.size : end]
                at = end
            damage.record(at, until)
            at = until


def _is_compressed(data: mmap.mmap, at: int) -> bool | None:
    """Return whether the chunk at this position is compressed; None if its header is damaged."""
    if len(data) - at <= _CHUNK_HEADER + 4 + 8:
        return None
    _, length = _HEAD.unpack_from(data, at)
    (name,) = struct.unpack_from("<I", data, at + _CHUNK_HEADER)
    return bool(name) if length < _MAX_RECORD and name <= _MAX_NAME else None


def _is_head(data: mmap.mmap, at: int) -> bool:
    """Return whether a record may begin here, judging by its opcode and its length only."""
    if len(data) - at < _HEAD.size:
        return True
    opcode, length = _HEAD.unpack_from(data, at)
    return Opcode.HEADER <= opcode <= Opcode.DATA_END and length < _MAX_RECORD


def _is_intact(data: mmap.mmap, at: int) -> bool:
    """Return whether a complete record begins here and something that may be one follows it."""
    if not _is_head(data, at) or len(data) - at < _HEAD.size:
        return False
    end = at + _HEAD.size + _HEAD.unpack_from(data, at)[1]
    return end <= len(data) and _is_head(data, end)


def _next_record(data: mmap.mmap, at: int) -> int | None:
    """Return the position of the next intact record that is read; None if there is none."""
    for found in _RECORD.finditer(data, at):
        begin = found.start()
        if data[begin] == Opcode.CHUNK and _is_compressed(data, begin) is None:
            continue
        if _is_intact(data, begin):
            end = begin + _HEAD.size + _HEAD.unpack_from(data, begin)[1]
            # Random bytes also look like a record at times: its successor must be one as well.
            if len(data) - end < _HEAD.size or _is_intact(data, end) or data[end] == Opcode.CHUNK:
                return begin
    return None
