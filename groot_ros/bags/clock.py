# SPDX-License-Identifier: Apache-2.0
"""Check that the clock of a recording did not go back, as when a simulation is reset.

Readers sort the messages of a bag by their stamps, which mixes what was recorded before and after a
reset. The order in which the messages of one topic were written tells it. Only indexes are read.
"""

import sqlite3
import struct
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from mcap.data_stream import ReadDataStream
from mcap.exceptions import McapError
from mcap.opcode import Opcode
from mcap.reader import make_reader
from mcap.records import MessageIndex
from rosbags.rosbag2 import Reader

from groot_ros.bags import BagError
from groot_ros.bags.streams import RESET_STEP_NS
from groot_ros.core import ns_to_s


def require_steady_clock(bag: Path, reader: Reader) -> None:
    """Raise BagError if the stamps of a topic go back by more than 1 s.

    MCAP files without an index are not checked: `rosbags` rejects one whose messages are not in the
    order of their stamps.

    Args:
        bag: directory of a bag, or one of its files; for messages.
        reader: open reader of the bag.

    """
    newest: dict[str, int] = {}
    for file in _files(reader):
        stamps = _mcap_stamps(file) if file.suffix == ".mcap" else _sqlite_stamps(file)
        for topic, stamp in stamps:
            behind = newest.get(topic, stamp) - stamp
            if behind > RESET_STEP_NS:
                raise BagError(
                    f"the clock of bag {bag} goes back by {ns_to_s(behind):.3f} s in the messages "
                    f"of {topic}, as when a simulation is reset: record again, or split the bag "
                    "there"
                )
            newest[topic] = max(newest.get(topic, stamp), stamp)


def _files(reader: Reader) -> list[Path]:
    """Return the files in the order of recording, as decompressed if each is compressed."""
    storages = getattr(reader.storage, "storages", [reader.storage])
    return [Path(str(storage.path)) for storage in storages]


def _mcap_stamps(file: Path) -> Iterator[tuple[str, int]]:
    """Yield (topic, stamp in ns) in the order of the file, from the indexes of its chunks."""
    with file.open("rb") as opened:
        try:
            summary = make_reader(opened).get_summary()
            if summary is None:
                return
            for chunk in sorted(summary.chunk_indexes, key=lambda index: index.chunk_start_offset):
                for channel, offset in chunk.message_index_offsets.items():
                    opened.seek(offset)
                    stream = ReadDataStream(opened)
                    if stream.read1() != Opcode.MESSAGE_INDEX:
                        raise BagError(f"{file} cannot be read: its index is damaged")
                    stream.read8()
                    # Writers may sort an index by stamps; the offsets have the order of writing.
                    entries = sorted(MessageIndex.read(stream).records, key=lambda entry: entry[1])
                    topic = summary.channels[channel].topic
                    yield from ((topic, stamp) for stamp, _ in entries)
        except (McapError, KeyError, ValueError, struct.error) as error:
            raise BagError(f"{file} cannot be read: its index is damaged ({error})") from error


def _sqlite_stamps(file: Path) -> Iterator[tuple[str, int]]:
    """Yield (topic, stamp in ns) in the order of writing."""
    query = "SELECT t.name, m.timestamp FROM messages m JOIN topics t ON t.id = m.topic_id"
    try:
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as database:
            for topic, stamp in database.execute(f"{query} ORDER BY m.id"):
                # SQLite stores any type in any column.
                if not isinstance(stamp, int):
                    raise BagError(f"{file} cannot be read: a stamp is {stamp!r:.40}")
                yield str(topic), stamp
    except sqlite3.Error as error:
        raise BagError(f"{file} cannot be read: {error}") from error
