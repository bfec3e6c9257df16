# SPDX-License-Identifier: Apache-2.0
"""Recovery of a bag whose recording process was killed.

An unfinished bag has no metadata.yaml, and its MCAP file has no index and possibly an incomplete
record at its end. Everything before is intact, because the writer only appends.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import BinaryIO

from rosbags.interfaces import Qos
from rosbags.rosbag2.metadata import parse_qos

from groot_ros.bags import BagError
from groot_ros.bags.definitions import MessageDefinition
from groot_ros.bags.mcap_records import MAGIC, Opcode
from groot_ros.bags.writer import BagWriter

_QOS_KEY = "offered_qos_profiles"


@dataclass(frozen=True)
class RecordedTopic:
    """A topic as described in the file."""

    name: str
    definition: MessageDefinition
    offered: tuple[Qos, ...]


def read_messages(path: Path) -> Iterator[tuple[RecordedTopic, int, bytes]]:
    """Iterate over (topic, stamp in ns, data) of every complete message, in file order.

    Raises:
        BagError: not an MCAP file, or one with compressed chunks.

    """
    schemas: dict[int, MessageDefinition] = {}
    topics: dict[int, RecordedTopic] = {}
    with path.open("rb") as file:
        if file.read(len(MAGIC)) != MAGIC:
            raise BagError(f"{path} is not an MCAP file")
        for opcode, body in _records(file):
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
                number, _sequence, stamp_ns, _published = struct.unpack_from("<HIQQ", body)
                yield topics[number], stamp_ns, body[22:]


def recover(bag: Path, out: Path) -> BagWriter:
    """Copy every complete message of an unfinished bag into a new, finished one.

    Args:
        bag: directory with one .mcap file, or that file; it is not changed.
        out: directory of the new bag; must not exist yet.

    Returns:
        The closed writer, for its counts.

    Raises:
        BagError: there is no readable MCAP file, in which case `out` is not created; or `out`
            cannot be written.

    """
    saved = read_messages(mcap_file(bag))
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


def _records(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Iterate over schemas, channels and messages up to the first incomplete one.

    The records of an uncompressed chunk have the same form as outside of it. Only the header of a
    chunk is skipped, so an incomplete chunk is read as far as it goes.
    """
    while len(head := file.read(9)) == 9:
        opcode, length = struct.unpack("<BQ", head)
        if opcode == Opcode.CHUNK:
            header = file.read(32)
            if len(header) == 32 and struct.unpack_from("<I", header, 28)[0]:
                raise BagError(f"{file.name} is compressed: use the 'mcap recover' command")
            file.read(8)
        elif opcode in (Opcode.SCHEMA, Opcode.CHANNEL, Opcode.MESSAGE):
            body = file.read(length)
            if len(body) < length:
                return
            yield opcode, body
        elif opcode == 0 or opcode >= Opcode.DATA_END:
            return
        else:
            file.seek(length, 1)


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
