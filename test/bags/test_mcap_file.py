# SPDX-License-Identifier: Apache-2.0
"""The file as two independent readers read it: rosbags, and mcap by its index."""

from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mcap.reader import make_reader
from mcap.stream_reader import StreamReader
from rosbags.rosbag2 import Reader, StoragePlugin, Writer

from groot_ros.bags import BagError
from groot_ros.bags.writer import COMPRESSIONS, BagWriter

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


def write(path, definitions, script, **options) -> list[tuple[str, int, bytes]]:
    """Write a bag as the script says; what should be in it, in order of stamps."""
    writer = BagWriter(path, **options)
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


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_chunks_are_compressed_as_asked_and_read_the_same(tmp_path, definitions, compression):
    script = [("/a", i, bytes(10_000)) for i in range(1, 200)]
    write(tmp_path / "bag", definitions, script, compression=compression)
    assert by_rosbags(tmp_path / "bag") == by_mcap(tmp_path / "bag") == script
    with (tmp_path / "bag" / "bag.mcap").open("rb") as file:
        chunks = make_reader(file).get_summary().chunk_indexes
    assert {chunk.compression for chunk in chunks} == {{"none": "", "zstd": "zstd"}[compression]}
    size = (tmp_path / "bag" / "bag.mcap").stat().st_size
    assert (size > 1_990_000) == (compression == "none")


def test_an_unknown_compression_is_rejected_before_anything_is_created(tmp_path):
    with pytest.raises(BagError, match="compression must be one of none, zstd, not 'gzip'"):
        BagWriter(tmp_path / "bag", compression="gzip")
    assert not (tmp_path / "bag").exists()


def test_topics_and_metadata_are_those_that_rosbags_writes(
    tmp_path, definitions, make_offer, monkeypatch
):
    """rosbags' metadata.yaml has been read by rosbag2 itself; it states another distribution."""
    monkeypatch.setenv("ROS_DISTRO", "jazzy")
    writer = BagWriter(tmp_path / "ours" / "bag")
    with Writer(
        tmp_path / "theirs" / "bag", version=9, storage_plugin=StoragePlugin.MCAP
    ) as rosbags_writer:
        for topic, name in (("/a", "std_msgs/msg/String"), ("/b", "groot_ros/msg/ActionChunk")):
            definition = definitions.find(name)
            writer.add_topic(topic, definition, [make_offer(latched=True)])
            writer.write(topic, 5, b"x")
            connection = rosbags_writer.add_connection(
                topic,
                name,
                msgdef=definition.text,
                rihs01=definition.rihs01,
                offered_qos_profiles=[make_offer(latched=True)],
            )
            rosbags_writer.write(connection, 5, b"x")
    writer.close()
    bags = [tmp_path / who / "bag" for who in ("ours", "theirs")]
    ours, theirs = ((bag / "metadata.yaml").read_bytes() for bag in bags)
    assert theirs.count(b"ros_distro: rosbags\n") == 1
    assert ours == theirs.replace(b"ros_distro: rosbags\n", b"ros_distro: jazzy\n")
    summaries = []
    for bag in bags:
        with (bag / "bag.mcap").open("rb") as file:
            summary = make_reader(file).get_summary()
        summaries.append((summary.schemas, summary.channels))
    assert summaries[0] == summaries[1]
