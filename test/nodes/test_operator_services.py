# SPDX-License-Identifier: Apache-2.0
"""The answer to an operator names what still prevents motion."""

import pytest

from groot_ros.core import ExecutorState, ExecutorStatus, ReasonCode
from groot_ros.nodes.operator_services import motion_outlook

HOLDING, ESTOPPED = ExecutorStatus.HOLDING, ExecutorStatus.ESTOPPED


@pytest.mark.parametrize(
    ("status", "reason", "fields", "active", "answer"),
    [
        (HOLDING, "released: waiting for a new chunk", {}, True, "the next chunk may"),
        (HOLDING, "released: waiting for a new chunk", {}, False, "it moves once the executor is"),
        (
            ESTOPPED,
            "emergency stop: call resume first",
            {"latched": True},
            True,
            "it stays stopped",
        ),
        (HOLDING, "a text: call resume first", {}, True, "the next chunk may"),
        (HOLDING, "the operator holds the robot", {"hold": True}, True, "it stays stopped: the op"),
        (HOLDING, "underrun 3 times", {"latched": True}, True, "it stays stopped: underrun 3"),
    ],
)
def test_the_answer_names_the_next_condition_for_motion(status, reason, fields, active, answer):
    state = ExecutorState(0, status, ReasonCode.STOPPED, reason, (), (), (), **fields)
    assert motion_outlook(state, active=active, otherwise="the next chunk may").startswith(answer)
