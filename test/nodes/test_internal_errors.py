"""An error in the executor's own program, over a real process: a stop, words, and no silence."""

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
SCRIPT = Path(__file__).with_name("broken_executor.py")


@pytest.fixture
def switch(tmp_path, monkeypatch):
    path = tmp_path / "broken"
    monkeypatch.setenv("BROKEN", str(path))

    def turn(name: str) -> None:
        # At once: the process must not read half a word.
        (tmp_path / "word").write_text(name)
        (tmp_path / "word").rename(path)

    turn.off = path.unlink
    return turn


@pytest.fixture
def running(ros_domain, tmp_path, switch):
    stage = ProcessStage(tmp_path)
    stage.executor = stage.start_executor(script=SCRIPT)
    stage.run()
    yield stage
    stage.end()


def rests(stage) -> bool:
    return stage.sharpest(stage.now_ns - s_to_ns(0.2)).at_rest


@pytest.mark.parametrize(
    ("method", "callback"),
    [("update", "_on_tick"), ("observe", "on_joint_state"), ("receive", "")],
)
def test_an_error_in_a_callback_is_a_latched_stop_and_the_process_lives(
    running, switch, method, callback
):
    switch(method)
    state = running.wait(HOLDING, "internal error: KeyError in " + callback)
    assert state.reason.endswith("call resume first")
    assert "internal_error" in [r.code for r in state.rejections]
    level = running.diagnosed("executor_node: motion", f"{method} is broken")
    assert level == DiagnosticStatus.ERROR
    wait_until(lambda: rests(running), "the robot rests")
    assert running.sharpest(running.began_ns).step < STEP
    log = running.log("executor_node")
    assert "Traceback" in log
    assert f"{method} is broken" in log
    switch.off()
    running.stays(HOLDING)
    assert running.executor.lives
    assert running.trigger("executor_node/resume").success
    running.wait(RUNNING)
    assert running.sharpest(running.began_ns).step < STEP


def test_an_error_in_a_service_is_a_stop_and_an_answer(running, switch):
    switch("hold")
    answer = running.hold("executor_node/hold")
    assert (answer.success, answer.message) == (False, "internal error: the node's log has it")
    running.wait(HOLDING, "internal error: KeyError in _on_hold")
    wait_until(lambda: rests(running), "the robot rests")


def test_an_error_of_rclpy_itself_ends_the_process_after_the_stop_is_published(running, switch):
    switch("rclpy")
    assert running.executor.ended() == 1
    ended_ns = running.now_ns
    running.wait(HOLDING, "deactivated")
    wait_until(lambda: running.now_ns - ended_ns > s_to_ns(0.6), "a braking time has passed")
    assert rests(running)
    assert running.sharpest(running.began_ns).step < STEP
    assert "the node ends: Traceback" in running.log("executor_node")


def test_at_a_tick_every_tenth_of_a_second_resets_and_stops_are_no_errors(ros_domain, tmp_path):
    """Ticks that came long after a stop at rest once ended the process."""
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
        assert executor.lives
        assert "internal error" not in stage.log("executor_node")
        assert stage.sharpest(stage.began_ns).step < STEP
    finally:
        stage.end()
