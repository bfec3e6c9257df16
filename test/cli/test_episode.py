# SPDX-License-Identifier: Apache-2.0
"""Episodes from the command line: the verb in another shell, and keys of the terminal."""

import fcntl
import os
import subprocess
import sys
import termios
import threading
from pathlib import Path

import pytest
import rclpy
from std_msgs.msg import String
from support.policy_stage import wait_until

from groot_ros.bags.contents import read_contents
from groot_ros.bags.episode import Outcome, read_episode
from groot_ros.bridge import qos
from groot_ros.bridge.episode_commands import RecorderReport
from groot_ros.cli.episode import format_report
from groot_ros.cli.episode_keys import action_of_key
from groot_ros.cli.main import main

COMMAND = Path(__file__).parents[2] / "bin" / "groot-ros"


def report(**changes) -> RecorderReport:
    values = {
        "recording": True,
        "bag": "/demos/episode_0007_x",
        "episode": 7,
        "instruction": "pick",
        "duration": 12.3,
        "messages": 1000,
        "bytes": 2_500_000,
        "dropped": 0,
        "lost": 0,
        "missing_inputs": (),
        "free_bytes": 75_000_000_000,
        "successes": 4,
        "failures": 2,
        "without_outcome": 0,
        "discarded": 1,
        **changes,
    }
    return RecorderReport(**values)


def test_the_status_says_what_is_recorded_and_what_was_kept():
    assert format_report(report()).splitlines() == [
        "episode 7 'pick': 12 s, 1000 messages, 2.5 MB in /demos/episode_0007_x",
        "kept 6: 4 success, 2 failure, 0 unknown; discarded 1; 75.0 GB free",
    ]


def test_the_status_names_what_is_missing():
    lines = format_report(
        report(recording=False, dropped=3, lost=2, missing_inputs=("/front",))
    ).splitlines()
    assert lines[0] == "waiting for the next episode"
    assert lines[2:] == [
        "MISSING: 3 messages not written, 2 lost in transport",
        "nobody publishes /front",
    ]


@pytest.mark.parametrize(
    ("key", "waiting", "recording"),
    [
        (" ", ("start", ""), ("stop", "success")),
        ("f", None, ("stop", "failure")),
        ("d", None, ("discard", "")),
        ("x", None, None),
    ],
)
def test_one_key_starts_and_ends_and_the_others_only_end(key, waiting, recording):
    assert action_of_key(key, recording=False) == waiting
    assert action_of_key(key, recording=True) == recording


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["bag", "record"], "one of the arguments --out --episodes is required"),
        (["bag", "record", "--out", "a", "--episodes", "b"], "not allowed with argument --out"),
        (["episode", "stop"], "the following arguments are required: outcome"),
        (["episode", "stop", "maybe"], "invalid choice: 'maybe'"),
    ],
)
def test_wrong_usage_is_status_2(capsys, arguments, problem):
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    assert problem in capsys.readouterr().err


def test_a_duration_is_of_a_single_bag(tmp_path, capsys):
    assert main(["bag", "record", "--episodes", str(tmp_path), "--duration", "3"]) == 2
    assert "--duration applies to a single bag" in capsys.readouterr().err


@pytest.mark.ros
def test_without_a_recorder_the_verb_says_so_with_status_3(ros_domain, capsys):
    assert main(["episode", "discard", "--timeout", "0.3"]) == 3
    assert "no service /recorder_node/discard_episode" in capsys.readouterr().err
    assert main(["episode", "status", "--timeout", "0.3"]) == 3
    assert "start a recorder with 'groot-ros bag record'" in capsys.readouterr().err


class Terminal:
    """`groot-ros bag record --episodes` in a separate terminal."""

    def __init__(self, *arguments: str) -> None:
        self._master, slave = os.openpty()

        def prepare() -> None:
            os.setsid()
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        self.process = subprocess.Popen(
            [sys.executable, str(COMMAND), "bag", "record", *arguments],
            stdin=slave,
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=prepare,
        )
        os.close(slave)
        self.lines: list[str] = []

    def press(self, key: str) -> None:
        os.write(self._master, key.encode())

    def read_until(self, text: str) -> str:
        """Return the first line of the output that contains the text; wait 60 s at most."""
        assert self.process.stdout is not None
        limit = threading.Timer(60.0, self.process.kill)
        limit.start()
        try:
            for line in self.process.stdout:
                self.lines.append(line.rstrip())
                if text in line:
                    return self.lines[-1]
        finally:
            limit.cancel()
        raise AssertionError(f"'{text}' never came: {self.lines}")

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._master)


def status_says(text: str, capsys) -> bool:
    assert main(["episode", "status", "--timeout", "30"]) == 0
    return text in capsys.readouterr().out


@pytest.mark.ros
@pytest.mark.slow
def test_two_demonstrations_one_by_keys_and_one_from_another_shell(ros_domain, tmp_path, capsys):
    rclpy.init()
    said = rclpy.create_node("robot").create_publisher(String, "said", qos.LATCHED)
    said.publish(String(data="hello"))
    folder = tmp_path / "demos"
    terminal = Terminal("--episodes", str(folder), "--topics", "said", "--instruction", "wave")
    try:
        terminal.read_until("keys: space = start")
        terminal.read_until("recording /said")
        terminal.press(" ")
        terminal.read_until("episode 1: recording into")
        wait_until(lambda: status_says("1 messages", capsys), "the message is in the bag")
        terminal.press(" ")
        terminal.read_until("episode 1 (success): 1 messages of 1 topics")
        assert main(["episode", "start", "pick", "it", "up", "--timeout", "30"]) == 0
        assert main(["episode", "status", "--timeout", "30"]) == 0
        assert main(["episode", "stop", "failure"]) == 0
        assert main(["episode", "stop", "failure"]) == 1
        shown = capsys.readouterr()
        assert "recorder_node: episode 2: recording into" in shown.out
        assert "episode 2 'pick it up': " in shown.out
        assert "recorder_node: episode 2 (failure): 1 messages" in shown.out
        assert "rejected by recorder_node: no episode is being recorded" in shown.err
        terminal.press("q")
        assert terminal.process.wait(30) == 0
    finally:
        terminal.end()
        rclpy.shutdown()
    bags = sorted(folder.iterdir())
    infos = [read_episode(bag) for bag in bags]
    assert [(i.number, i.instruction, i.outcome) for i in infos] == [
        (1, "wave", Outcome.SUCCESS),
        (2, "pick it up", Outcome.FAILURE),
    ]
    assert [read_contents(bag).count for bag in bags] == [1, 1]
