"""Nothing is promised to the operator that another stop still prevents."""

import pytest

from groot_ros.bridge.operator_responses import what_moves_it
from groot_ros.core import ExecutorState, ExecutorStatus, ReasonCode

HOLDING, ESTOPPED = ExecutorStatus.HOLDING, ExecutorStatus.ESTOPPED


@pytest.mark.parametrize(
    ("status", "reason", "fields", "active", "told"),
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
def test_what_the_robot_waits_for(status, reason, fields, active, told):
    state = ExecutorState(0, status, ReasonCode.STOPPED, reason, (), (), (), **fields)
    assert what_moves_it(state, active=active, otherwise="the next chunk may").startswith(told)
