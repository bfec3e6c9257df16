# SPDX-License-Identifier: Apache-2.0
import pytest
from mcap.writer import MCAP0_MAGIC

from groot_ros.bags import BagError
from groot_ros.bags.contents import BagContents, TopicContents, read_contents
from groot_ros.bags.writer import BagWriter


def test_a_bag_is_summarised_by_topic(tmp_path, string_definition):
    writer = BagWriter(tmp_path / "bag")
    for topic in ("/b", "/a", "/silent"):
        writer.add_topic(topic, string_definition)
    for i in range(11):
        writer.write("/b", i * 10**8, b"x")
    writer.write("/a", 0, b"x")
    writer.close()
    contents = read_contents(tmp_path / "bag")
    assert contents.finished
    assert contents.count == 12
    assert contents.duration == 1.0
    assert [(t.name, t.count, contents.rate(t)) for t in contents.topics] == [
        ("/a", 1, 0.0),
        ("/b", 11, 10.0),
        ("/silent", 0, 0.0),
    ]
    size = sum(f.stat().st_size for f in (tmp_path / "bag").iterdir())
    assert contents.bytes == size


def test_a_bag_without_messages_has_duration_zero(tmp_path):
    BagWriter(tmp_path / "bag").close()
    contents = read_contents(tmp_path / "bag")
    assert (contents.count, contents.duration) == (0, 0.0)


def test_messages_with_one_stamp_have_no_rate(tmp_path):
    topic = TopicContents("/a", "std_msgs/msg/String", 5)
    assert BagContents(tmp_path, (topic,), 7, 7, 0).rate(topic) == 0.0


def test_a_missing_bag_is_named(tmp_path):
    with pytest.raises(BagError, match=r"there is no bag at .*nowhere"):
        read_contents(tmp_path / "nowhere")


def test_damaged_metadata_is_one_line(tmp_path):
    BagWriter(tmp_path / "bag").close()
    (tmp_path / "bag" / "metadata.yaml").write_text("rosbag2_bagfile_information: {version: 9}\n")
    with pytest.raises(BagError, match="cannot be read") as error:
        read_contents(tmp_path / "bag")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("tail", [b"", b"\x05" + b"\xff" * 7 + b"\x7f", b"\x01\x10"])
def test_a_file_that_ends_early_leads_to_recovery(tmp_path, tail):
    file = tmp_path / "cut.mcap"
    file.write_bytes(MCAP0_MAGIC + tail)
    with pytest.raises(BagError, match="was not closed properly; try groot-ros bag recover"):
        read_contents(file)


def test_a_text_file_is_no_bag(tmp_path):
    file = tmp_path / "notes.txt"
    file.write_text("not a bag")
    with pytest.raises(BagError, match="is not a bag: give the directory of a bag"):
        read_contents(file)
