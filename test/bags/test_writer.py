# SPDX-License-Identifier: Apache-2.0
import resource
import shutil
import signal

import pytest
import yaml
from mcap.reader import make_reader
from mcap_ros2.decoder import DecoderFactory
from rosbags.rosbag2 import Reader

from groot_ros.bags import BagError
from groot_ros.bags.writer import BagWriter, metadata_version

START = 1_700_000_000_000_000_000


@pytest.fixture
def write_bag(tmp_path, string_definition, string_cdr, make_offer):
    def write(**options):
        writer = BagWriter(tmp_path / "bag", **options)
        writer.add_topic("/instruction", string_definition, [make_offer(latched=True)])
        writer.add_topic("/silent", string_definition)
        for i in range(3):
            writer.write("/instruction", START + i * 10**9, string_cdr(f"pick {i}"))
        writer.close()
        return tmp_path / "bag"

    return write


def read(bag):
    with Reader(bag) as reader:
        return [(c.topic, stamp, bytes(data)) for c, stamp, data in reader.messages()]


@pytest.mark.parametrize("version", [8, 9])
def test_every_byte_and_every_stamp_comes_back(write_bag, string_cdr, version):
    bag = write_bag(version=version)
    expected = [("/instruction", START + i * 10**9, string_cdr(f"pick {i}")) for i in range(3)]
    assert read(bag) == expected
    assert read(bag / "bag.mcap") == expected


@pytest.mark.parametrize("version", [8, 9])
def test_the_qos_of_the_publishers_comes_back(write_bag, make_offer, version):
    with Reader(write_bag(version=version)) as reader:
        offers = {c.topic: c.ext.offered_qos_profiles for c in reader.connections}
    assert offers == {"/instruction": [make_offer(latched=True)], "/silent": []}


def test_metadata_has_the_layout_of_jazzys_rosbag2(write_bag, string_definition):
    information = yaml.safe_load((write_bag(version=9) / "metadata.yaml").read_text())[
        "rosbag2_bagfile_information"
    ]
    topics = {t["topic_metadata"]["name"]: t for t in information["topics_with_message_count"]}
    qos = topics["/instruction"]["topic_metadata"]["offered_qos_profiles"]
    assert information["version"] == 9
    assert information["storage_identifier"] == "mcap"
    assert information["duration"] == {"nanoseconds": 2 * 10**9}
    assert information["starting_time"] == {"nanoseconds_since_epoch": START}
    assert information["message_count"] == 3
    assert information["compression_format"] == ""
    assert information["compression_mode"] == ""
    assert information["relative_file_paths"] == ["bag.mcap"]
    assert [f["path"] for f in information["files"]] == ["bag.mcap"]
    assert {t: topics[t]["message_count"] for t in topics} == {"/instruction": 3, "/silent": 0}
    assert topics["/instruction"]["topic_metadata"]["type"] == "std_msgs/msg/String"
    assert topics["/instruction"]["topic_metadata"]["serialization_format"] == "cdr"
    assert (
        topics["/instruction"]["topic_metadata"]["type_description_hash"]
        == string_definition.rihs01
    )
    assert isinstance(qos, list)
    assert qos[0]["reliability"] == "reliable"
    assert qos[0]["durability"] == "transient_local"
    assert qos[0]["history"] == "unknown"
    assert qos[0]["deadline"] == {"sec": 9223372036, "nsec": 854775807}


def test_metadata_for_humble_has_its_qos_as_text_with_numbers(write_bag):
    information = yaml.safe_load((write_bag(version=8) / "metadata.yaml").read_text())[
        "rosbag2_bagfile_information"
    ]
    topic = information["topics_with_message_count"][0]["topic_metadata"]
    assert information["version"] == 8
    assert yaml.safe_load(topic["offered_qos_profiles"])[0]["durability"] == 1


def test_the_version_follows_the_running_distribution(monkeypatch):
    monkeypatch.setenv("ROS_DISTRO", "humble")
    assert metadata_version() == 8
    monkeypatch.setenv("ROS_DISTRO", "jazzy")
    assert metadata_version() == 9


