# SPDX-License-Identifier: Apache-2.0
"""Policy and executor that follow different instructions for over a second are reported once."""

import pytest
from diagnostic_msgs.msg import DiagnosticStatus

from groot_ros.bridge.instruction_mismatch import HeldInstruction, InstructionMismatch
from groot_ros.core import s_to_ns

RED = HeldInstruction("a", 1, "touch red")
STOPPED = HeldInstruction("a", 1, "")


def compared(policy: HeldInstruction, executor: HeldInstruction, seconds: float) -> list[str]:
    """Return what is reported while both nodes repeat their instruction for this long."""
    mismatch = InstructionMismatch()
    reported = []
    for i in range(round(10 * seconds) + 1):
        now = s_to_ns(100.0 + 0.1 * i)
        mismatch.record_policy(policy, now)
        mismatch.record_executor(executor, now)
        if new := mismatch.update(now):
            reported.append(new)
    return reported


def test_a_stop_that_only_the_executor_received_is_reported_once_after_a_second():
    assert compared(RED, STOPPED, 0.9) == []
    (text,) = compared(RED, STOPPED, 5.0)
    assert "the policy follows 'touch red', the executor is stopped (empty instruction)" in text
    assert "groot-ros say" in text
    assert "groot-ros stop" in text


@pytest.mark.parametrize(
    ("policy", "executor"),
    [
        (RED, RED),
        (RED, HeldInstruction("a", 1, " touch red ")),
        (RED, HeldInstruction("b", 1, "touch blue")),
        (RED, HeldInstruction("a", 0, "")),
        (HeldInstruction("", 1, "touch red"), HeldInstruction("", 1, "touch blue")),
    ],
    ids=["same", "white space", "other session", "none known yet", "no session"],
)
def test_what_cannot_be_compared_or_is_the_same_is_not_reported(policy, executor):
    assert compared(policy, executor, 3.0) == []


def test_the_report_ends_with_the_difference_and_with_the_other_node():
    mismatch = InstructionMismatch()

    def at(seconds: float, executor: HeldInstruction | None) -> str:
        now = s_to_ns(seconds)
        mismatch.record_policy(RED, now)
        if executor is not None:
            mismatch.record_executor(executor, now)
        return mismatch.update(now)

    at(1.0, STOPPED)
    assert at(2.0, STOPPED)
    (finding,) = mismatch.findings
    assert finding.level == DiagnosticStatus.WARN
    at(2.1, RED)
    assert (mismatch.description, mismatch.findings) == ("", ())
    at(3.0, STOPPED)
    assert at(4.0, STOPPED)
    at(6.5, None)
    assert mismatch.description == ""
