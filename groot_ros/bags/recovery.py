"""Saves a bag whose recording process was killed.

An unfinished bag has no metadata.yaml, and its MCAP file no index and perhaps half a record
at its end. Everything before is intact, because a writer only ever appends.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import BinaryIO

from rosbags.interfaces import Qos
from rosbags.rosbag2.metadata import parse_qos

from groot_ros.bags.definitions import MessageDefinition
from groot_ros.bags.error import BagError
from groot_ros.bags.mcap_records import MAGIC, Opcode
from groot_ros.bags.writer import BagWriter

_QOS_KEY = "offered_qos_profiles"


@dataclass(frozen=True)
class SavedTopic:
    """A topic as the file announces it."""

    name: str
    definition: MessageDefinition
    offered: tuple[Qos, ...]


def saved_messages(path: Path) -> Iterator[tuple[SavedTopic, int, bytes]]:
    """(topic, stamp in ns, data) of every whole message of an MCAP file, in file order.

    Raises:
        BagError: not an MCAP file, or one with compressed chunks.

    """
    schemas: dict[int, MessageDefinition] = {}
    topics: dict[int, SavedTopic] = {}
    with path.open("rb") as file:
        if file.read(len(MAGIC)) != MAGIC:
            raise BagError(f"{path} is not an MCAP file")
        for opcode, body in _records(file):
            if opcode == Opcode.SCHEMA:
                fields = _Fields(body)
                number, name, _encoding = fields.short(), fields.text(), fields.text()
                schemas[number] = MessageDefinition.parse(name, fields.text())
            elif opcode == Opcode.CHANNEL:
                fields = _Fields(body)
                number, schema = fields.short(), fields.short()
                topic, _encoding, metadata = fields.text(), fields.text(), _Fields(fields.data())
                qos = parse_qos(metadata.mapping().get(_QOS_KEY, ""))
                topics[number] = SavedTopic(topic, schemas[schema], tuple(qos))
            else:
                number, _sequence, stamp_ns, _published = struct.unpack_from("<HIQQ", body)
                yield topics[number], stamp_ns, body[22:]


def recover(bag: Path, out: Path) -> BagWriter:
    """Copy every whole message of an unfinished bag into a new, finished one.

    Args:
        bag: directory with one .mcap file, or that file itself. It is left as it is.
        out: directory of the new bag; must not exist yet.

    Returns:
        The closed writer, for its counts.

    Raises:
        BagError: there is no MCAP file that can be read, and `out` is not made; or it cannot be
            written.

    """
    saved = saved_messages(mcap_file(bag))
    # What cannot be read is rejected here, before anything is made.
    first = list(islice(saved, 1))
    writer = BagWriter(out)
    for topic, stamp_ns, data in chain(first, saved):
        if topic.name not in writer.counts:
            writer.add_topic(topic.name, topic.definition, topic.offered)
        writer.write(topic.name, stamp_ns, data)
    writer.close()
    return writer


def mcap_file(bag: Path) -> Path:
    """The one MCAP file of a bag directory, or the file itself."""
    files = [bag] if bag.is_file() else sorted(bag.glob("*.mcap"))
    if len(files) != 1:
        raise BagError(f"{bag} holds {len(files)} .mcap files where there should be one")
    return files[0]


def _records(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Schemas, channels and messages up to the first that is cut off.

    The records of an uncompressed chunk lie in the file as they would outside of it: a chunk
    is entered by skipping its header, so a chunk that was cut off is read as far as it goes.
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


class _Fields:
    """The fields of a record, one after the other."""

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
