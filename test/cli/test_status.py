# SPDX-License-Identifier: Apache-2.0
"""`groot-ros status`: the text, the live view, and what is read from the messages."""

import asyncio
import json
import sys
from dataclasses import asdict, replace

import pytest

from groot_ros.bridge.messages import ns_to_time
from groot_ros.bridge.robot_status import (
    RobotStatus,
    executor_report,
    joint_reports,
    policy_report,
)
from groot_ros.cli.main import main
from groot_ros.cli.status.text import screen, sections, sparkline
from groot_ros.core import s_to_ns
from groot_ros.core.share import robot_path
from groot_ros.msg import (
    CommittedTimeline,
    ExecutorState,
    InputStatus,
    PolicyStatus,
    RejectionCount,
    StageTiming,
)
from groot_ros.robot import load_contract

NOW_NS = s_to_ns(100.0)


def policy() -> PolicyStatus:
    return PolicyStatus(
        lifecycle=PolicyStatus.ACTIVE,
        instruction="touch [red] cube",
        instruction_id=3,
        rate=4.9,
        target_rate=5.0,
        engine="torch",
        device="cpu",
        memory_bytes=2_586_040,
        stages=[StageTiming(name="head", p50=0.02, p95=0.05)],
        inputs=[
            InputStatus(name="front", age=0.1, rate=29.9, expected_rate=30.0, count=9),
            InputStatus(name="wrist", age=-1.0),
        ],
        inference_delay=5,
        execution_horizon=6,
        horizon=16,
        within_budget=True,
        rejections=[RejectionCount(code="stale_image", count=2)],
    )


def executor() -> ExecutorState:
    return ExecutorState(
        status=ExecutorState.HOLDING,
        reason="underrun 3 times: call resume first",
        latched=True,
        joint_names=["shoulder_pan", "gripper"],
        limited_chunks=[0, 4],
        received=10,
        accepted=9,
        rejections=[RejectionCount(code="too_old", count=1)],
    )


def timeline() -> CommittedTimeline:
    return CommittedTimeline(
        start=ns_to_time(NOW_NS - s_to_ns(0.2)),
        dt=0.1,
        joint_names=["shoulder_pan", "gripper"],
        positions=[0.0, 1.0, 0.1, 1.0, 0.2, 1.0, 0.3, 1.0, 0.4, 1.0],
        velocities=[0.0] * 10,
    )


@pytest.fixture
def status() -> RobotStatus:
    contract = load_contract(robot_path("so101"))
    measured = {"shoulder_pan": 0.19, "extra": 0.5}
    joints, committed = joint_reports(executor(), timeline(), measured, contract, NOW_NS)
    return RobotStatus(
        "/left",
        "7",
        policy_report(policy(), 0.2),
        executor_report(executor(), 0.1),
        joints,
        committed,
    )


def test_targets_are_those_of_this_time_and_limits_those_of_the_contract(status):
    pan, gripper, extra = status.joints
    assert (pan.target, pan.measured, pan.lower, pan.upper) == (0.2, 0.19, -1.92, 1.92)
    assert pan.ahead == (0.2, 0.3, 0.4)
    assert status.committed == pytest.approx(0.2)
    assert (gripper.measured, gripper.limited_chunks) == (None, 4)
    assert (extra.target, extra.lower) == (None, None)


def test_after_its_end_the_target_is_the_last_row():
    late = NOW_NS + s_to_ns(60.0)
    (pan, _), committed = joint_reports(executor(), timeline(), {}, None, late)
    assert (pan.target, committed) == (0.4, 0.0)


def test_the_age_of_an_input_grows_after_the_report_and_never_received_stays(status):
    front, wrist = status.policy.inputs
    assert front.age == pytest.approx(0.3)
    assert wrist.age == -1.0


@pytest.mark.parametrize(
    "line",
    [
        "robot in namespace /left, ROS_DOMAIN_ID 7",
        "policy     active, torch on cpu, 2.6 MB",
        "executor   HOLDING: underrun 3 times: call resume first, latched: groot-ros resume",
        "instruction 3: 'touch [red] cube'",
        "300 ms old   29.9 of 30 Hz",
        "never received",
        "head            20.0 ms, p95    50.0 ms",
        "delay 5 steps, 6 of 16 steps executed: within budget",
        "9 of 10 chunks accepted",
        "policy    stale_image              2",
        "executor  too_old                  1",
        "[rad, m]       target measured",
        "4 chunks limited",
        "committed positions ahead",
    ],
)
def test_the_screen_shows(status, line):
    assert line in screen(status)


def test_a_node_that_is_missing_or_silent_and_a_mismatch_are_shown(status):
    assert "policy     not found" in screen(replace(status, policy=None))
    silent = replace(status.executor, age=7.0, instruction_mismatch="they differ")
    text = screen(replace(status, executor=silent))
    assert "last report 7 s ago: has the node ended?" in text
    assert "they differ" in text
    empty = screen(RobotStatus("/", "0"))
    assert empty.count("not found") == 2


def test_the_status_is_json(status):
    assert json.loads(json.dumps(asdict(status)))["policy"]["inputs"][0]["name"] == "front"


def test_a_sparkline_has_the_lowest_bar_at_the_smallest_value():
    assert sparkline([0.0, 1.0, 0.5]) == "▁█▅"
    assert sparkline([2.0, 2.0]) == "▁▁"
    assert len(sparkline([float(i) for i in range(1000)])) <= 40


def test_without_textual_the_live_view_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "textual", None)
    assert main(["status", "--watch"]) == 2
    assert "--watch needs the Python package textual: pip install" in capsys.readouterr().err


def test_without_a_terminal_the_live_view_names_the_other_forms(capsys):
    pytest.importorskip("textual")
    assert main(["status", "--watch"]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "--watch needs a terminal: use groot-ros status or --json" in shown.err


class FakeReader:
    def __init__(self, status: RobotStatus) -> None:
        self.now = status
        self.has_robot = False
        self.searches = 0

    def status(self) -> RobotStatus:
        return self.now

    def find_robot(self) -> None:
        self.searches += 1


@pytest.mark.slow
def test_the_live_view_shows_each_section_follows_the_graph_and_pauses(status):
    pytest.importorskip("textual")
    from textual.widgets import Static

    from groot_ros.cli.status.watch import StatusApp

    reader = FakeReader(status)
    app = StatusApp(reader)

    def shown(panel: str) -> str:
        return str(app.query_one(f"#{panel}", Static).content)

    async def drive() -> None:
        async with app.run_test(size=(120, 60)) as pilot:
            for panel, lines in zip(app.PANELS, sections(status).values(), strict=True):
                assert shown(panel) == "\n".join(lines)
            assert "'touch [red] cube'" in shown("nodes")
            reader.now = replace(status, policy=replace(status.policy, instruction="go home"))
            app.refresh_status()
            assert "'go home'" in shown("nodes")
            await pilot.press("p")
            reader.now = status
            app.refresh_status()
            assert "'go home'" in shown("nodes")
            await pilot.press("p")
            app.refresh_status()
            assert "'touch [red] cube'" in shown("nodes")
            await pilot.press("q")
        assert app.return_code == 0

    asyncio.run(drive())
    assert reader.searches == 1
