# SPDX-License-Identifier: Apache-2.0
"""The demo end to end: processes, DDS and physics simulation.

Regressions pinned: a demo that passes although the robot does not move.
"""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from groot_ros.bags.reader import open_bag
from groot_ros.cli.demo import clear_results, find_problem, scene_table
from groot_ros.core import ExecutorStatus
from groot_ros.core.share import DEMO_ROBOT, demo_checkpoint, robot_path
from groot_ros.evaluation.run_log import read_run
from groot_ros.evaluation.run_metrics import CommandedRange, RunMetrics
from groot_ros.robot import load_contract
from groot_ros.rollout.evaluate import EpisodeOutcome


def run_demo(out: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "groot_ros.cli", "demo", "--out", str(out), *options]
    environment = {k: v for k, v in os.environ.items() if k != "ROS_DOMAIN_ID"}
    return subprocess.run(command, capture_output=True, text=True, timeout=180, env=environment)


@pytest.mark.ros
def test_the_demo_gives_one_instruction_of_each_task_and_writes_table_pictures_and_bag(
    tmp_path: Path,
) -> None:
    out = tmp_path / "demo"
    ended = run_demo(out)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "demo PASSED" in ended.stdout
    for stage in ("snapshot", "preprocess", "backbone", "head", "decode", "publish"):
        assert stage in ended.stdout
    files = ("report.html", "cameras.png", "joints.png", "run.webp", "table.txt", "nodes.log")
    for file in files:
        assert (out / file).stat().st_size > 0, file
    assert (out / "bag" / "metadata.yaml").is_file()
    # Not a terminal: lines, without a bar that is drawn again and again.
    assert "\r" not in ended.stdout + ended.stderr
    told = re.findall(r"^(.*): (?:not fulfilled|fulfilled after .* s)$", ended.stdout, re.MULTILINE)
    assert [words.split()[0] for words in told] == ["touch", "push", "put"]
    table = (out / "table.txt").read_text()
    for instruction in told:
        assert re.search(rf"^{instruction} +(yes|no) ", table, re.MULTILINE), table
    stated = judged(out / "bag")
    assert list(stated.values()) == told
    assert_all_were_ok(out / "bag")


@pytest.mark.ros
@pytest.mark.slow
def test_the_demo_with_pictures_judges_a_scene_and_begins_the_next_one(tmp_path: Path) -> None:
    pytest.importorskip("mink", reason="mink is not installed: pip install 'groot_ros[vima]'")
    out = tmp_path / "demo"
    ended = run_demo(out, "--task", "vima/put_into,vima/rotate", "--scenes", "2")
    told = re.findall(r"^(.*): (?:not fulfilled|fulfilled after .* s)$", ended.stdout, re.MULTILINE)
    assert [words.split()[0] for words in told] == ["put", "rotate"], ended.stdout + ended.stderr
    assert list(judged(out / "bag").values())[:2] == told
    assert re.search(r"^put .* (yes|no) ", (out / "table.txt").read_text(), re.MULTILINE)


def judged(bag: Path) -> dict[int, str]:
    """Return index -> instruction of the scenes that the simulated robot has judged."""
    with open_bag(bag) as (reader, types):
        connections = [c for c in reader.connections if c.topic == "/sim_robot_node/episode"]
        messages = (
            json.loads(types.deserialize_cdr(raw, connection.msgtype).data)
            for connection, _, raw in reader.messages(connections=connections)
        )
        return {state["index"]: state["instruction"] for state in messages}


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
    cut = ["--cut", "arm_controller/joint_trajectory", "--scenes", "1"]
    ended = run_demo(tmp_path / "demo", *cut)
    assert ended.returncode == 1, ended.stdout + ended.stderr
    reason = re.search("^demo FAILED: (.*)$", ended.stderr, re.MULTILINE)
    assert reason is not None
    assert "does not follow" in reason[1] or "only 0 joints travelled" in reason[1], reason[1]
    assert "demo PASSED" not in ended.stdout


@pytest.mark.ros
def test_a_robot_without_a_shipped_checkpoint_needs_one(tmp_path: Path) -> None:
    ended = run_demo(tmp_path / "demo", "--robot", "so101")
    assert ended.returncode == 2, ended.stdout + ended.stderr
    assert "checkpoint" in ended.stderr
    assert not (tmp_path / "demo").exists()


@pytest.mark.ros
def test_a_robot_without_tasks_gets_instructions_for_some_seconds(tmp_path: Path) -> None:
    own = ["--robot", "so101", "--checkpoint", str(demo_checkpoint())]
    ended = run_demo(tmp_path / "demo", *own, "--seconds", "4")
    assert "results in" in ended.stdout, ended.stdout + ended.stderr
    assert re.search(r"^4 of 4 s: \d+ chunks, the last \d+ ms old, ", ended.stdout, re.MULTILINE)
    assert "fulfilled" not in ended.stdout


CONTRACT = load_contract(robot_path(DEMO_ROBOT))
MOVED = dict.fromkeys(CONTRACT.joint_names, 0.6)


def scene(chunks: int = 9, **changes: Any) -> EpisodeOutcome:
    given = {"rejections": {}, "success": True, "seconds": 2.14, "wrong_touches": ()}
    text = "touch the red cube"
    return EpisodeOutcome(
        index=0, instruction=text, chunks=chunks, jerk=None, cpu_seconds=0.0, **{**given, **changes}
    )


def metrics(**commanded: CommandedRange) -> RunMetrics:
    return RunMetrics({}, commanded, {}, (0.0, 0.0), (0.0, 0.0, 0.0))


def test_an_instruction_that_was_not_fulfilled_does_not_make_the_demo_fail() -> None:
    scenes = [scene(), scene(success=False, seconds=None, wrong_touches=("blue",))]
    limits = CONTRACT.joints["elbow_flex"].limits
    inside = CommandedRange(limits.lower, limits.upper, limits.velocity)
    assert find_problem(scenes, MOVED, metrics(elbow_flex=inside), CONTRACT) == ""
    assert [line.split()[4:] for line in scene_table(scenes).splitlines()[2:]] == [
        ["yes", "2.1", "s", "9", "0", "-"],
        ["no", "-", "9", "0", "blue"],
    ]


@pytest.mark.parametrize(
    ("scenes", "travelled", "commanded", "problem"),
    [
        (
            [scene(chunks=0, rejections={"too_old": 4})],
            MOVED,
            {},
            "'touch the red cube': no chunk was executed; rejected chunks: too_old x4",
        ),
        ([scene()], {**MOVED, **dict.fromkeys(CONTRACT.joint_names[:4], 0.4)}, {}, "only 2 joints"),
        ([scene()], MOVED, {"elbow_flex": (-1.7, 0.0, 1.0)}, "'elbow_flex' left its limits: -1.7"),
        ([scene()], MOVED, {"elbow_flex": (0.0, 1.7, 1.0)}, "left its limits: 0.000 to 1.700"),
        ([scene()], MOVED, {"elbow_flex": (0.0, 0.1, 3.1)}, "at up to 3.10 per s"),
    ],
)
def test_the_demo_fails_without_chunks_without_motion_and_beyond_limits(
    scenes: list[EpisodeOutcome],
    travelled: dict[str, float],
    commanded: dict[str, tuple[float, float, float]],
    problem: str,
) -> None:
    run = metrics(**{name: CommandedRange(*values) for name, values in commanded.items()})
    assert problem in find_problem(scenes, travelled, run, CONTRACT)


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
