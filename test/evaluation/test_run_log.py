"""Bags that cannot be reported on are one line each."""

import shutil
from pathlib import Path

import pytest

from groot_ros.bags.definitions import MessageDefinitions
from groot_ros.bags.writer import BagWriter
from groot_ros.cli.main import main


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
    assert f"bag {bag} cannot be read: " in rejected(bag, capsys)


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
    assert [path.name for path in report.iterdir()] == ["table.txt"]
    shutil.rmtree(report)
