# SPDX-License-Identifier: Apache-2.0
"""The demo end to end: processes, DDS and physics simulation.

Regressions pinned: a demo that passes although the robot does not move.
"""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from groot_ros.bags.reader import open_bag
from groot_ros.cli.demo import clear_results
from groot_ros.core import ExecutorStatus
from groot_ros.evaluation.run_log import read_run


def run_demo(out: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "groot_ros.cli", "demo", "--out", str(out), *options]
    environment = {k: v for k, v in os.environ.items() if k != "ROS_DOMAIN_ID"}
    return subprocess.run(command, capture_output=True, text=True, timeout=180, env=environment)


@pytest.mark.ros
def test_the_demo_moves_the_robot_and_writes_table_pictures_and_bag(tmp_path: Path) -> None:
    ended = run_demo(tmp_path / "demo", "--seconds", "12")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "demo PASSED" in ended.stdout
    for stage in ("snapshot", "preprocess", "backbone", "head", "decode", "publish"):
        assert stage in ended.stdout
    files = ("report.html", "cameras.png", "joints.png", "run.webp", "table.txt", "nodes.log")
    for file in files:
        assert (tmp_path / "demo" / file).stat().st_size > 0, file
    assert (tmp_path / "demo" / "bag" / "metadata.yaml").is_file()
    # Not a terminal: lines, without a bar that is drawn again and again.
    assert "\r" not in ended.stdout + ended.stderr
    assert re.search(r"^4 of 12 s: \d+ chunks, the last \d+ ms old, ", ended.stdout, re.MULTILINE)
    assert_all_were_ok(tmp_path / "demo" / "bag")


def assert_all_were_ok(bag: Path) -> None:
    """Assert that every status was OK at some time while chunks were executed.

    Only a run without rejections and underruns is healthy: on a loaded machine, warnings about late
    chunks and images are right. test/bridge/test_diagnosis_of_a_run.py does not depend on the load.
    """
    levels: dict[str, set[int]] = {}
    executing = False
    with open_bag(bag) as (reader, types):
        topics = ("/diagnostics", "/executor_state")
        connections = [c for c in reader.connections if c.topic in topics]
        for connection, _, raw in reader.messages(connections=connections):
            message = types.deserialize_cdr(raw, connection.msgtype)
            if connection.topic == "/executor_state":
                executing = executing or message.status == ExecutorStatus.RUNNING
            elif executing:
                for status in message.status:
                    levels.setdefault(status.name, set()).add(status.level)
    assert set(levels) == {
        "policy_node: inference",
        "executor_node: motion",
        "executor_node: timing",
        "sim_robot_node: arm_controller",
        "sim_robot_node: gripper_controller",
    }
    counts = read_run(bag).counts
    late = counts.observations_rejected.total + counts.chunks_rejected.total
    if not late and not counts.chunks.total["underruns"]:
        assert {name for name, seen in levels.items() if 0 not in seen} == set()


@pytest.mark.ros
def test_the_demo_fails_when_the_command_topic_is_cut(tmp_path: Path) -> None:
    cut = ["--cut", "arm_controller/joint_trajectory"]
    ended = run_demo(tmp_path / "demo", "--seconds", "4", *cut)
    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert "demo FAILED: only 0 joints travelled" in ended.stderr


@pytest.mark.ros
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_the_processes_of_the_demo_in_order(
    tmp_path: Path, number: signal.Signals
) -> None:
    out = tmp_path / "demo"
    command = [sys.executable, "-m", "groot_ros.cli", "demo", "--out", str(out), "--verbose"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as running:
        assert running.stdout is not None
        printed = ""
        while "[executor_node]" not in printed or "active" not in printed:
            line = running.stdout.readline()
            assert line, printed
            printed = line if "executor_node" in line else ""
        running.send_signal(number)
        rest = running.stdout.read()
        assert running.wait(60) == 128 + number
    # Shown by pytest if an assertion fails.
    print(printed, rest)
    assert f"stopped by {number.name}" in rest
    # Last line of an executor that was stopped, not killed with its parent.
    assert "[executor_node]" in rest
    assert "timing: jitter" in rest
    assert "failed while stopping" not in rest
    assert "Traceback" not in rest


def test_only_the_results_of_an_earlier_run_are_removed(
    tmp_path: Path,
) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    (tmp_path / "table.txt").write_text("old")
    (tmp_path / "bag").mkdir()
    (tmp_path / "bag" / "metadata.yaml").write_text("old")
    clear_results(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]
