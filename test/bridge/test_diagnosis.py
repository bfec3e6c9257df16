# SPDX-License-Identifier: Apache-2.0
"""Diagnostics give level and cause; a fault is reported once, its count stays in the values."""

from types import SimpleNamespace

import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from lifecycle_msgs.msg import State

from groot_ros.bridge.diagnosis import (
    ExecutorDiagnosis,
    PolicyDiagnosis,
    diagnostic_array,
)
from groot_ros.core import ExecutorState, ExecutorStatus, ReasonCode
from groot_ros.msg import InputStatus, PolicyStatus, RejectionCount, StageTiming

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR
ES = ExecutorStatus


def executor(
    status=ES.RUNNING, reason="executing a chunk", code=ReasonCode.STOPPED, **fields
) -> ExecutorState:
    defaults = {
        "joint_names": ("pan", "lift"),
        "splice_discontinuity": (0.0, 0.01),
        "limited_chunks": (0, 0),
        "limit_deviation": (0.0, 0.2),
    }
    return ExecutorState(1, status, code, reason, **{**defaults, **fields})


def inputs(front_age=0.02, front_count=300) -> list[InputStatus]:
    return [
        InputStatus(name="front", age=front_age, rate=30.0, expected_rate=30.0, count=front_count),
        InputStatus(name="joint_states", age=0.01, rate=100.0, expected_rate=0.0, count=1000),
    ]


def policy(**fields) -> PolicyStatus:
    defaults = {
        "lifecycle": State.PRIMARY_STATE_ACTIVE,
        "rate": 5.0,
        "target_rate": 5.0,
        "stages": [StageTiming(name="head", p50=0.1, p95=0.12)],
        "inputs": inputs(),
        "inference_delay": 5,
        "execution_horizon": 6,
        "horizon": 16,
        "within_budget": True,
        "engine": "torch",
        "device": "cpu",
    }
    return PolicyStatus(**{**defaults, **fields})


def values(status: DiagnosticStatus) -> dict[str, str]:
    return {pair.key: pair.value for pair in status.values}


@pytest.mark.parametrize(
    ("state", "level", "text"),
    [
        (executor(), OK, "executing a chunk"),
        (executor(ES.IDLE, "waiting for the first chunk"), OK, "waiting for the first chunk"),
        (executor(ES.HOLDING, "the operator holds", hold=True), OK, "the operator holds"),
        (executor(ES.BRAKING, "braking"), WARN, "braking"),
        (executor(ES.HOLDING, "no chunk came in time: at rest"), WARN, "no chunk came in time"),
        (executor(ES.HOLDING, "underrun 3 times", latched=True), ERROR, "underrun 3 times"),
        (executor(ES.HOLDING, "a text: call resume first"), WARN, "a text"),
        (executor(ES.ESTOPPED, "emergency stop"), ERROR, "emergency stop"),
        (executor(rejections={"too_old": 4}), WARN, "rejected 4 times: too_old"),
        (executor(rejections={"second_policy": 1}), ERROR, "rejected 1 times: second_policy"),
        (executor(rejections={"before_stop": 9}), OK, "executing a chunk"),
        (executor(underruns=1), WARN, "no chunk came in time"),
        (executor(limited_chunks=(3, 2)), WARN, "limits change the motion of lift by 0.20"),
        (executor(limited_chunks=(3, 2), limit_deviation=(0.02, 0.09)), OK, "executing a chunk"),
        (executor(splice_discontinuity=(-0.3, 0.0), accepted=1), WARN, "disagree by 0.30 at pan"),
        (executor(late_splices=2, splice_delay=0.06), WARN, "2 splices took effect late"),
        (executor(speed_scaling=0.5), WARN, "the robot scales its speed to 50%"),
        (executor(rejections={"controller_inactive": 3}), ERROR, "3 times: controller_inactive"),
        (executor(rejections={"paused": 3}), OK, "executing a chunk"),
    ],
)
def test_the_status_of_the_executor_names_the_cause(state, level, text):
    status = ExecutorDiagnosis("executor_node").status(state)
    assert (status.level, status.name) == (level, "executor_node: motion")
    assert text in status.message


@pytest.mark.parametrize(
    ("code", "level"),
    [
        (ReasonCode.NO_INSTRUCTION, OK),
        (ReasonCode.RELEASED, OK),
        (ReasonCode.STEP_DONE, OK),
        (ReasonCode.INSTRUCTION_CHANGED, OK),
        (ReasonCode.JOINT_STATES_LOST, WARN),
        (ReasonCode.NO_CHUNK, WARN),
    ],
)
@pytest.mark.parametrize("status", [ES.BRAKING, ES.HOLDING])
def test_a_stop_that_was_asked_for_is_no_fault(status, code, level):
    told = ExecutorDiagnosis("e").status(executor(status, "a reason", code))
    assert (told.level, told.message) == (level, "a reason")


