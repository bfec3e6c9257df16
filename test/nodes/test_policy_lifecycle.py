# SPDX-License-Identifier: Apache-2.0
"""The lifecycle of the policy node: transitions, failures, and no leaks."""

import gc
import threading
import weakref

import pytest
from lifecycle_msgs.msg import State, Transition
from rcl_interfaces.srv import GetParameters
from rclpy.parameter import Parameter
from support.policy_stage import (
    SO101,
    ScriptedPolicy,
    active,
    answer_of,
    stages,
    wait_until,
)
from support.tiny_checkpoint import TAG, write_tiny_checkpoint

from groot_ros.nodes.policy_node import load

pytestmark = pytest.mark.ros


@pytest.fixture
def stage(ros_domain):
    yield from stages()


def test_ten_lifecycle_cycles_leak_neither_entities_nor_memory(stage, tmp_path):
    checkpoint = write_tiny_checkpoint(tmp_path)
    policies = []

    def load_and_remember(*args, **kwargs):
        policy = load(*args, **kwargs)
        policies.append(weakref.ref(policy))
        return policy

    on = stage(
        load=load_and_remember,
        checkpoint=checkpoint,
        embodiment=TAG,
        instruction="go",
        torch_threads=1,
    )

    def cycle():
        on.bring_up()
        on.chunks.wait(after=len(on.chunks))
        assert on.deactivate()
        assert on.cleanup()

    def held():
        node = on.node
        entities = [*node.subscriptions, *node.publishers, *node.timers, *node.services]
        # rclpy's executor starts the threads of its pool on demand.
        names = {t.name for t in threading.enumerate() if "ThreadPool" not in t.name}
        return len(entities), names

    cycle()
    before, resident = held(), resident_bytes()
    for _ in range(10):
        cycle()
    assert held() == before
    assert resident_bytes() - resident < 50e6
    assert len(policies) == 11
    wait_until(lambda: gc.collect() >= 0 and not any(p() for p in policies), "policies are gone")


def resident_bytes() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096


def test_nothing_is_published_after_deactivate_even_by_the_inference_in_progress(stage):
    inferring, finish = threading.Event(), threading.Event()

    def script(policy, _observation):
        inferring.set()
        assert finish.wait(60)

    policy = ScriptedPolicy(script=script)
    on = active(stage, policy)
    assert inferring.wait(60)
    going_down = on.begin_change(Transition.TRANSITION_DEACTIVATE)
    on.statuses.wait(lambda s: s.lifecycle == State.TRANSITION_STATE_DEACTIVATING)
    finish.set()
    assert answer_of(going_down).success
    assert on.cleanup()
    assert policy.closed
    assert not len(on.chunks)


def test_a_bad_checkpoint_fails_configure_with_the_reason_and_leaves_the_node_usable(
    stage, tmp_path
):
    (tmp_path / "notes.txt").touch()
    on = stage(load=load, checkpoint=tmp_path)
    assert not on.configure()
    assert on.state() == State.PRIMARY_STATE_UNCONFIGURED
    log = on.logs.wait(lambda m: m.msg.startswith("configure failed"))
    expected = (
        "gr00t_n1d5: config.json with 'model_type' gr00t_n1_5 or 'type' groot; "
        "gr00t_n1d6: config.json with 'model_type' Gr00tN1d6; "
        "vima: config.json with 'model_type' vima, or a .ckpt file"
    )
    assert log.msg == (
        f"configure failed: {tmp_path}: no model family recognises it; looked for {expected}"
    )
    good = write_tiny_checkpoint(tmp_path / "good")
    changed = on.node.set_parameters([Parameter("checkpoint", value=str(good))])
    assert changed[0].successful
    on.bring_up()


def test_a_checkpoint_is_never_guessed(stage):
    on = stage(checkpoint="''")
    assert not on.configure()
    log = on.logs.wait(lambda m: m.msg.startswith("configure failed"))
    assert "parameter checkpoint is not set" in log.msg


def test_an_invalid_first_instruction_fails_configure(stage):
    on = stage(instruction="a" * 2001)
    assert not on.configure()
    log = on.logs.wait(lambda m: m.msg.startswith("configure failed"))
    assert "parameter instruction: the instruction has 2001 characters, at most 2000" in log.msg


def test_a_wrong_robot_contract_fails_configure_with_the_key(stage, tmp_path):
    contract = tmp_path / "bad.yaml"
    contract.write_text(SO101.read_text().replace("action_dt", "action_td"))
    on = stage(robot=contract)
    assert not on.configure()
    log = on.logs.wait(lambda m: m.msg.startswith("configure failed"))
    assert log.msg == f"configure failed: {contract}: 'action_dt' is missing"


def test_an_impossible_transition_is_rejected_and_the_node_continues(stage):
    on = stage()
    assert not on.activate()
    assert not on.deactivate()
    assert on.state() == State.PRIMARY_STATE_UNCONFIGURED
    on.bring_up()


def test_the_services_answer_while_a_model_loads(stage):
    loading, finish = threading.Event(), threading.Event()
    policy = ScriptedPolicy()

    def slow(*_, progress, **__):
        progress("weights", 0.5)
        loading.set()
        assert finish.wait(60)
        return policy

    on = stage(load=slow)
    configuring = on.begin_change(Transition.TRANSITION_CONFIGURE)
    assert loading.wait(60)
    assert on.state() == State.TRANSITION_STATE_CONFIGURING
    assert on.statuses.wait(lambda s: s.lifecycle == State.TRANSITION_STATE_CONFIGURING)
    assert on.instruct("be ready").instruction_id == 1
    assert on.reset().success
    names = GetParameters.Request(names=["rate_hz"])
    values = on.call(GetParameters, "policy_node/get_parameters", names).values
    assert values[0].double_value == 50.0
    assert on.logs.wait(lambda m: m.msg == "loading weights: 50%")
    finish.set()
    assert answer_of(configuring).success
    assert policy.warm
