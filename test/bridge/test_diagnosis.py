"""What is wrong and why, in words."""

from array import array

import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from lifecycle_msgs.msg import State

from groot_ros.bridge.diagnosis import ExecutorDiagnosis, PolicyDiagnosis
from groot_ros.core import ExecutorState, ExecutorStatus
from groot_ros.msg import PolicyStatus

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR
ES = ExecutorStatus


def executor(status=ES.RUNNING, reason="executing a chunk", **fields) -> ExecutorState:
    plain = {
        "joint_names": ("pan", "lift"),
        "splice_discontinuity": (0.0, 0.01),
        "limited_chunks": (0, 0),
    }
    return ExecutorState(1, status, reason, **{**plain, **fields})


def policy(**fields) -> PolicyStatus:
    plain = {
        "lifecycle": State.PRIMARY_STATE_ACTIVE,
        "rate": 5.0,
        "rate_wanted": 5.0,
        "p50": array("f", [0.1]),
        "p95": array("f", [0.12]),
        "inputs": ["front", "joint_states"],
        "age": array("f", [0.02, 0.01]),
        "rate_in": array("f", [30.0, 100.0]),
        "input_count": array("Q", [300, 1000]),
        "rate_expected": array("f", [30.0, 0.0]),
        "d": 5,
        "s": 6,
        "horizon": 16,
        "within_budget": True,
        "engine": "torch",
        "device": "cpu",
    }
    return PolicyStatus(**{**plain, **fields})


def figures(status: DiagnosticStatus) -> dict[str, str]:
    return {pair.key: pair.value for pair in status.values}


@pytest.mark.parametrize(
    ("state", "level", "words"),
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
        (executor(limited_chunks=(0, 2)), WARN, "limits changed chunks of lift"),
        (executor(splice_discontinuity=(-0.3, 0.0), accepted=1), WARN, "disagree by 0.30 at pan"),
    ],
)
def test_the_executor_says_the_cause(state, level, words):
    status = ExecutorDiagnosis("executor_node").status(state)
    assert (status.level, status.name) == (level, "executor_node: motion")
    assert words in status.message


def test_what_is_over_is_no_fault_any_more_but_stays_in_the_figures():
    diagnosis = ExecutorDiagnosis("e")
    state = executor(rejections={"too_old": 4}, underruns=2, limited_chunks=(1, 0), accepted=3)
    assert diagnosis.status(state).level == WARN
    later = diagnosis.status(state)
    assert (later.level, later.message) == (OK, "executing a chunk")
    assert figures(later)["refused too_old"] == "4"
    assert figures(later)["underruns"] == "2"
    again = executor(rejections={"too_old": 5}, underruns=2, limited_chunks=(1, 0), accepted=3)
    assert diagnosis.status(again).message == "rejected 1 times: too_old"


def test_the_worst_comes_first():
    status = ExecutorDiagnosis("e").status(
        executor(underruns=1, rejections={"too_old": 1, "second_policy": 2})
    )
    assert status.level == ERROR
    assert status.message.startswith("rejected 2 times: second_policy; ")


@pytest.mark.parametrize(
    ("changes", "level", "words"),
    [
        ({}, OK, "5.0 chunks/s, 120 ms"),
        ({"lifecycle": State.PRIMARY_STATE_INACTIVE, "rate": 0.0}, OK, "not active"),
        ({"d": 10, "s": 10, "within_budget": False}, WARN, "10 steps late and lasts 10 of 16"),
        ({"d": 0, "s": 0, "within_budget": False}, OK, "chunks/s"),
        ({"rate": 2.0}, WARN, "2.0 chunks/s where 5.0 are wanted"),
        ({"age": array("f", [1.5, 0.0])}, ERROR, "front is 1.5 s old"),
        (
            {"age": array("f", [-1.0, 0.0]), "input_count": array("Q", [0, 9])},
            ERROR,
            "nothing received from front",
        ),
        (
            {"age": array("f", [-1.0, 0.0]), "input_count": array("Q", [7, 9])},
            ERROR,
            "nothing usable among 7 messages from front",
        ),
        (
            {"rejection_reasons": ["inference_error"], "rejection_counts": array("Q", [2])},
            ERROR,
            "rejected 2 times: inference_error",
        ),
        (
            {"rejection_reasons": ["no_instruction"], "rejection_counts": array("Q", [2])},
            OK,
            "chunks/s",
        ),
    ],
)
def test_the_policy_says_the_cause(changes, level, words):
    status = PolicyDiagnosis("policy_node").status(policy(**changes), max_image_age=0.3)
    assert (status.level, status.name) == (level, "policy_node: inference")
    assert words in status.message


def test_the_policy_gives_its_figures():
    shown = figures(PolicyDiagnosis("p").status(policy(), max_image_age=0.3))
    assert shown["rate"] == "5.00 of 5.00 Hz"
    assert shown["latency p95"] == "120.0 ms"
    assert shown["budget"] == "d 5 <= s 6 <= 16 - d"
    assert shown["age of front"] == "0.020 s"
    assert shown["rate of front"] == "30.0 of 30.0 Hz"


def test_a_fault_that_is_not_seen_in_the_motion_is_an_error_and_comes_first():
    state = executor(ES.HOLDING, "no chunk came in time: at rest")
    status = ExecutorDiagnosis("executor").status(state, ["/clock stands"])
    assert (status.level, status.message) == (
        ERROR,
        "/clock stands; no chunk came in time: at rest",
    )


def test_a_fault_that_is_the_reason_of_the_stop_is_said_once():
    status = ExecutorDiagnosis("executor").status(executor(ES.HOLDING, "it stands"), ["it stands"])
    assert (status.level, status.message) == (ERROR, "it stands")