@pytest.mark.parametrize(("running", "stated"), [("jazzy", "jazzy"), ("", "rosbags")])
def test_the_metadata_state_the_running_distribution(write_bag, monkeypatch, running, stated):
    monkeypatch.setenv("ROS_DISTRO", running)
    bag = write_bag(version=9)
    information = yaml.safe_load((bag / "metadata.yaml").read_text())
    assert information["rosbag2_bagfile_information"]["ros_distro"] == stated
    with (bag / "bag.mcap").open("rb") as file:
        (text,) = [
            m.metadata["serialized_metadata"]
            for m in make_reader(file).iter_metadata()
            if m.name == "rosbag2"
        ]
    assert yaml.safe_load(text)["ros_distro"] == stated


def test_another_mcap_reader_decodes_the_messages_from_the_schema_in_the_file(write_bag):
    with (write_bag() / "bag.mcap").open("rb") as file:
        reader = make_reader(file, validate_crcs=True, decoder_factories=[DecoderFactory()])
        decoded = [
            (channel.topic, schema.name, message.log_time, ros.data)
            for schema, channel, message, ros in reader.iter_decoded_messages()
        ]
        assert reader.get_header().profile == "ros2"
        assert reader.get_summary().statistics.message_count == 3
    assert decoded == [
        ("/instruction", "std_msgs/msg/String", START + i * 10**9, f"pick {i}") for i in range(3)
    ]


def test_a_bag_without_messages_can_be_read(tmp_path):
    BagWriter(tmp_path / "bag").close()
    assert read(tmp_path / "bag") == []


def test_an_existing_directory_is_rejected_and_not_changed(tmp_path):
    kept = tmp_path / "bag" / "precious"
    kept.parent.mkdir()
    kept.write_text("data")
    with pytest.raises(BagError, match=r"bag already exists: choose another directory"):
        BagWriter(kept.parent)
    assert kept.read_text() == "data"


def test_a_path_at_which_no_directory_can_be_created_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BagError, match=r"file/bag cannot be created: .*") as error:
        BagWriter(tmp_path / "file" / "bag")
    assert "\n" not in str(error.value)


def test_a_disk_that_is_almost_full_is_rejected_before_anything_is_created(tmp_path):
    with pytest.raises(BagError, match="MiB are free on the disk"):
        BagWriter(tmp_path / "bag", min_free_bytes=2**62)
    assert not (tmp_path / "bag").exists()


def test_a_disk_that_fills_up_ends_in_a_properly_closed_bag(
    tmp_path, monkeypatch, string_definition, string_cdr
):
    free = iter([2**40, 2**20])
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=next(free)))
    writer = BagWriter(tmp_path / "bag")
    writer.add_topic("/a", string_definition)
    writer.write("/a", START, string_cdr("x" * 9 * 2**20))
    with pytest.raises(BagError, match=r"can still be closed properly, only 1 MiB are free"):
        writer.write("/a", START + 1, string_cdr("one too many"))
    assert [stamp for _, stamp, _ in read(tmp_path / "bag")] == [START]


@pytest.fixture
def file_size_limit():
    """Files may not grow beyond this: the one disk error that a test can cause for real."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    previous = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    signal.signal(signal.SIGXFSZ, previous)


def test_a_write_that_fails_is_one_line_that_says_how_to_recover_the_bag(
    tmp_path, file_size_limit, string_definition, string_cdr
):
    writer = BagWriter(tmp_path / "bag")
    writer.add_topic("/a", string_definition)
    writer.write("/a", START, string_cdr("before"))
    writer.flush()
    file_size_limit(100_000)
    with pytest.raises(BagError, match=r"cannot be written: .*groot-ros bag recover .*") as error:
        writer.write("/a", START + 1, string_cdr("x" * 2 * 2**20))
    assert "\n" not in str(error.value)
    writer.close()
    assert not (tmp_path / "bag" / "metadata.yaml").exists()


@pytest.mark.parametrize("kind", ["too long", "dangling link"])
def test_an_impossible_directory_is_one_line(tmp_path, kind):
    path = tmp_path / ("a" * 300 if kind == "too long" else "link")
    if kind == "dangling link":
        path.symlink_to(tmp_path / "nowhere" / "x")
    with pytest.raises(BagError, match=r"too long|already exists") as error:
        BagWriter(path)
    assert "\n" not in str(error.value)
