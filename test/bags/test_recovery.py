# SPDX-License-Identifier: Apache-2.0
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mcap.opcode import Opcode
from mcap.reader import make_reader
from rosbags.rosbag2 import Reader

from groot_ros.bags import BagError
from groot_ros.bags.contents import read_contents
from groot_ros.bags.episode import EpisodeInfo, Outcome, read_episode
from groot_ros.bags.recovery import Damage, read_messages, recover
from groot_ros.bags.writer import BagWriter

#: Writes without end, and prints the number of messages after each flush.
ENDLESS = """
import itertools, sys
from pathlib import Path
from groot_ros.bags.definitions import MessageDefinitions
from groot_ros.bags.writer import BagWriter
writer = BagWriter(Path(sys.argv[1]))
writer.add_topic("/a", MessageDefinitions().find("std_msgs/msg/String"))
for i in itertools.count():
    writer.write("/a", i, b"\\0\\1\\0\\0\\2\\0\\0\\0x\\0")
    if i % 100 == 99:
        writer.flush()
        print(i + 1, flush=True)
"""


@pytest.fixture(scope="module")
def bag_file(tmp_path_factory, definitions):
    """The bytes of an MCAP file with 40 messages in five chunks, and where they begin."""
    path = tmp_path_factory.mktemp("whole") / "bag"
    writer = BagWriter(path)
    writer.add_topic("/a", definitions.find("std_msgs/msg/String"))
    writer.add_topic("/b", definitions.find("groot_ros/msg/ActionChunk"))
    for i in range(40):
        writer.write("/a" if i % 2 else "/b", i, bytes([i]) * (i + 1))
        if i % 8 == 7:
            writer.flush()
    writer.close()
    return (path / "bag.mcap").read_bytes()


def test_a_killed_process_loses_nothing_that_was_flushed(tmp_path):
    bag = tmp_path / "bag"
    process = subprocess.Popen([sys.executable, "-c", ENDLESS, str(bag)], stdout=subprocess.PIPE)
    for _ in range(5):
        flushed = int(process.stdout.readline())
    process.kill()
    process.wait()
    process.stdout.close()
    assert not (bag / "metadata.yaml").exists()

    saved = recover(bag, tmp_path / "saved").counts["/a"]
    assert flushed == 500
    assert saved >= flushed
    with Reader(tmp_path / "saved") as reader:
        assert [stamp for _, stamp, _ in reader.messages()] == list(range(saved))


def test_a_complete_file_gives_every_message_with_topic_and_definition(
    tmp_path, bag_file, definitions
):
    path = tmp_path / "bag.mcap"
    path.write_bytes(bag_file)
    saved = list(read_messages(path))
    assert [(stamp, data) for _, stamp, data in saved] == [
        (i, bytes([i]) * (i + 1)) for i in range(40)
    ]
    assert saved[0][0].name == "/b"
    assert saved[0][0].definition == definitions.find("groot_ros/msg/ActionChunk")


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_file_cut_anywhere_gives_the_messages_before_the_cut(tmp_path_factory, bag_file, data):
    cut = data.draw(st.integers(8, len(bag_file)))
    path = tmp_path_factory.getbasetemp() / "cut.mcap"
    path.write_bytes(bag_file[:cut])
    stamps = [stamp for _, stamp, _ in read_messages(path)]
    assert stamps == list(range(len(stamps)))
    with_one_byte_less = path.with_name("shorter.mcap")
    with_one_byte_less.write_bytes(bag_file[: cut - 1] if cut > 8 else bag_file[:cut])
    assert len(list(read_messages(with_one_byte_less))) in (len(stamps), len(stamps) - 1)


