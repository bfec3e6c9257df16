# SPDX-License-Identifier: Apache-2.0
"""The file as two independent readers read it: rosbags, and mcap by its index."""

import importlib.metadata
import os
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mcap.reader import make_reader
from mcap.stream_reader import StreamReader
from rosbags.rosbag2 import CompressionMode, Reader, StoragePlugin, Writer

from groot_ros.bags.mcap_file import McapFile
from groot_ros.bags.mcap_records import Opcode, record, string
from groot_ros.bags.writer import BagWriter

_FOLDERS = count()

#: What a run writes: (topic, stamp, bytes) or a flush.
actions = st.lists(
    st.one_of(
        st.just("flush"),
        st.tuples(
            st.sampled_from(["/a", "/b", "/c"]),
            st.integers(1, 100),
            st.binary(max_size=40),
        ),
    ),
    max_size=40,
)


def write(path, definitions, script) -> list[tuple[str, int, bytes]]:
    """Write a bag as the script says; what should be in it, in order of stamps."""
    writer = BagWriter(path)
    writer.add_topic("/a", definitions.find("std_msgs/msg/String"))
    writer.add_topic("/b", definitions.find("groot_ros/msg/ActionChunk"))
    late = False
    for action in script:
        if action == "flush":
            writer.flush()
            continue
        if action[0] == "/c" and not late:
            late = True
            writer.add_topic("/c", definitions.find("std_msgs/msg/String"))
        writer.write(*action)
    writer.close()
    return sorted((a for a in script if a != "flush"), key=lambda message: message[1])


def by_rosbags(path, **span):
    with Reader(path) as reader:
        return [(c.topic, stamp, bytes(data)) for c, stamp, data in reader.messages(**span)]


def by_mcap(path, **span):
    with next(path.glob("*.mcap")).open("rb") as file:
        reader = make_reader(file, validate_crcs=True)
        return [(c.topic, m.log_time, m.data) for _, c, m in reader.iter_messages(**span)]


@pytest.mark.slow
@settings(max_examples=50, deadline=None)
@given(script=actions, span=st.tuples(st.integers(1, 100), st.integers(1, 101)))
def test_two_readers_find_what_was_written_whole_and_by_time(
    tmp_path_factory, definitions, script, span
):
    path = tmp_path_factory.getbasetemp() / f"run{next(_FOLDERS)}"
    written = write(path, definitions, script)
    first, last = min(span), max(span)
    part = sorted(m for m in written if first <= m[1] < last)
    assert sorted(by_rosbags(path)) == sorted(by_mcap(path)) == sorted(written)
    assert [stamp for _, stamp, _ in by_rosbags(path)] == [stamp for _, stamp, _ in written]
    assert sorted(by_rosbags(path, start=first, stop=last)) == part
    assert sorted(by_mcap(path, starting_at=first, ending_before=last)) == part


def test_the_summary_counts_what_is_in_the_file(tmp_path, definitions):
    script = [("/a", 5, b"x"), "flush", ("/b", 3, b"y"), ("/a", 9, b"z")]
    write(tmp_path / "bag", definitions, script)
    with (tmp_path / "bag" / "bag.mcap").open("rb") as file:
        reader = make_reader(file)
        summary = reader.get_summary()
        (metadata,) = reader.iter_metadata()
    statistics = summary.statistics
    assert (statistics.message_count, statistics.chunk_count) == (3, 2)
    assert (statistics.schema_count, statistics.channel_count) == (2, 2)
    assert (statistics.message_start_time, statistics.message_end_time) == (3, 9)
    assert statistics.channel_message_counts == {1: 2, 2: 1}
    assert [s.name for s in summary.schemas.values()] == [
        "std_msgs/msg/String",
        "groot_ros/msg/ActionChunk",
    ]
    assert [(c.message_start_time, c.message_end_time) for c in summary.chunk_indexes] == [
        (5, 5),
        (3, 9),
    ]
    assert metadata.name == "rosbag2"
    assert "message_count: 3" in metadata.metadata["serialized_metadata"]


def test_every_record_can_be_streamed_without_the_index(tmp_path, definitions):
    write(tmp_path / "bag", definitions, [("/a", i, bytes([i])) for i in range(1, 6)])
    with (tmp_path / "bag" / "bag.mcap").open("rb") as file:
        names = [type(record).__name__ for record in StreamReader(file).records]
    assert names[0] == "Header"
    assert names.count("Message") == 5
    assert names[-1] == "Footer"


def test_more_messages_than_one_system_call_takes_share_a_chunk(tmp_path, definitions):
    script = [("/a", i, b"x") for i in range(1, 3000)]
    write(tmp_path / "bag", definitions, script)
    assert by_rosbags(tmp_path / "bag") == by_mcap(tmp_path / "bag") == script


def test_a_disk_that_takes_a_part_at_a_time_gets_everything(tmp_path, monkeypatch, definitions):
    script = [("/a", i, bytes(range(i))) for i in range(1, 50)]
    write(tmp_path / "whole", definitions, script)
    write_all = os.writev
    monkeypatch.setattr(os, "writev", lambda file, pieces: write_all(file, [b"".join(pieces)[:7]]))
    write(tmp_path / "parts", definitions, script)
    parts = (tmp_path / "parts" / "parts.mcap").read_bytes()
    assert parts.replace(b"parts", b"whole") == (tmp_path / "whole" / "whole.mcap").read_bytes()


def test_compression_is_rejected_rather_than_ignored(tmp_path):
    with pytest.raises(ValueError, match="bags are written uncompressed"):
        McapFile(tmp_path, CompressionMode.FILE)


def test_the_file_is_byte_for_byte_the_one_that_rosbags_writes(
    tmp_path, monkeypatch, definitions, make_offer
):
    """rosbags' file has been read by rosbag2 itself; only the writer's name may differ."""
    version = importlib.metadata.version("rosbags")
    named = record(Opcode.HEADER, string("ros2") + string(f"rosbags-{version}"))
    monkeypatch.setattr("groot_ros.bags.mcap_records.header", lambda: named)
    script = [("/a" if i % 3 else "/b", i, bytes(i * 997)) for i in range(1, 60)]
    writer = BagWriter(tmp_path / "ours" / "bag")
    with Writer(
        tmp_path / "theirs" / "bag", version=9, storage_plugin=StoragePlugin.MCAP
    ) as rosbags_writer:
        connections = {}
        for topic, name in (("/a", "std_msgs/msg/String"), ("/b", "groot_ros/msg/ActionChunk")):
            definition = definitions.find(name)
            writer.add_topic(topic, definition, [make_offer(latched=True)])
            connections[topic] = rosbags_writer.add_connection(
                topic,
                name,
                msgdef=definition.text,
                rihs01=definition.rihs01,
                offered_qos_profiles=[make_offer(latched=True)],
            )
        for topic, stamp_ns, data in script:
            writer.write(topic, stamp_ns, data)
            rosbags_writer.write(connections[topic], stamp_ns, data)
    writer.close()
    for name in ("bag.mcap", "metadata.yaml"):
        ours, theirs = ((tmp_path / who / "bag" / name).read_bytes() for who in ("ours", "theirs"))
        assert ours == theirs
