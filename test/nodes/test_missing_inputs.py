# SPDX-License-Identifier: Apache-2.0
"""Both nodes name the inputs from which nothing was received, before any instruction is given."""

import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from lifecycle_msgs.msg import Transition
from support.executor_stage import ExecutorStage
from support.policy_stage import stages

pytestmark = [pytest.mark.ros, pytest.mark.slow]


@pytest.fixture
def stage(ros_domain):
    yield from stages()


@pytest.fixture
def executor(ros_domain, tmp_path):
    up = ExecutorStage(tmp_path)
    yield up
    up.end()


def test_the_policy_names_each_missing_input_with_its_topic_until_all_are_received(stage):
    on = stage()
    on.robot.silent.update({"wrist", "joints"})
    on.bring_up()
    log = on.logs.wait(lambda m: m.msg.startswith("nothing received yet"))
    space = on.node.get_namespace()
    assert log.level == 30  # WARN
    assert f"wrist ({space}/wrist/image_raw, 1 publisher)" in log.msg
    assert f"joint_states ({space}/joint_states, 1 publisher)" in log.msg
    assert "front" not in log.msg
    on.robot.silent.clear()
    arrived = on.logs.wait(lambda m: m.msg == "all inputs are received")
    assert arrived.level == 20  # INFO


def test_the_executor_names_missing_joint_states_in_log_and_diagnostics(executor):
    executor.robot_publishes = False
    assert executor.change(Transition.TRANSITION_CONFIGURE)
    assert executor.change(Transition.TRANSITION_ACTIVATE)
    expected = (
        "nothing received yet: joint_states (/joint_states, 1 publisher), "
        "gripper/joint_states (/gripper/joint_states, 1 publisher)"
    )
    assert executor.diagnosed("motion", expected) == DiagnosticStatus.ERROR
    executor.robot_publishes = True
    before = len(executor.diagnostics)
    executor.diagnostics.wait(
        lambda array: "nothing received" not in "".join(s.message for s in array.status),
        after=before,
    )
