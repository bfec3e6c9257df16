# SPDX-License-Identifier: Apache-2.0
"""Bags of other recorders: sqlite3, compressed, of several files, with types that are unknown."""

from pathlib import Path

import numpy as np
import pytest
import yaml
from rosbags.interfaces import MessageDefinition, MessageDefinitionFormat
from rosbags.rosbag2 import CompressionMode, StoragePlugin, Writer
from support.input_bags import START, TYPES, so101_inputs

from groot_ros.cli.main import main
from groot_ros.evaluation.camera_frames import FramesAt, read_frames
from groot_ros.evaluation.run_log import read_run

JOINTS = ("pan", "lift")


def check(bag: Path, seconds: float) -> None:
    """Check the contents of so101_inputs() as a report reads them."""
    log = read_run(bag)
    assert sorted(log.joints) == sorted(JOINTS)
    times, positions = log.joints["pan"].T
    assert len(times) == 50 * seconds
    assert np.abs(positions - 0.1 * times).max() < 1e-9
    assert log.cameras == {"/front/image_raw": 10 * seconds, "/wrist/image_raw": 10 * seconds}
    frames = FramesAt(np.array([0.25]))
    assert read_frames(bag, [frames]) == {}
    assert [int(frames.shown[topic][0][0, 0, 0]) for topic in sorted(frames.shown)] == [3, 3]


@pytest.mark.parametrize(
    ("plugin", "compression"),
    [
        (StoragePlugin.MCAP, CompressionMode.NONE),
        (StoragePlugin.MCAP, CompressionMode.FILE),
        (StoragePlugin.MCAP, CompressionMode.MESSAGE),
        (StoragePlugin.MCAP, CompressionMode.STORAGE),
        (StoragePlugin.SQLITE3, CompressionMode.NONE),
        (StoragePlugin.SQLITE3, CompressionMode.FILE),
        (StoragePlugin.SQLITE3, CompressionMode.MESSAGE),
    ],
)
def test_every_storage_and_compression_is_read(tmp_path, plugin, compression) -> None:
    bag = so101_inputs(JOINTS).write(tmp_path / "bag", plugin=plugin, compression=compression)
    check(bag, 2.0)


def test_the_report_of_a_compressed_sqlite_bag_is_written(tmp_path, capsys) -> None:
    bag = so101_inputs(JOINTS).write(
        tmp_path / "bag", plugin=StoragePlugin.SQLITE3, compression=CompressionMode.FILE
    )
    assert main(["report", str(bag), "--out", str(tmp_path / "report")]) == 0
    page = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    assert f"<h1>Run {tmp_path.name}/bag</h1>" in page


@pytest.mark.parametrize("plugin", list(StoragePlugin), ids=lambda plugin: plugin.name)
def test_a_bag_of_several_files_is_read_as_one(tmp_path, plugin) -> None:
    whole = so101_inputs(JOINTS)
    parts = [type(whole)(), type(whole)()]
    for each in whole.sent:
        parts[each[0] >= START + 10**9].sent.append(each)
    first, second = (
        part.write(tmp_path / name, plugin=plugin)
        for part, name in zip(parts, ("bag", "bag_1"), strict=True)
    )
    merge(first, second)
    check(first, 2.0)


def merge(bag: Path, other: Path) -> None:
    """Move the file of another bag into a bag, as a recorder that splits its files writes it."""
    metadata, added = (yaml.safe_load((b / "metadata.yaml").read_text()) for b in (bag, other))
    own, new = (each["rosbag2_bagfile_information"] for each in (metadata, added))
    (name,) = new["relative_file_paths"]
    (other / name).rename(bag / name)
    own["relative_file_paths"].append(name)
    own["files"] += new["files"]
    own["message_count"] += new["message_count"]
    first = own["starting_time"]["nanoseconds_since_epoch"]
    last = new["starting_time"]["nanoseconds_since_epoch"] + new["duration"]["nanoseconds"]
    own["duration"]["nanoseconds"] = last - first
    counts = {
        t["topic_metadata"]["name"]: t["message_count"] for t in new["topics_with_message_count"]
    }
    for topic in own["topics_with_message_count"]:
        topic["message_count"] += counts.get(topic["topic_metadata"]["name"], 0)
    (bag / "metadata.yaml").write_text(yaml.safe_dump(metadata))


def test_a_file_without_its_directory_is_read(tmp_path) -> None:
    so101_inputs(JOINTS).write(tmp_path / "bag")
    file = tmp_path / "alone.mcap"
    (tmp_path / "bag" / "bag.mcap").rename(file)
    check(file, 2.0)


def test_topics_of_unknown_types_are_skipped(tmp_path, capsys) -> None:
    with Writer(tmp_path / "bag", version=9, storage_plugin=StoragePlugin.SQLITE3) as writer:
        unknown = writer.add_connection(
            "/gripper/force",
            "vendor_msgs/msg/Force",
            msgdef=MessageDefinition(MessageDefinitionFormat.NONE, "").data,
            rihs01="RIHS01_0",
        )
        known = writer.add_connection("/text", "std_msgs/msg/String", typestore=TYPES)
        text = TYPES.types["std_msgs/msg/String"](data="x")
        writer.write(unknown, START, b"\0\1\0\0\7\0\0\0")
        writer.write(known, START + 10**9, TYPES.serialize_cdr(text, "std_msgs/msg/String"))
    assert main(["report", str(tmp_path / "bag")]) == 0
    assert "vendor_msgs/msg/Force" in read_run(tmp_path / "bag").types


def test_a_bag_without_messages_is_one_line(tmp_path, capsys) -> None:
    with Writer(tmp_path / "bag", version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        writer.add_connection("/text", "std_msgs/msg/String", typestore=TYPES)
    assert main(["report", str(tmp_path / "bag")]) == 2
    assert capsys.readouterr().err == f"groot-ros report: bag {tmp_path / 'bag'} has no messages\n"


def test_a_truncated_sqlite_file_is_one_line(tmp_path, capsys) -> None:
    bag = so101_inputs(JOINTS).write(tmp_path / "bag", plugin=StoragePlugin.SQLITE3)
    (file,) = bag.glob("*.db3")
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    assert main(["report", str(bag)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("groot-ros report: ")
    assert str(bag) in line
    assert not bag.with_name("bag_report").exists()
