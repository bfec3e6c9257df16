# SPDX-License-Identifier: Apache-2.0
"""The answer to an operator names what still prevents motion."""

import time
from unittest.mock import Mock

import pytest
import rclpy
from rclpy.executors import SingleThreadedExecutor
from std_srvs.srv import SetBool, Trigger
from support.policy_stage import TIMEOUT

from groot_ros.core import ExecutorState, ExecutorStatus, ReasonCode
from groot_ros.nodes.operator_services import OperatorServices, motion_outlook

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


@pytest.mark.ros
def test_an_emergency_stop_is_carried_out_after_a_resume_that_waited_with_it(ros_domain):
    rclpy.init()
    node, client = rclpy.create_node("executor_node"), rclpy.create_node("client")
    control = Mock()
    services = OperatorServices(node, lambda: 0, lambda: None)
    services.set_executor(control)
    control.reset_mock()
    control.state.return_value = ExecutorState(0, HOLDING, ReasonCode.STOPPED, "", (), (), ())
    answering, asking = SingleThreadedExecutor(), SingleThreadedExecutor()
    answering.add_node(node)
    asking.add_node(client)
    requests = (("estop", SetBool, SetBool.Request(data=True)), ("resume", Trigger, None))
    futures = []
    for name, kind, request in requests:
        calls = client.create_client(kind, f"executor_node/{name}")
        assert calls.wait_for_service(20.0)
        futures.append(calls.call_async(request or kind.Request()))
    # Both have arrived before the node looks.
    time.sleep(0.5)
    end = time.monotonic() + TIMEOUT
    while not all(future.done() for future in futures):
        assert time.monotonic() < end, "a service has not answered"
        answering.spin_once(timeout_sec=0.05)
        asking.spin_once(timeout_sec=0.05)
    carried_out = [call[0] for call in control.mock_calls if call[0] in ("estop", "resume")]
    assert carried_out == ["resume", "estop"]
    for each in (answering, asking):
        each.shutdown()
    node.destroy_node()
    client.destroy_node()
    rclpy.shutdown()
