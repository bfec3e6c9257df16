# SPDX-License-Identifier: Apache-2.0
"""Serialisation of the records of an MCAP file (MCAP specification, version 0).

Only those that rosbag2's bags need: no attachments, no compression, no checksums (the default of
rosbag2). All numbers are little-endian; a string is its length and its UTF-8 bytes.
"""

import struct
from collections.abc import Mapping, Sequence
from enum import IntEnum

MAGIC = b"\x89MCAP0\r\n"


class Opcode(IntEnum):
    """Record types that are used here."""

    HEADER = 0x01
    FOOTER = 0x02
    SCHEMA = 0x03
    CHANNEL = 0x04
    MESSAGE = 0x05
    CHUNK = 0x06
    MESSAGE_INDEX = 0x07
    CHUNK_INDEX = 0x08
    STATISTICS = 0x0B
    METADATA = 0x0C
    METADATA_INDEX = 0x0D
    SUMMARY_OFFSET = 0x0E
    DATA_END = 0x0F


def record(opcode: Opcode, body: bytes) -> bytes:
    """Serialise a record."""
    return struct.pack("<BQ", opcode, len(body)) + body


def sized(data: bytes) -> bytes:
    """Prefix bytes with their length, as in strings, maps and arrays."""
    return struct.pack("<I", len(data)) + data


def string(text: str) -> bytes:
    """Serialise a string field."""
    return sized(text.encode())


def header() -> bytes:
    """Serialise the first record."""
    return record(Opcode.HEADER, string("ros2") + string("groot_ros"))


def schema(number: int, name: str, definition: str) -> bytes:
    """Serialise a message type; its definition has the format of .msg files."""
    body = struct.pack("<H", number) + string(name) + string("ros2msg") + string(definition)
    return record(Opcode.SCHEMA, body)


def channel(
    number: int, schema_number: int, topic: str, encoding: str, metadata: Mapping[str, str]
) -> bytes:
    """Serialise a topic."""
    entries = b"".join(string(key) + string(value) for key, value in metadata.items())
    body = struct.pack("<HH", number, schema_number) + string(topic) + string(encoding)
    return record(Opcode.CHANNEL, body + sized(entries))


def message_head(channel_number: int, stamp_ns: int, size: int) -> bytes:
    """Serialise the header of a message of `size` bytes."""
    return struct.pack("<BQHIQQ", Opcode.MESSAGE, 22 + size, channel_number, 0, stamp_ns, stamp_ns)


def chunk_head(span_ns: tuple[int, int], size: int) -> bytes:
    """Serialise the header of a chunk with `size` bytes of records."""
    fields = struct.pack("<QQQI", *span_ns, size, 0) + string("") + struct.pack("<Q", size)
    return struct.pack("<BQ", Opcode.CHUNK, len(fields) + size) + fields


def message_index(channel_number: int, entries: Sequence[tuple[int, int]]) -> bytes:
    """Serialise (stamp in ns, offset in the preceding chunk) of a topic's messages."""
    packed = b"".join(struct.pack("<QQ", *entry) for entry in entries)
    return record(Opcode.MESSAGE_INDEX, struct.pack("<H", channel_number) + sized(packed))


def chunk_index(
    span_ns: tuple[int, int], begin: int, length: int, size: int, indexes: Mapping[int, bytes]
) -> bytes:
    """Serialise the position of a chunk.

    Args:
        span_ns: earliest and latest stamp of its messages.
        begin: offset in the file.
        length: size of the complete chunk record, bytes.
        size: size of the records in it, bytes.
        indexes: channel -> message index record that follows the chunk, in file order.

    """
    offsets, at = b"", begin + length
    for number, index in indexes.items():
        offsets += struct.pack("<HQ", number, at)
        at += len(index)
    return record(
        Opcode.CHUNK_INDEX,
        struct.pack("<QQQQ", *span_ns, begin, length)
        + sized(offsets)
        + struct.pack("<Q", at - begin - length)
        + string("")
        + struct.pack("<QQ", size, size),
    )


def metadata(name: str, entries: Mapping[str, str]) -> bytes:
    """Serialise named text entries."""
    packed = b"".join(string(key) + string(value) for key, value in entries.items())
    return record(Opcode.METADATA, string(name) + sized(packed))


def metadata_index(begin: int, length: int, name: str) -> bytes:
    """Serialise the position of a metadata record."""
    return record(Opcode.METADATA_INDEX, struct.pack("<QQ", begin, length) + string(name))


def data_end() -> bytes:
    """Serialise the record between the messages and the summary."""
    return record(Opcode.DATA_END, struct.pack("<I", 0))


def statistics(
    counts: Mapping[int, int], schemas: int, chunks: int, span_ns: tuple[int, int]
) -> bytes:
    """Serialise the number of messages per channel and of records of each type."""
    by_channel = b"".join(struct.pack("<HQ", *entry) for entry in sorted(counts.items()))
    numbers = struct.pack(
        "<QHIIIIQQ", sum(counts.values()), schemas, len(counts), 0, 1, chunks, *span_ns
    )
    return record(Opcode.STATISTICS, numbers + sized(by_channel))


def summary(begin: int, groups: Mapping[Opcode, Sequence[bytes]]) -> bytes:
    """Serialise the file from the summary, at offset `begin`, to its end."""
    offsets, at = b"", begin
    for opcode, records in groups.items():
        length = sum(map(len, records))
        if length:
            offsets += record(Opcode.SUMMARY_OFFSET, struct.pack("<BQQ", opcode, at, length))
        at += length
    footer = record(Opcode.FOOTER, struct.pack("<QQI", begin, at, 0))
    return b"".join(b"".join(records) for records in groups.values()) + offsets + footer + MAGIC