def test_limits_do_not_warn_about_a_gripper_that_opens_at_once():
    state = executor(limited_chunks=(0, 1))
    assert ExecutorDiagnosis("e", {"lift"}).status(state).level == OK


def test_a_past_fault_is_not_reported_again_but_stays_in_the_values():
    diagnosis = ExecutorDiagnosis("e")
    state = executor(rejections={"too_old": 4}, underruns=2, limited_chunks=(1, 0), accepted=3)
    assert diagnosis.status(state).level == WARN
    later = diagnosis.status(state)
    assert (later.level, later.message) == (OK, "executing a chunk")
    assert values(later)["rejected too_old"] == "4"
    assert values(later)["underruns"] == "2"
    again = executor(rejections={"too_old": 5}, underruns=2, limited_chunks=(1, 0), accepted=3)
    assert diagnosis.status(again).message == "rejected 1 times: too_old"


def test_chunks_that_open_and_close_a_gripper_do_not_disagree():
    state = executor(splice_discontinuity=(0.02, 0.9), accepted=1)
    told = ExecutorDiagnosis("e").status(state)
    assert (told.level, told.message) == (WARN, "consecutive chunks disagree by 0.90 at lift")
    as_gripper = ExecutorDiagnosis("e", {"lift"}).status(state)
    assert as_gripper.level == OK
    assert values(as_gripper)["splice discontinuity"] == "0.0200 (pan)"


def test_missing_inputs_are_an_error_and_replace_what_is_said_about_each():
    line = "nothing received yet: front (/front/image_raw, 0 publishers)"
    status = ExecutorDiagnosis("e").status(executor(), missing=line)
    assert (status.level, status.message) == (ERROR, line)
    silent = policy(inputs=inputs(front_age=-1.0, front_count=0), rate=5.0)
    status = PolicyDiagnosis("p").status(silent, 0.3, line)
    assert (status.level, status.message) == (ERROR, line)


def test_an_input_well_above_the_rate_of_the_contract_is_a_warning_that_is_logged_once():
    fast = [InputStatus(name="front", age=0.01, rate=60.0, expected_rate=30.0, count=9)]
    diagnosis = PolicyDiagnosis("p")
    logged = []
    for _ in range(6):
        status = diagnosis.status(policy(inputs=fast), 0.3)
        logged += diagnosis.to_log
    assert (status.level, status.message) == (
        WARN,
        "front has 60.0 Hz, the robot contract states 30 Hz",
    )
    assert len(logged) == 1
    assert "the topic has a second publisher" in logged[0]
    nearly = [InputStatus(name="front", age=0.01, rate=44.0, expected_rate=30.0, count=9)]
    assert PolicyDiagnosis("p").status(policy(inputs=nearly), 0.3).level == OK


def test_errors_come_before_warnings():
    status = ExecutorDiagnosis("e").status(
        executor(underruns=1, rejections={"too_old": 1, "second_policy": 2})
    )
    assert status.level == ERROR
    assert status.message.startswith("rejected 2 times: second_policy; ")


@pytest.mark.parametrize(
    ("changes", "level", "text"),
    [
        ({}, OK, "5.0 chunks/s, 120 ms"),
        ({"lifecycle": State.PRIMARY_STATE_INACTIVE, "rate": 0.0}, OK, "not active"),
        (
            {"inference_delay": 10, "execution_horizon": 10, "within_budget": False},
            WARN,
            "a chunk is 10 steps late and 10 of its 16 steps are executed",
        ),
        ({"inference_delay": 0, "execution_horizon": 0, "within_budget": False}, OK, "chunks/s"),
        ({"rate": 2.0}, WARN, "2.0 chunks/s instead of 5.0"),
        ({"rate": 0.0}, WARN, "no chunks are made"),
        ({"rate": 0.0, "inference_delay": 0}, OK, "0.0 chunks/s"),
        ({"inputs": inputs(front_age=1.5)}, ERROR, "front is 1.5 s old"),
        (
            {"inputs": inputs(front_age=-1.0, front_count=0)},
            ERROR,
            "no message of front was received",
        ),
        (
            {"inputs": inputs(front_age=-1.0, front_count=7)},
            ERROR,
            "none of 7 messages of front was usable",
        ),
        (
            {"rejections": [RejectionCount(code="inference_error", count=2)]},
            ERROR,
            "rejected 2 times: inference_error",
        ),
        (
            {"rejections": [RejectionCount(code="no_instruction", count=2)]},
            OK,
            "chunks/s",
        ),
    ],
)
def test_the_status_of_the_policy_names_the_cause(changes, level, text):
    status = PolicyDiagnosis("policy_node").status(policy(**changes), max_image_age=0.3)
    assert (status.level, status.name) == (level, "policy_node: inference")
    assert text in status.message


