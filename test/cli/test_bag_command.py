# SPDX-License-Identifier: Apache-2.0
"""The bag verb: record, info and recover."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from groot_ros.bags.contents import BagContents, TopicContents, read_contents
from groot_ros.bags.definitions import MessageDefinitions
from groot_ros.bags.episode import Outcome, describe_recording
from groot_ros.bags.writer import BagWriter
from groot_ros.cli.bag import RecordingClock, format_contents
from groot_ros.cli.main import main
from groot_ros.core.share import robot_path

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


def test_an_unfinished_bag_is_shown_with_the_recover_command(unfinished, capsys):
    assert main(["bag", "info", str(unfinished)]) == 0
    shown = capsys.readouterr().out
    assert "/instruction" in shown
    assert f"groot-ros bag recover {unfinished}" in shown


def test_recover_writes_a_finished_bag_next_to_the_unfinished_one(unfinished, capsys):
    assert main(["bag", "recover", str(unfinished)]) == 0
    saved = unfinished.with_name("killed_recovered")
    assert f"3 messages of 1 topics written to {saved}" in capsys.readouterr().out
    assert read_contents(saved).finished


def test_recover_says_how_many_bytes_it_could_not_read_with_status_1(unfinished, capsys):
    (file,) = unfinished.glob("*.mcap")
    data = bytearray(file.read_bytes())
    message = data.rindex(b"\0\1\0\0\2\0\0\0x\0") - 22 - 9 - 41
    data[message + 1 : message + 9] = b"\xff" * 8
    file.write_bytes(data)
    assert main(["bag", "recover", str(unfinished)]) == 1
    shown = capsys.readouterr()
    assert "2 messages of 1 topics written to" in shown.out
    assert f"damaged from byte {message:,} on: 41 bytes could not be read" in shown.err


def test_what_the_bag_says_about_its_recording_is_shown(tmp_path, capsys):
    info = replace(describe_recording(robot_path("so101")), instruction="pick", number=3)
    BagWriter(tmp_path / "bag", episode=replace(info, outcome=Outcome.SUCCESS)).close()
    assert main(["bag", "info", str(tmp_path / "bag")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert {"episode      3", "instruction  pick", "outcome      success"} <= set(lines)
    assert f"robot        so101 (contract {info.fingerprint})" in lines


@pytest.mark.parametrize(("outcome", "shown"), [(Outcome.FAILURE, True), (Outcome.UNKNOWN, False)])
def test_a_bag_without_a_number_shows_the_outcome_that_it_has(tmp_path, capsys, outcome, shown):
    info = replace(describe_recording(robot_path("so101")), outcome=outcome)
    BagWriter(tmp_path / "bag", episode=info).close()
    assert main(["bag", "info", str(tmp_path / "bag")]) == 0
    assert ("outcome" in capsys.readouterr().out) is shown


def test_a_missing_bag_is_one_line_and_status_2(tmp_path, capsys):
    assert main(["bag", "info", str(tmp_path / "none")]) == 2
    assert capsys.readouterr().err == f"groot-ros bag: there is no bag at {tmp_path}/none\n"


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--duration", "-1"], "--duration must be positive and finite, not -1"),
        (["--duration", "nan"], "--duration must be positive and finite, not nan"),
        (["--robot", "nope"], "robot contract 'nope': no such file"),
        (["--topics", "a b"], "--topics: 'a b' is not a topic name"),
    ],
)
def test_record_rejects_wrong_arguments_before_it_starts_a_process(
    tmp_path, capsys, arguments, problem
):
    assert main(["bag", "record", "--out", str(tmp_path / "bag"), *arguments]) == 2
    assert problem in capsys.readouterr().err
    assert not (tmp_path / "bag").exists()


def test_the_duration_starts_with_the_first_topic():
    clock = RecordingClock(2.0)
    clock.add_line("[recorder_node] [INFO] [1.0] [recorder_node]: recording into /tmp/bag", 10.0)
    assert not clock.expired(12.5)
    clock.add_line(
        "[recorder_node] [INFO] [1.5] [recorder_node]: recording /tf [tf2_msgs/msg/T]", 12.0
    )
    clock.add_line(
        "[recorder_node] [INFO] [1.6] [recorder_node]: recording /a [std_msgs/msg/S]", 13.0
    )
    assert not clock.expired(13.9)
    assert clock.expired(14.0)


def test_the_duration_starts_after_a_timeout_if_no_topic_appears():
    clock = RecordingClock(2.0)
    assert not clock.expired(100.0)
    clock.add_line("recording into /tmp/bag", 10.0)
    assert not clock.expired(14.9)
    assert clock.expired(15.0)


def test_without_a_duration_the_recording_is_unlimited():
    clock = RecordingClock(None)
    clock.add_line("recording into /tmp/bag", 10.0)
    assert not clock.expired(1e9)


@pytest.mark.ros
def test_a_killed_recorder_is_reported_with_the_recover_command(ros_domain, tmp_path):
    command = [sys.executable, str(COMMAND), "bag", "record", "--out", str(tmp_path / "bag")]
    process = subprocess.Popen(
        [*command, "--topics", "nothing"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert "recording into" in process.stdout.readline()
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(int(children[0]), signal.SIGKILL)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "recorder_node died (killed by SIGKILL)" in errors
    assert f"groot-ros bag recover {tmp_path / 'bag'}" in errors


@pytest.mark.ros
def test_a_closed_terminal_leaves_a_finished_bag(ros_domain, tmp_path):
    command = [sys.executable, str(COMMAND), "bag", "record", "--out", str(tmp_path / "bag")]
    with subprocess.Popen(
        [*command, "--topics", "nothing"], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert "recording into" in process.stdout.readline()
        process.send_signal(signal.SIGHUP)
        process.stdout.read()
    # Nothing was recorded.
    assert process.returncode == 1
    assert read_contents(tmp_path / "bag").finished


@pytest.mark.ros
def test_recording_nothing_at_all_leaves_a_bag_and_status_1(ros_domain, tmp_path):
    options = ["--out", str(tmp_path / "bag"), "--topics", "nothing", "--duration", "0.5"]
    ended = record(*options)
    assert ended.returncode == 1, ended.stdout
    assert "nothing was received on /nothing" in ended.stdout
    assert "nothing was recorded: are the names of the topics right?" in ended.stdout
    assert read_contents(tmp_path / "bag").count == 0


@pytest.mark.ros
def test_record_reports_the_error_of_the_recorder(ros_domain, tmp_path):
    ended = record("--out", str(tmp_path))
    assert ended.returncode == 2
    assert "already exists: choose another directory" in ended.stdout
