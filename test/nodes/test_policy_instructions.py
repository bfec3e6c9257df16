# SPDX-License-Identifier: Apache-2.0
"""The policy node: instructions, resets and sessions."""

import threading

import pytest
from std_msgs.msg import String
from support.policy_stage import (
    ScriptedPolicy,
    active,
    stages,
    wait_until,
)

from groot_ros.bridge import qos
from groot_ros.msg import ExecutorState
from groot_ros.nodes import instruction_channel

pytestmark = pytest.mark.ros


@pytest.fixture
def stage(ros_domain):
    yield from stages()


def test_without_an_instruction_nothing_is_inferred_and_the_first_one_begins(stage):
    policy = ScriptedPolicy()
    on = active(stage, policy, instruction="''")
    on.idles()
    assert not policy.observations
    # Nothing was rejected: no observation was wanted.
    assert not any(status.rejections for status in on.statuses.all())
    on.instruction.publish(String(data="pick the cube"))
    chunk = on.chunks.wait()
    assert (chunk.instruction_id, chunk.instruction) == (1, "pick the cube")


def test_an_instruction_latched_before_the_node_started_is_used(stage):
    on = stage()
    on.instruction.publish(String(data="published early"))
    on.bring_up()
    assert on.chunks.wait().instruction == "published early"


def test_the_instruction_that_is_followed_is_published_with_session_and_source(stage):
    on = active(stage)
    on.chunks.wait()
    response = on.instruct("place it")
    assert (response.success, response.message, response.instruction_id) == (True, "place it", 2)
    followed = on.instructions.wait(lambda m: m.text == "place it")
    assert (followed.instruction_id, followed.source) == (2, "service")
    assert followed.session == on.chunks.wait(lambda m: m.instruction_id == 2).session
    chunk = on.chunks.wait(lambda m: m.instruction_id == 2)
    assert chunk.instruction == "place it"
    assert on.instruct("place it").instruction_id == 2


def test_an_instruction_is_not_overtaken_by_the_next_one(stage, monkeypatch):
    """A delayed thread with an old instruction must not overwrite the newest one."""
    proceed, stopped = threading.Event(), threading.Event()
    received = []

    def slow(text):
        received.append(text)
        if text == "pick":
            assert proceed.wait(60)
        else:
            stopped.set()
        return ""

    on = stage()
    monkeypatch.setattr(instruction_channel, "instruction_problem", slow)
    wait_until(lambda: on.instruction.get_subscription_count() >= 2, "the node has subscribed")
    on.instruction.publish(String(data="pick"))
    wait_until(lambda: received, "the first instruction is received")
    on.instruction.publish(String(data=""))
    # Long enough for it to overtake if that were possible.
    assert not stopped.wait(1.0)
    proceed.set()
    wait_until(lambda: len(received) == 4, "both instructions are received twice")
    wait_until(lambda: on.node.instruction.id >= 2, "the stop is followed")
    assert received[-1] == ""
    assert on.node.instruction.text == ""


def test_an_instruction_that_is_too_long_is_rejected_and_the_old_one_stays(stage):
    on = active(stage)
    on.chunks.wait()
    response = on.instruct("a" * 2001)
    assert (response.success, response.instruction_id) == (False, 1)
    assert "at most 2000" in response.message


def test_an_empty_instruction_stops_the_chunks_until_the_next_one(stage):
    on = active(stage)
    on.chunks.wait()
    response = on.instruct("")
    assert (response.success, response.instruction_id) == (True, 2)
    stopped_at = len(on.chunks)
    on.idles()
    # A chunk in transit may still have arrived, but it is of the old instruction.
    assert all(m.instruction_id == 1 for m in on.chunks.all()[stopped_at:])
    on.instruct("go on")
    assert on.chunks.wait(lambda m: m.instruction_id == 3).instruction == "go on"


