# SPDX-License-Identifier: Apache-2.0
"""A bag that cannot be reported on gives one line that says why."""

import shutil
import struct
from pathlib import Path

import pytest

from groot_ros.bags.definitions import MessageDefinition, MessageDefinitions
from groot_ros.bags.writer import BagWriter
from groot_ros.cli.main import main

#: Definitions of groot_ros 0.1.0, with the nested types that they need.
HEADER_0_1 = """
================================================================================
MSG: std_msgs/Header
builtin_interfaces/Time stamp
string frame_id
================================================================================
MSG: builtin_interfaces/Time
int32 sec
uint32 nanosec
"""
POLICY_STATUS_0_1 = """\
std_msgs/Header header
uint8 UNCONFIGURED=1
uint8 INACTIVE=2
uint8 ACTIVE=3
uint8 FINALIZED=4
uint8 lifecycle
string session
uint32 episode
uint64 instruction_id
float64 rate_wanted
float64 rate
string[] stages
float32[] p50
float32[] p95
string[] inputs
float32[] age
float32[] rate_in
float32[] rate_expected
uint64[] input_count
uint32 d
uint32 s
uint32 horizon
bool budget_ok
string engine
string device
uint64 memory_bytes
string[] refusal_reasons
uint64[] refusal_counts
"""
TIMELINE_0_1 = """\
std_msgs/Header header
uint64 id
string session
uint32 episode
uint64 chunk_id
builtin_interfaces/Time start
float64 dt
string[] joint_names
float64[] positions
float64[] velocities
"""


@pytest.fixture
def bag(tmp_path: Path) -> Path:
    writer = BagWriter(tmp_path / "bag")
    writer.add_topic("/instruction", MessageDefinitions().find("std_msgs/msg/String"))
    for i in range(3):
        writer.write("/instruction", i * 10**9, b"\0\1\0\0\2\0\0\0x\0")
    writer.close()
    return tmp_path / "bag"


def rejected(bag: Path, capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["report", str(bag)]) == 2
    assert not bag.with_name(f"{bag.name}_report").exists()
    return capsys.readouterr().err.splitlines()[-1]


def test_a_bag_without_its_data_is_one_line(bag: Path, capsys) -> None:
    (bag / "bag.mcap").unlink()
    assert f"groot-ros report: bag {bag} cannot be read: " in rejected(bag, capsys)


def test_a_bag_that_ends_early_is_one_line(bag: Path, capsys) -> None:
    data = (bag / "bag.mcap").read_bytes()
    (bag / "bag.mcap").write_bytes(data[:-40])
    assert f"bag {bag} was not closed properly; try groot-ros bag recover" in rejected(bag, capsys)


def test_damage_that_shows_only_in_the_messages_is_one_line(bag: Path, capsys) -> None:
    data = bytearray((bag / "bag.mcap").read_bytes())
    data[60:140] = b"\xff" * 80
    (bag / "bag.mcap").write_bytes(bytes(data))
    assert f"bag {bag} cannot be read: " in rejected(bag, capsys)


def test_broken_metadata_is_one_line(bag: Path, capsys) -> None:
    (bag / "metadata.yaml").write_text("a: [\n", encoding="utf-8")
    assert f"bag {bag} cannot be read: " in rejected(bag, capsys)
    assert main(["bag", "info", str(bag)]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_message_that_is_not_of_its_type_is_one_line(tmp_path: Path, capsys) -> None:
    writer = BagWriter(tmp_path / "bag")
    writer.add_topic("/joint_states", MessageDefinitions().find("sensor_msgs/msg/JointState"))
    writer.write("/joint_states", 0, b"\0\1\0\0\1")
    writer.close()
    assert f"bag {tmp_path / 'bag'} cannot be read: " in rejected(tmp_path / "bag", capsys)


def test_a_bag_without_joints_is_reported_without_their_curves(bag: Path, capsys) -> None:
    assert main(["report", str(bag)]) == 0
    report = bag.with_name("bag_report")
    assert sorted(path.name for path in report.iterdir()) == ["report.html", "table.txt"]
    shutil.rmtree(report)


@pytest.mark.parametrize(
    ("name", "definition"),
    [("PolicyStatus", POLICY_STATUS_0_1), ("CommittedTimeline", TIMELINE_0_1)],
)
def test_a_bag_of_the_first_version_is_refused_with_both_versions_and_what_to_do(
    tmp_path: Path, capsys, name: str, definition: str
) -> None:
    writer = BagWriter(tmp_path / "bag")
    old = MessageDefinition.parse(f"groot_ros/msg/{name}", definition + HEADER_0_1)
    writer.add_topic("/old", old)
    writer.write("/old", 0, struct.pack("<4B", 0, 1, 0, 0) + bytes(256))
    writer.close()
    assert rejected(tmp_path / "bag", capsys) == (
        f"groot-ros report: bag {tmp_path / 'bag'} has the messages of groot_ros 0.1.0, but this "
        "is a report of groot_ros 0.2.0 messages: make the report with the version that recorded "
        "the bag, or record the run again"
    )


def test_a_bag_of_a_later_version_is_refused(tmp_path: Path, capsys) -> None:
    text = MessageDefinitions().find("groot_ros/msg/ExecutorState").text
    later = text.replace("MESSAGE_VERSION=2", "MESSAGE_VERSION=3")
    assert later != text
    writer = BagWriter(tmp_path / "bag")
    writer.add_topic("/state", MessageDefinition.parse("groot_ros/msg/ExecutorState", later))
    writer.write("/state", 0, bytes(512))
    writer.close()
    assert "a later version (message version 3)" in rejected(tmp_path / "bag", capsys)


def test_topics_without_messages_of_this_package_need_no_version(bag: Path, capsys) -> None:
    assert main(["report", str(bag)]) == 0
