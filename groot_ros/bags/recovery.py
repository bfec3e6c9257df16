# SPDX-License-Identifier: Apache-2.0
"""Recovery of a bag whose recording process was killed, or whose file is damaged.

An unfinished bag has no metadata.yaml, and its MCAP file has no index and possibly an incomplete
record at its end. Everything before is intact, because the writer only appends. In a file with
damaged bytes, reading continues at the next position where a record and its successor make sense.
"""

import mmap
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

from rosbags.interfaces import Qos
from rosbags.rosbag2.metadata import parse_qos

from groot_ros.bags import BagError
from groot_ros.bags.definitions import MessageDefinition
from groot_ros.bags.mcap_records import MAGIC, Opcode
from groot_ros.bags.writer import BagWriter

_QOS_KEY = "offered_qos_profiles"
#: Opcode and length of a record; fields of a message before its data.
_HEAD, _MESSAGE = struct.Struct("<BQ"), struct.Struct("<HIQQ")
#: Records that are read.
_READ = (Opcode.SCHEMA, Opcode.CHANNEL, Opcode.MESSAGE)
#: Bytes of a chunk before its records, without compression; longest record that is believed.
_CHUNK_HEADER, _MAX_RECORD = 9 + 32 + 8, 2**32
#: Beginning of one of them: opcode, and a length below 4 GiB. Lookahead, as they may overlap.
_RECORD = re.compile(rb"[\x03-\x05](?=[\s\S]{4}\x00{4})")


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
        BagError: not an MCAP file, or one with compressed chunks.

    """
    damage = Damage() if damage is None else damage
    schemas: dict[int, MessageDefinition] = {}
    topics: dict[int, RecordedTopic] = {}
    with path.open("rb") as file:
        if file.read(len(MAGIC)) != MAGIC:
            raise BagError(f"{path} is not an MCAP file")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            for begin, opcode, body in _records(data, path, damage):
                try:
                    if opcode == Opcode.SCHEMA:
                        fields = _RecordFields(body)
                        number, name, _encoding = fields.short(), fields.text(), fields.text()
                        schemas[number] = MessageDefinition.parse(name, fields.text())
                    elif opcode == Opcode.CHANNEL:
                        fields = _RecordFields(body)
                        number, schema = fields.short(), fields.short()
                        topic, _encoding = fields.text(), fields.text()
                        metadata = _RecordFields(fields.data()).mapping()
                        qos = parse_qos(metadata.get(_QOS_KEY, ""))
                        topics[number] = RecordedTopic(topic, schemas[schema], tuple(qos))
                    else:
                        number, _sequence, stamp_ns, _published = _MESSAGE.unpack_from(body)
                        yield topics[number], stamp_ns, body[_MESSAGE.size :]
                # A record whose own bytes are damaged: the next one is intact.
                except (KeyError, ValueError, struct.error):
                    damage.record(begin, begin + _HEAD.size + len(body))


def recover(bag: Path, out: Path, damage: Damage | None = None) -> BagWriter:
    """Copy every complete message of an unfinished or damaged bag into a new, finished one.

    Args:
        bag: directory with one .mcap file, or that file; it is not changed.
        out: directory of the new bag; must not exist yet.
        damage: filled with the part that could not be read.

    Returns:
        The closed writer, for its counts.

    Raises:
        BagError: there is no readable MCAP file, in which case `out` is not created; or `out`
            cannot be written.

    """
    saved = read_messages(mcap_file(bag), damage)
    # Raises for an unreadable file before the output is created.
    first = list(islice(saved, 1))
    writer = BagWriter(out)
    for topic, stamp_ns, data in chain(first, saved):
        if topic.name not in writer.counts:
            writer.add_topic(topic.name, topic.definition, topic.offered)
        writer.write(topic.name, stamp_ns, data)
    writer.close()
    return writer


def mcap_file(bag: Path) -> Path:
    """Return the only MCAP file of a bag directory, or the file itself."""
    files = [bag] if bag.is_file() else sorted(bag.glob("*.mcap"))
    if len(files) != 1:
        raise BagError(f"{bag} contains {len(files)} .mcap files, expected 1: give the path of one")
    return files[0]


def _records(data: mmap.mmap, path: Path, damage: Damage) -> Iterator[tuple[int, int, bytes]]:
    """Iterate over (position, opcode, body) of schemas, channels and messages.

    The records of an uncompressed chunk have the same form as outside of it. Only the header of a
    chunk is skipped, so an incomplete chunk is read as far as it goes.
    """
    at = len(MAGIC)
    while len(data) - at >= _HEAD.size:
        opcode, length = _HEAD.unpack_from(data, at)
        end = at + _HEAD.size + length
        if opcode == Opcode.DATA_END and length == 4:
            return
        if opcode == Opcode.CHUNK and len(data) - at > _CHUNK_HEADER and length < _MAX_RECORD:
            if struct.unpack_from("<I", data, at + _HEAD.size + 28)[0]:
                raise BagError(f"{path} is compressed: use the 'mcap recover' command")
            at += _CHUNK_HEADER
        elif _is_intact(data, at):
            if opcode in _READ:
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
    """Return the position of the next intact schema, channel or message; None if there is none."""
    for found in _RECORD.finditer(data, at):
        begin = found.start()
        if _is_intact(data, begin):
            end = begin + _HEAD.size + _HEAD.unpack_from(data, begin)[1]
            # Random bytes also look like a record at times: its successor must be one as well.
            if len(data) - end < _HEAD.size or _is_intact(data, end) or data[end] == Opcode.CHUNK:
                return begin
    return None


class _RecordFields:
    """Reader of the fields of a record, in their order."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._offset = 0

    def short(self) -> int:
        self._offset += 2
        return int.from_bytes(self._body[self._offset - 2 : self._offset], "little")

    def data(self) -> bytes:
        start = self._offset + 4
        self._offset = start + int.from_bytes(self._body[self._offset : start], "little")
        return self._body[start : self._offset]

    def text(self) -> str:
        return self.data().decode()

    def mapping(self) -> dict[str, str]:
        entries = {}
        while self._offset < len(self._body):
            key = self.text()
            entries[key] = self.text()
        return entries