def test_zeros_at_the_end_as_a_power_cut_leaves_them_are_not_messages(tmp_path, bag_file):
    path = tmp_path / "bag.mcap"
    path.write_bytes(bag_file[: len(bag_file) // 2] + bytes(100_000))
    stamps = [stamp for _, stamp, _ in read_messages(path)]
    assert 0 < len(stamps) < 40


def test_the_quality_of_service_survives_recovery(tmp_path, string_definition, make_offer):
    writer = BagWriter(tmp_path / "bag")
    writer.add_topic("/a", string_definition, [make_offer(latched=True)])
    writer.write("/a", 1, b"x")
    writer.flush()
    recover(tmp_path / "bag", tmp_path / "saved")
    writer.close()
    with Reader(tmp_path / "saved") as reader:
        assert reader.connections[0].ext.offered_qos_profiles == [make_offer(latched=True)]
        assert reader.connections[0].digest == string_definition.rihs01


def test_the_contents_of_an_unfinished_bag_are_marked_as_unfinished(tmp_path, string_definition):
    writer = BagWriter(tmp_path / "bag")
    writer.add_topic("/a", string_definition)
    for stamp_ns in (3 * 10**9, 5 * 10**9):
        writer.write("/a", stamp_ns, b"x")
    writer.flush()
    contents = read_contents(tmp_path / "bag")
    writer.close()
    assert not contents.finished
    assert [(t.name, t.type, t.count) for t in contents.topics] == [
        ("/a", "std_msgs/msg/String", 2)
    ]
    assert contents.duration == 2.0


def test_recovery_rejects_what_is_not_an_mcap_file(tmp_path):
    (tmp_path / "bag.mcap").write_text("something else")
    with pytest.raises(BagError, match=r"bag\.mcap is not an MCAP file"):
        recover(tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.fixture
def compressed_file(tmp_path, string_definition):
    """A bag of 100 messages in ten compressed chunks."""
    writer = BagWriter(tmp_path / "bag", compression="zstd")
    writer.add_topic("/a", string_definition)
    for i in range(100):
        writer.write("/a", i, np.random.default_rng(i).bytes(300))
        if i % 10 == 9:
            writer.flush()
    writer.close()
    return tmp_path / "bag" / "bag.mcap"


def test_a_compressed_file_is_recovered(tmp_path, compressed_file):
    damage = Damage()
    assert recover(compressed_file, tmp_path / "out", damage).counts == {"/a": 100}
    assert damage == Damage()


def test_a_damaged_compressed_chunk_costs_its_messages_and_no_others(compressed_file):
    data = bytearray(compressed_file.read_bytes())
    with compressed_file.open("rb") as file:
        chunk = make_reader(file).get_summary().chunk_indexes[3]
    begin = chunk.chunk_start_offset
    # After the header of the chunk and of the zstd frame.
    data[begin + 60 : begin + 90] = bytes(30)
    compressed_file.write_bytes(data)
    damage = Damage()
    stamps = [stamp for _, stamp, _ in read_messages(compressed_file, damage)]
    assert stamps == [*range(30), *range(40, 100)]
    assert (damage.first, damage.bytes) == (begin, chunk.chunk_length)


def test_a_compressed_file_cut_in_a_chunk_gives_the_chunks_before(compressed_file):
    data = compressed_file.read_bytes()
    with compressed_file.open("rb") as file:
        chunk = make_reader(file).get_summary().chunk_indexes[3]
    compressed_file.write_bytes(data[: chunk.chunk_start_offset + chunk.chunk_length // 2])
    damage = Damage()
    assert [stamp for _, stamp, _ in read_messages(compressed_file, damage)] == [*range(30)]
    assert damage == Damage()


def test_the_description_of_a_killed_recording_is_kept(tmp_path, string_definition):
    info = EpisodeInfo("bag", 7, instruction="pick", outcome=Outcome.UNKNOWN)
    writer = BagWriter(tmp_path / "bag", episode=info)
    writer.add_topic("/a", string_definition)
    writer.write("/a", 1, b"x")
    writer.flush()
    assert read_episode(tmp_path / "bag") == info
    recover(tmp_path / "bag", tmp_path / "saved")
    writer.close()
    assert read_episode(tmp_path / "saved") == info


def test_recovery_rejects_a_directory_without_one_mcap_file(tmp_path):
    with pytest.raises(BagError, match=r"contains 0 \.mcap files"):
        recover(tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_after_a_wrong_path_the_output_can_be_used_for_the_right_one(tmp_path, bag_file):
    (tmp_path / "bag").mkdir()
    (tmp_path / "bag" / "bag.mcap").write_bytes(bag_file)
    with pytest.raises(BagError, match=r"contains 0 \.mcap files"):
        recover(tmp_path / "bga", tmp_path / "out")
    assert sum(recover(tmp_path / "bag", tmp_path / "out").counts.values()) == 40


def test_after_a_damaged_record_reading_continues_at_the_next_one(tmp_path, bag_file):
    data = bytearray(bag_file)
    file = tmp_path / "whole.mcap"
    file.write_bytes(data)
    whole = [(topic.name, stamp, body) for topic, stamp, body in read_messages(file)]
    # The length of one message in the middle of the file.
    begin = data.index(bytes([20]) * 21) - 22 - 9
    assert data[begin] == Opcode.MESSAGE
    data[begin + 1 : begin + 9] = b"\xff" * 8
    file.write_bytes(data)
    damage = Damage()
    found = [(t.name, stamp, body) for t, stamp, body in read_messages(file, damage)]
    assert found == [message for message in whole if message[1] != 20]
    assert (damage.first, damage.bytes) == (begin, 9 + 22 + 21)


def test_a_damaged_chunk_header_costs_no_message(tmp_path, bag_file):
    file = tmp_path / "bag.mcap"
    file.write_bytes(bag_file)
    with file.open("rb") as opened:
        begin = make_reader(opened).get_summary().chunk_indexes[2].chunk_start_offset
    data = bytearray(bag_file)
    data[begin + 37 : begin + 41] = b"\xff" * 4  # length of the name of the compression
    file.write_bytes(data)
    damage = Damage()
    assert [stamp for _, stamp, _ in read_messages(file, damage)] == list(range(40))
    assert (damage.first, damage.bytes) == (begin, 49)


def test_many_damaged_bytes_cost_few_messages(tmp_path, string_definition):
    writer = BagWriter(tmp_path / "bag")
    writer.add_topic("/a", string_definition)
    for i in range(2000):
        writer.write("/a", i, bytes(200))
    writer.close()
    file = tmp_path / "bag" / "bag.mcap"
    data = bytearray(file.read_bytes())
    places = np.random.default_rng(0).integers(5000, 400_000, 200)
    for place in places:
        data[place] ^= 0xFF
    file.write_bytes(data)
    damage = Damage()
    saved = recover(file, tmp_path / "saved", damage).counts["/a"]
    # Flips in the data of a message are not detected: the format has no checksum for them.
    assert 1950 <= saved < 2000
    assert 0 < damage.bytes < 50 * 300


def test_an_incomplete_record_at_the_end_is_no_damage(tmp_path, bag_file):
    file = tmp_path / "cut.mcap"
    file.write_bytes(bag_file[: bag_file.index(bytes([20]) * 21) + 5])
    damage = Damage()
    assert len(list(read_messages(file, damage))) == 20
    assert damage == Damage()