def test_a_chunk_of_the_old_instruction_is_dropped_when_a_new_one_comes_while_inferring(stage):
    inferring, finish = threading.Event(), threading.Event()

    def script(policy, _observation):
        if len(policy.observations) == 1:
            inferring.set()
            assert finish.wait(60)

    on = active(stage, ScriptedPolicy(script=script), instruction="old")
    assert inferring.wait(60)
    on.instruct("new")
    finish.set()
    assert on.chunks.wait().instruction == "new"
    on.rejected("superseded")


def test_a_late_subscriber_receives_only_the_newest_instruction_of_any_publisher(stage):
    on = active(stage)
    on.instruct("by service")
    on.instructions.wait(lambda m: m.text == "by service")
    on.instruction.publish(String(data="by topic"))
    on.chunks.wait(lambda m: m.instruction == "by topic")
    late = on.late_instructions()
    assert late.wait(lambda m: m.text == "by topic").source == "topic"
    assert [m.text for m in late.all()] == ["by topic"]


def test_a_reset_begins_a_new_episode_and_drops_the_chunk_being_inferred(stage):
    inferring, finish = threading.Event(), threading.Event()

    def script(policy, _observation):
        if len(policy.observations) == 1:
            inferring.set()
            assert finish.wait(60)

    on = active(stage, ScriptedPolicy(script=script))
    assert inferring.wait(60)
    response = on.reset()
    assert (response.success, response.message) == (True, "episode 1")
    finish.set()
    chunk = on.chunks.wait()
    assert (chunk.episode, chunk.id) == (1, 1)
    assert on.rejected("superseded").episode == 1


def test_after_a_reset_only_later_frames_are_used(stage):
    policy = ScriptedPolicy()
    on = active(stage, policy)
    on.chunks.wait()
    on.robot.silent.update({"front", "wrist"})
    on.reset()
    status = on.rejected("missing_image")
    assert status.episode == 1


def test_a_reset_without_a_session_succeeds(stage):
    on = stage()
    assert on.reset().message == "nothing to reset: not configured"
    on.configure()
    assert on.reset().message == "history cleared, no session yet"


def test_each_activation_is_a_new_session(stage):
    on = active(stage)
    first = on.chunks.wait().session
    on.reset()
    assert on.deactivate()
    assert on.activate()
    chunk = on.chunks.wait(lambda m: m.session != first)
    assert (chunk.id, chunk.episode) == (1, 0)


def test_the_reason_of_a_rejected_instruction_is_in_the_status_until_the_next_is_followed(stage):
    on = active(stage)
    on.chunks.wait()
    on.instruction.publish(String(data="a" * 2001))
    rejected = on.statuses.wait(lambda s: s.instruction_rejection)
    assert rejected.instruction_rejection.startswith("bad_instruction: the instruction has 2001 ch")
    assert rejected.instruction == "pick the cube"
    seen = len(on.statuses)
    on.instruct("place it")
    on.statuses.wait(lambda s: s.instruction == "place it", after=seen)
    assert on.statuses.all()[-1].instruction_rejection == ""


def test_the_same_instruction_by_service_is_published_again(stage):
    """An executor that was stopped alone follows it again; its id stays the same."""
    on = active(stage)
    on.instruct("place it")
    on.instructions.wait(lambda m: m.text == "place it")
    seen = len(on.instructions)
    assert on.instruct("place it").instruction_id == 2
    again = on.instructions.wait(after=seen)
    assert (again.text, again.instruction_id) == ("place it", 2)


def test_an_executor_that_follows_another_instruction_is_reported(stage):
    on = active(stage)
    session = on.chunks.wait().session
    state = ExecutorState(session=session, instruction="", instruction_id=1)
    publisher = on.robot.node.create_publisher(ExecutorState, "executor_state", qos.LATCHED)
    on.robot.node.create_timer(0.1, lambda: publisher.publish(state))
    reported = on.statuses.wait(lambda s: s.instruction_mismatch)
    assert "the executor is stopped (empty instruction)" in reported.instruction_mismatch
    state.instruction = "pick the cube"
    on.statuses.wait(lambda s: not s.instruction_mismatch, after=len(on.statuses))