def test_a_policy_without_an_instruction_says_that_it_waits():
    status = PolicyDiagnosis("p").status(policy(rate=0.0), max_image_age=0.3, idle=True)
    assert (status.level, status.message) == (OK, "waiting for an instruction")


def test_the_values_of_the_policy_are_shown():
    shown = values(PolicyDiagnosis("p").status(policy(), max_image_age=0.3))
    assert shown["rate"] == "5.00 of 5.00 Hz"
    assert shown["latency p95"] == "120.0 ms"
    assert shown["inference delay"] == "5 steps"
    assert shown["execution horizon"] == "6 of 16 steps"
    assert shown["age of front"] == "0.020 s"
    assert shown["rate of front"] == "30.0 of 30.0 Hz"


def test_a_fault_that_does_not_show_in_the_state_is_an_error_and_comes_first():
    state = executor(ES.HOLDING, "no chunk came in time: at rest")
    status = ExecutorDiagnosis("executor").status(state, ["/clock stands"])
    assert (status.level, status.message) == (
        ERROR,
        "/clock stands; no chunk came in time: at rest",
    )


def test_a_fault_that_is_also_the_reason_of_the_stop_is_shown_once():
    status = ExecutorDiagnosis("executor").status(executor(ES.HOLDING, "it stands"), ["it stands"])
    assert (status.level, status.message) == (ERROR, "it stands")


def test_a_chunk_budget_that_stays_exceeded_is_logged_once_for_each_activation():
    diagnosis = PolicyDiagnosis("p")
    late = {"inference_delay": 10, "execution_horizon": 10, "within_budget": False}
    logged = []
    for _ in range(10):
        diagnosis.status(policy(**late), max_image_age=0.3)
        logged.append(len(diagnosis.to_log))
    assert logged == [0, 0, 1, *[0] * 7]
    diagnosis.status(policy(lifecycle=State.PRIMARY_STATE_INACTIVE), max_image_age=0.3)
    for _ in range(3):
        diagnosis.status(policy(**late), max_image_age=0.3)
    (line,) = diagnosis.to_log
    assert "a chunk is 10 steps late and 10 of its 16 steps are executed: the robot stops" in line
    assert "infer faster (fewer num_inference_steps, a faster engine" in line


def test_a_problem_that_comes_and_goes_is_not_logged():
    diagnosis = PolicyDiagnosis("p")
    for i in range(12):
        diagnosis.status(policy(rate=2.0 if i % 3 else 5.0), max_image_age=0.3)
        assert diagnosis.to_log == ()


def test_a_low_rate_and_a_slow_input_are_logged_once_each():
    diagnosis = PolicyDiagnosis("p")
    slow = [InputStatus(name="front", age=0.02, rate=14.8, expected_rate=30.0, count=300)]
    for _ in range(3):
        status = diagnosis.status(policy(rate=2.0, inputs=slow), max_image_age=0.3)
    assert status.level == WARN
    assert len(diagnosis.to_log) == 2
    assert diagnosis.to_log[0].startswith("2.0 chunks/s instead of 5.0: set rate_hz to what")
    assert diagnosis.to_log[1].startswith(
        "front has 14.8 Hz, the robot contract states 30 Hz: messages are lost"
    )


def test_underruns_and_limited_chunks_that_go_on_are_logged_once_each():
    diagnosis = ExecutorDiagnosis("e")
    logged = []
    for i in range(1, 8):
        diagnosis.status(
            executor(underruns=4 * i, limited_chunks=(i, 0), limit_deviation=(0.12, 0.0))
        )
        logged += diagnosis.to_log
    assert len(logged) == 2
    assert logged[0].startswith("no chunk came in time: the robot stops between chunks (12 times")
    assert logged[1].startswith("limits change the motion of pan by 0.12: the robot does not")


@pytest.mark.parametrize(
    ("namespace", "robot", "expected"),
    [("/", "so101", "so101"), ("/left", "so101", "left/so101"), ("/", "", "executor_node")],
)
def test_each_status_names_its_hardware(namespace, robot, expected):
    node = SimpleNamespace(get_namespace=lambda: namespace, get_name=lambda: "executor_node")
    statuses = [ExecutorDiagnosis("executor_node").status(executor()) for _ in range(2)]
    msg = diagnostic_array(node, robot, 5_000_000_007, statuses)
    assert [status.hardware_id for status in msg.status] == [expected] * 2
    assert (msg.header.stamp.sec, msg.header.stamp.nanosec) == (5, 7)
