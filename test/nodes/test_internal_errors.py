# SPDX-License-Identifier: Apache-2.0
"""Exceptions in the executor process: it stops the robot, reports the error and continues."""

from pathlib import Path

import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from support.policy_stage import wait_until
from support.process_stage import PERIOD, ProcessStage

from groot_ros.core import s_to_ns
from groot_ros.msg import ExecutorState

pytestmark = pytest.mark.ros
RUNNING, HOLDING = ExecutorState.RUNNING, ExecutorState.HOLDING
#: rad in one control period at the largest velocity of the SO-101's contract.
STEP = 4.0 * PERIOD
SCRIPT = Path(__file__).parents[1] / "support" / "broken_executor.py"


@pytest.fixture
def switch(tmp_path, monkeypatch):
    path = tmp_path / "broken"
    monkeypatch.setenv("BROKEN", str(path))

    def turn(name: str) -> None:
        # Atomically, so that the process never reads a part of it.
        (tmp_path / "name").write_text(name)
        (tmp_path / "name").rename(path)

    turn.off = path.unlink
    return turn


@pytest.fixture
def running(ros_domain, tmp_path, switch):
    stage = ProcessStage(tmp_path)
    stage.executor = stage.start_executor(script=SCRIPT)
    stage.run()
    yield stage
    stage.end()


def at_rest(stage) -> bool:
    return stage.steps_since(stage.now_ns - s_to_ns(0.2)).at_rest


@pytest.mark.parametrize(
    ("method", "callback"),
    [("update", "_on_tick"), ("observe", "on_joint_state"), ("receive", "")],
)
def test_an_error_in_a_callback_is_a_latched_stop_and_the_process_continues(
    running, switch, method, callback
):
    switch(method)
    state = running.wait(HOLDING, "internal error: KeyError in " + callback)
    assert state.reason.endswith("call resume first")
    assert "internal_error" in [r.code for r in state.rejections]
    level = running.diagnosed("executor_node: motion", f"{method} is broken")
    assert level == DiagnosticStatus.ERROR
    wait_until(lambda: at_rest(running), "the robot is at rest")
    assert running.steps_since(running.began_ns).step < STEP
    log = running.log("executor_node")
    assert "Traceback" in log
    assert f"{method} is broken" in log
    switch.off()
    running.stays(HOLDING)
    assert running.executor.is_alive
    assert running.trigger("executor_node/resume").success
    running.wait(RUNNING)
    assert running.steps_since(running.began_ns).step < STEP


def test_an_error_in_a_service_is_a_stop_and_the_call_is_answered(running, switch):
    switch("hold")
    answer = running.hold("executor_node/hold")
    assert (answer.success, answer.message) == (False, "internal error: see the node's log")
    running.wait(HOLDING, "internal error: KeyError in _on_hold")
    wait_until(lambda: at_rest(running), "the robot is at rest")


def test_an_error_of_rclpy_itself_ends_the_process_after_the_stop_is_published(running, switch):
    switch("rclpy")
    assert running.executor.wait() == 1
    ended_ns = running.now_ns
    running.wait(HOLDING, "deactivated")
    wait_until(lambda: running.now_ns - ended_ns > s_to_ns(0.6), "a braking time has passed")
    assert at_rest(running)
    assert running.steps_since(running.began_ns).step < STEP
    assert "the node ends: Traceback" in running.log("executor_node")


def test_resets_and_stops_between_slow_ticks_are_no_errors(ros_domain, tmp_path):
    """Regression: ticks long after a stop at rest ended the process."""
    stage = ProcessStage(tmp_path)
    try:
        executor = stage.start_executor(rate_hz=10.0)
        for _ in range(2):
            stage.run()
            stage.policy.on = False
            stage.wait(HOLDING, "no chunk came in time: at rest")
            assert stage.trigger("executor_node/reset").success
            stage.wait(ExecutorState.IDLE)
        stage.run()
        assert stage.trigger("executor_node/reset").success
        stage.wait(RUNNING)
        assert executor.is_alive
        assert "internal error" not in stage.log("executor_node")
        assert stage.steps_since(stage.began_ns).step < STEP
    finally:
        stage.end()
