import subprocess
import sys
from pathlib import Path

import pytest

from groot_ros.bags.contents import BagContents, TopicContents, read_contents
from groot_ros.bags.definitions import MessageDefinitions
from groot_ros.bags.writer import BagWriter
from groot_ros.cli.bag import format_contents
from groot_ros.cli.main import main

COMMAND = Path(__file__).parents[2] / "bin" / "groot-ros"


def record(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(COMMAND), "bag", "record", *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


@pytest.fixture
def unfinished(tmp_path):
    writer = BagWriter(tmp_path / "killed")
    writer.add_topic("/instruction", MessageDefinitions().find("std_msgs/msg/String"))
    for i in range(3):
        writer.write("/instruction", i * 10**9, b"\0\1\0\0\2\0\0\0x\0")
    writer.flush()
    yield tmp_path / "killed"
    writer.close()


def test_contents_are_a_table_with_counts_and_rates():
    topics = (
        TopicContents("/front/image_raw", "sensor_msgs/msg/Image", 301),
        TopicContents("/instruction", "std_msgs/msg/String", 1),
    )
    contents = BagContents(Path("run1"), topics, 0, 10 * 10**9, 2_500_000)
    assert format_contents(contents).splitlines() == [
        "run1: 10.0 s, 302 messages, 2.5 MB",
        "topic                              type  messages    Hz",
        "----------------  ---------------------  --------  ----",
        "/front/image_raw  sensor_msgs/msg/Image       301  30.0",
        "/instruction        std_msgs/msg/String         1     -",
    ]


def test_an_unfinished_bag_is_shown_with_the_command_that_saves_it(unfinished, capsys):
    assert main(["bag", "info", str(unfinished)]) == 0
    shown = capsys.readouterr().out
    assert "/instruction" in shown
    assert f"groot-ros bag recover {unfinished}" in shown


def test_recover_writes_a_finished_bag_beside_it(unfinished, capsys):
    assert main(["bag", "recover", str(unfinished)]) == 0
    saved = unfinished.with_name("killed_recovered")
    assert f"3 messages of 1 topics saved in {saved}" in capsys.readouterr().out
    assert read_contents(saved).finished


def test_a_missing_bag_is_one_line_and_status_2(tmp_path, capsys):
    assert main(["bag", "info", str(tmp_path / "none")]) == 2
    assert capsys.readouterr().err == f"groot-ros bag: there is no bag at {tmp_path}/none\n"


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--duration", "-1"], "--duration must be positive, not -1"),
        (["--robot", "nope"], "robot contract 'nope': no such file"),
    ],
)
def test_record_refuses_wrong_use_before_it_starts_anything(tmp_path, capsys, arguments, problem):
    assert main(["bag", "record", "--out", str(tmp_path / "bag"), *arguments]) == 2
    assert problem in capsys.readouterr().err
    assert not (tmp_path / "bag").exists()


@pytest.mark.ros
def test_record_for_a_while_leaves_a_bag_and_status_0(ros_domain, tmp_path):
    options = ["--out", str(tmp_path / "bag"), "--topics", "nothing", "--duration", "0.5"]
    ended = record(*options)
    assert ended.returncode == 0, ended.stdout
    assert "nothing was received on /nothing" in ended.stdout
    assert read_contents(tmp_path / "bag").count == 0


@pytest.mark.ros
def test_record_passes_the_recorders_refusal_on(ros_domain, tmp_path):
    ended = record("--out", str(tmp_path))
    assert ended.returncode == 2
    assert "exists already: name another directory" in ended.stdout
