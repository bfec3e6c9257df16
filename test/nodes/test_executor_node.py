# SPDX-License-Identifier: Apache-2.0
"""The executor node over real DDS: what it publishes, rejects, and publishes last."""

import math
from itertools import pairwise
from types import SimpleNamespace

import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from lifecycle_msgs.msg import State, Transition
from support.executor_stage import CONTRACT, ExecutorStage
from support.policy_stage import wait_until

from groot_ros.bridge import qos
from groot_ros.bridge.controllers.joint_trajectory_controller import reference_of, state_topic
from groot_ros.bridge.messages import ns_to_time
from groot_ros.control import Update
from groot_ros.core import NS_PER_S, s_to_ns, time_to_ns
from groot_ros.core.messages import timeline_from_msg
from groot_ros.msg import ExecutorState, PolicyStatus
from groot_ros.robot.controller import StateTopic
from groot_ros.robot.speed_scaling import SpeedScalingTopic

pytestmark = pytest.mark.ros


@pytest.fixture
def stage(ros_domain, tmp_path):
    stages = []

    def begin(text=CONTRACT, **parameters) -> ExecutorStage:
        stages.append(ExecutorStage(tmp_path, text, **parameters))
        return stages[-1]

    yield begin
    for each in stages:
        each.end()


@pytest.fixture
def on(stage):
    up = stage()
    up.bring_up()
    return up


def held(state: ExecutorState) -> bool:
    return state.status == ExecutorState.HOLDING


def knot_times(msg) -> list[int]:
    stamp = time_to_ns(msg.header.stamp)
    return [stamp + time_to_ns(p.time_from_start) for p in msg.points]


# What it publishes


def test_a_chunk_becomes_a_trajectory_from_the_past_that_ends_at_rest(on):
    on.run()
    msg = on.trajectories.wait()
    assert msg.joint_names == ["lift", "pan"]
    times = knot_times(msg)
    assert times[0] <= on.now_ns
    assert times == sorted(set(times))
    assert all(len(p.positions) == len(p.velocities) == 2 for p in msg.points)
    assert not any(len(p.accelerations) or len(p.effort) for p in msg.points)
    assert list(msg.points[0].positions) == [0.0, 0.0]
    assert list(msg.points[-1].velocities) == [0.0, 0.0]


def test_a_chunk_that_does_not_fit_before_the_next_tick_is_taken_after_it(on):
    on.node.tick_budget.record(60.0)
    state = on.run()
    assert (state.received, state.accepted) == (1, 1)


def test_controllers_without_trajectories_are_streamed_until_rest(on):
    on.run()
    first = on.streamed.wait()
    assert len(first.data) == 1
    on.states.wait(held)
    wait_until(lambda: not on.node.control.commands(on.now_ns), "streaming has ended")
    assert len(on.streamed) > 30
    values = [m.data[0] for m in on.streamed.all()]
    assert max(abs(b - a) for a, b in pairwise(values)) < 0.2
    assert values[-1] == values[-2]


def test_the_committed_timeline_is_what_the_controllers_were_sent(on):
    state = on.run()
    timeline = timeline_from_msg(on.timelines.wait(lambda t: t.chunk_id == state.chunk_id))
    assert timeline.joint_names == ("pan", "lift", "finger")
    assert timeline.session == "a"
    assert timeline.end_ns - timeline.stamp_ns > s_to_ns(0.3)


def test_without_a_further_chunk_it_brakes_to_rest_and_reports_an_underrun(on):
    on.run()
    on.states.wait(lambda s: s.status == ExecutorState.BRAKING)
    state = on.states.wait(held)
    assert state.underruns == 1
    assert "no chunk" in state.reason


def test_the_state_is_latched_and_published_without_any_chunk(on):
    state = on.states.wait()
    assert state.status == ExecutorState.IDLE
    assert state.joint_names == ["pan", "lift", "finger"]


def test_the_timing_of_ticks_is_in_the_diagnostics(on):
    report = on.diagnostics.wait(lambda d: any("timing" in s.name for s in d.status))
    timing = {v.key: v.value for v in report.status[0].values}
    assert list(timing)[:3] == ["jitter p50", "jitter p99", "jitter max"]
    assert all(v.endswith(" ms") for v in timing.values())


# What it rejects


def huge_value(msg):
    msg.groups[0].values[3] = 1e300


def no_session(msg):
    msg.session = ""


def largest_id(msg):
    msg.id = 2**64 - 1


def spoil_values(msg):
    msg.groups[0].values[3] = math.nan


def drop_values(msg):
    msg.groups[0].values = msg.groups[0].values[:-1]


def unknown_joint(msg):
    msg.groups[0].names[1] = "elbow"


def lose_group(msg):
    del msg.groups[1]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (spoil_values, "non_finite"),
        (drop_values, "sizes_disagree"),
        (unknown_joint, "unknown_joint"),
        (lose_group, "missing_joint"),
        (huge_value, "out_of_range"),
        (no_session, "no_session"),
        (largest_id, "bad_number"),
    ],
)
def test_a_malformed_chunk_is_rejected_as_a_whole_counted_and_logged_once(
    on, change, reason, capfd
):
    for _ in range(3):
        on.give(change)
        count = on.rejected(reason).rejections[0].count
    on.states.wait(lambda s: [r.count for r in s.rejections] == [3])
    assert count <= 3
    assert len(on.trajectories) == 0
    logged = [line for line in capfd.readouterr().err.splitlines() if f"rejected: {reason}" in line]
    assert len(logged) == 1
    assert logged[0].startswith("[WARN]")


def test_stamps_from_the_future_and_the_past_are_rejected(on):
    on.give(latency=-1.0)
    on.rejected("future_stamp")
    on.give(latency=5.0)
    on.rejected("too_old")
    assert len(on.trajectories) == 0


def test_a_second_policy_is_rejected_and_logged_as_an_error(on, capfd):
    on.run()
    on.give(session="b")
    on.rejected("second_policy")
    logged = [line for line in capfd.readouterr().err.splitlines() if "second_policy" in line]
    assert logged[0].startswith("[ERROR]")


def test_after_the_status_of_an_ended_session_a_new_one_is_admitted_immediately(on):
    on.run()
    on.publish_policy_status(PolicyStatus(lifecycle=State.PRIMARY_STATE_INACTIVE, session="a"))
    on.give(session="b")
    state = on.states.wait(lambda s: s.session == "b")
    assert list(state.rejections) == []


def test_a_restarted_policy_is_admitted(on):
    on.run()
    on.states.wait(held)
    wait_until(lambda: on.now_ns > 0, "time passes")

    def accepted():
        on.give(session="b")
        return on.states.all()[-1].session == "b"

    wait_until(accepted, "the new session runs")


# Who stops it


def test_a_hold_stops_the_robot_until_it_is_released(on):
    on.run()
    response = on.switch("hold", True)
    assert response.success
    assert on.trigger("resume").message == "it stays stopped: the operator holds the robot"
    state = on.states.wait(lambda s: s.hold)
    assert held(state)
    last = on.trajectories.all()[-1]
    assert list(last.points[-1].velocities) == [0.0, 0.0]
    on.give()
    on.rejected("on_hold")
    assert on.switch("hold", False).message == "the next chunk may move it"
    on.give()
    on.states.wait(lambda s: s.status == ExecutorState.RUNNING, after=len(on.states))


def test_an_emergency_stop_is_latched_until_resumed(on):
    on.run()
    assert on.switch("estop", True).success
    on.states.wait(lambda s: s.estop and s.status == ExecutorState.ESTOPPED)
    response = on.switch("estop", False)
    assert not response.success
    assert "resume" in response.message
    assert on.states.all()[-1].estop
    for on_hold in (True, False):
        response = on.switch("hold", on_hold)
        assert response.success
    assert response.message == "it stays stopped: emergency stop: call resume first"
    assert on.trigger("resume").message == "the next chunk may move it"
    on.states.wait(lambda s: not s.estop, after=len(on.states) - 1)


def test_an_empty_instruction_stops_the_robot(on):
    on.run()
    on.instruct("")
    state = on.states.wait(lambda s: s.reason == "no instruction")
    assert held(state)


def test_an_empty_instruction_of_an_ordinary_publisher_stops_the_robot_too(on):
    on.run()
    on.instruct_volatile("")
    assert held(on.states.wait(lambda s: s.reason == "no instruction"))


def test_an_emergency_stop_stays_through_cleanup_and_configure(on):
    on.run()
    assert on.switch("estop", True).success
    for transition in (
        Transition.TRANSITION_DEACTIVATE,
        Transition.TRANSITION_CLEANUP,
        Transition.TRANSITION_CONFIGURE,
        Transition.TRANSITION_ACTIVATE,
    ):
        assert on.change(transition)
    state = on.states.wait(lambda s: True, after=len(on.states))
    assert state.estop
    assert state.status == ExecutorState.ESTOPPED


def test_one_joint_state_from_the_future_is_rejected_and_the_next_ones_are_used(on):
    on.run()
    on.publish_future_joint_state()
    on.states.wait(lambda s: "clock_skew" in [r.code for r in s.rejections])
    state = on.states.wait(lambda s: True, after=len(on.states))
    assert "joint states" not in state.reason


def test_joint_states_without_a_stamp_are_the_named_reason_with_its_remedy(stage):
    """They arrive at 100 Hz, so "nothing received" would hide the cause."""
    on = stage()
    on.stamps = False
    on.bring_up()
    on.give()
    state = on.states.wait(lambda s: s.received == 1)
    codes = [r.code for r in state.rejections]
    assert state.accepted == 0
    assert "zero_stamp" in codes
    assert "no_joint_state" not in codes


def test_joint_states_dated_by_arrival_need_no_stamp(stage):
    text = CONTRACT
    for topic in ("joint_states", "gripper/joint_states"):
        text = text.replace(
            f"{{topic: {topic}}}", f"{{topic: {topic}, stamp: arrival, latency: 0.01}}"
        )
    on = stage(text)
    on.stamps = False
    on.bring_up()
    state = on.run()
    assert (state.status, len(state.rejections)) == (ExecutorState.RUNNING, 0)


def test_joint_states_of_an_hour_ago_do_not_replace_the_newest_ones(on):
    on.run()
    for _ in range(3):
        on.publish_joint_state_of(on.now_ns - s_to_ns(3600.0))
    on.states.wait(lambda s: "stale_joint_state" in [r.code for r in s.rejections])
    state = on.states.wait(lambda s: True, after=len(on.states))
    assert "joint states" not in state.reason


def test_an_instruction_on_the_topic_is_for_the_policy_alone(on):
    on.run()
    before = len(on.states)
    on.instruct_volatile("another instruction")
    on.publish_active_instruction("another instruction", session="not this one")
    state = on.states.wait(lambda s: s.status != ExecutorState.RUNNING, after=before)
    assert state.reason_code == ExecutorState.REASON_NO_CHUNK


def test_the_active_instruction_of_the_live_session_stops_the_robot(on):
    on.run()
    on.publish_active_instruction("", session="a")
    state = on.states.wait(lambda s: s.reason == "no instruction")
    assert state.reason_code == ExecutorState.REASON_NO_INSTRUCTION


def test_a_reset_ends_in_idle(on):
    on.run()
    assert on.trigger("reset").success
    on.states.wait(lambda s: s.status == ExecutorState.IDLE, after=len(on.states) - 1)
    assert on.timelines.all()[-1].chunk_id == 0


def test_lost_joint_states_stop_the_robot(stage):
    on = stage(joint_state_timeout=0.1)
    on.bring_up()
    on.run()
    on.robot_publishes = False
    state = on.states.wait(held)
    assert "joint states lost" in state.reason


def test_the_stop_is_the_last_thing_published_on_deactivate(on):
    on.run()
    on.trajectories.wait()
    assert on.change(Transition.TRANSITION_DEACTIVATE)
    state = on.states.wait(lambda s: s.reason == "deactivated")
    assert held(state)
    stop = on.trajectories.all()[-1]
    assert list(stop.points[-1].velocities) == [0.0, 0.0]
    assert list(stop.points[-2].velocities) == [0.0, 0.0]
    rest_ns = knot_times(stop)[-2]
    assert rest_ns < time_to_ns(state.header.stamp) + NS_PER_S
    values = [m.data[0] for m in on.streamed.all()]
    assert values[-1] == values[-2]
    count = len(on.trajectories)
    on.give()
    assert on.change(Transition.TRANSITION_CLEANUP)
    assert len(on.trajectories) == count


# Its lifecycle and parameters


def test_ten_lifecycle_cycles_leave_no_subscriptions_and_timers_behind(on):
    subscriptions = len(list(on.node.subscriptions))
    timers = len(list(on.node.timers))
    for _ in range(10):
        assert on.change(Transition.TRANSITION_DEACTIVATE)
        assert on.change(Transition.TRANSITION_CLEANUP)
        on.bring_up()
    assert len(list(on.node.subscriptions)) == subscriptions
    assert len(list(on.node.timers)) == timers
    on.run()


def test_a_bad_contract_fails_configure_with_the_reason(stage, tmp_path, capfd):
    on = stage(robot=tmp_path / "nowhere.yaml")
    assert not on.change(Transition.TRANSITION_CONFIGURE)
    logged = [line for line in capfd.readouterr().err.splitlines() if "nowhere.yaml" in line]
    assert logged[0].startswith("[ERROR]")


def test_without_a_configuration_services_answer_that_it_is_missing(stage):
    on = stage()
    for response in (on.switch("hold", True), on.trigger("reset")):
        assert not response.success
        assert response.message == "not configured"


def test_live_parameters_apply_immediately_and_bad_ones_are_rejected(on):
    assert on.set_parameter("max_chunk_age", 0.2).successful
    assert on.node.control.settings.max_chunk_age == 0.2
    on.give(latency=0.3)
    on.rejected("too_old")
    assert not on.set_parameter("limits_scale", 1.5).successful
    rejected = on.set_parameter("commit_horizon", 0.5)
    assert not rejected.successful
    assert "cleanup" in rejected.reason
    assert on.set_parameter("limits_scale", 1).successful
    rejected = on.set_parameter("max_future", 0.0)
    assert "max_future out of range Min: 0.001" in rejected.reason
    assert not on.set_parameter("use_sim_time", True).successful


def test_with_single_step_the_answers_name_the_step(stage):
    on = stage(single_step=True)
    on.bring_up()
    assert on.trigger("resume").message == "call step for the next chunk"
    assert on.trigger("step").message == "the next chunk is executed to its end"
    on.run()
    assert on.switch("estop", True).success
    assert on.trigger("step").message == "it stays stopped: emergency stop: call resume first"


def test_with_another_publisher_of_commands_it_does_not_activate(stage, capfd):
    on = stage()
    on.add_conflicting_publisher()
    assert on.change(Transition.TRANSITION_CONFIGURE)
    wait_until(
        lambda: on.node.count_publishers("arm/joint_trajectory") == 2,
        "both publishers are discovered",
    )
    assert not on.change(Transition.TRANSITION_ACTIVATE)
    assert "/observer publishes on /arm/joint_trajectory: stop one" in capfd.readouterr().err


def test_a_later_executor_yields_to_another_publisher_and_continues_when_it_is_alone(on):
    on.run()
    stop = on.add_conflicting_publisher()
    state = on.states.wait(lambda s: held(s) and "/observer publishes on" in s.reason)
    assert state.accepted == 1
    on.give()
    on.rejected("second_executor")
    assert on.diagnosed("motion", "/observer") == DiagnosticStatus.ERROR
    stop()
    wait_until(lambda: not on.node.graph_monitor.conflicting_publisher, "it is alone")
    on.run()


def test_a_later_executor_in_motion_sends_nothing_after_it_yields(on, monkeypatch):
    yielded, late = [], []
    control = on.node.control
    yield_control = control.yield_control
    monkeypatch.setattr(
        control, "yield_control", lambda *args: (yield_control(*args), yielded.append(args))
    )

    def watched(method):
        def call(*args):
            result = method(*args)
            sent = result.trajectories if isinstance(result, Update) else result
            if yielded and sent:
                late.append(sent)
            return result

        return call

    for name in ("update", "stop", "commands"):
        monkeypatch.setattr(control, name, watched(getattr(control, name)))
    on.run()
    on.add_conflicting_publisher()
    on.states.wait(lambda s: held(s) and "/observer publishes on" in s.reason)
    for _ in range(3):
        on.states.wait(after=len(on.states))
    assert len(yielded) == 1
    assert late == []


def test_until_discovery_is_complete_no_chunk_is_taken(stage):
    on = stage(discovery_timeout=60.0)
    on.bring_up()
    on.give()
    state = on.rejected("discovering")
    assert state.accepted == 0
    assert not len(on.trajectories)
    on.node.graph_monitor.discovered_ns = 0
    on.run()


def test_the_first_executor_continues_and_reports_the_other_publisher(on):
    on.node.graph_monitor.publisher_conflicts.begin(0)
    on.run()
    on.add_conflicting_publisher()
    assert (
        on.diagnosed("motion", "/observer publishes on /arm/joint_trajectory")
        == DiagnosticStatus.ERROR
    )
    before = len(on.states)
    on.give()
    state = on.states.wait(lambda s: s.accepted >= 2, after=before)
    assert "second_executor" not in [r.code for r in state.rejections]


def test_a_controller_that_reports_another_reference_stops_it(on):
    on.run()
    stamp = on.now_ns
    for seconds in (0.0, 0.6):
        msg = SimpleNamespace(
            header=SimpleNamespace(stamp=ns_to_time(stamp + s_to_ns(seconds))),
            joint_names=["lift", "pan"],
            reference=SimpleNamespace(positions=[1.0, 1.0]),
        )
        on.node.inputs.on_controller_state(
            "arm", StateTopic(SimpleNamespace, state_topic, reference_of), msg
        )
    state = on.states.wait(lambda s: held(s) and "controller 'arm' does not follow" in s.reason)
    assert state.reason.endswith("call resume first")


def test_it_follows_the_speed_scaling_of_the_contracts_topic(on):
    on.run()
    topic = SpeedScalingTopic("speed_scaling", "std_msgs/Float64", 0.01)
    on.node.inputs.on_speed_scaling(topic, topic.message_type()(data=50.0))
    on.states.wait(lambda s: s.speed_scaling == 0.5)
    on.node.inputs.on_speed_scaling(topic, topic.message_type()(data=math.nan))
    on.node.inputs.on_speed_scaling(topic, topic.message_type()(data=0.0))
    state = on.states.wait(lambda s: s.reason_code == ExecutorState.REASON_PAUSED)
    assert (state.speed_scaling, state.latched) == (0.0, False)


def test_in_shadow_nothing_is_commanded(stage):
    on = stage(shadow=True)
    on.bring_up()
    state = on.run()
    assert state.shadow
    on.states.wait(held)
    assert len(on.trajectories) == len(on.streamed) == 0
    assert len(on.timelines) > 0


def test_under_simulated_time_it_follows_the_clock(stage):
    on = stage(use_sim_time=True)
    start = 100 * NS_PER_S
    on.set_time(start)
    on.bring_up()
    on.set_time(start + s_to_ns(0.05))
    on.give()
    wait_until(lambda: on.node.control.state(start).accepted == 1, "the chunk is taken")
    for step in range(1, 30):
        on.set_time(start + step * s_to_ns(0.1))
    state = on.states.wait(lambda s: held(s) and s.underruns == 1)
    assert time_to_ns(state.header.stamp) < start + s_to_ns(3.0)
    on.set_time(start)
    on.set_time(start + s_to_ns(0.1))
    on.states.wait(lambda s: "clock went back" in s.reason)


def test_a_stalled_clock_is_reported_and_ends_running(stage):
    on = stage(use_sim_time=True)
    start = 100 * NS_PER_S
    on.set_time(start)
    on.bring_up()
    on.set_time(start + s_to_ns(0.05))
    on.give()
    wait_until(lambda: on.node.control.state(start).accepted == 1, "the chunk is taken")
    on.set_time(start + s_to_ns(0.06))
    on.states.wait(lambda s: held(s) and "/clock has stood still" in s.reason)
    assert on.diagnosed("motion", "/clock has stood still") == DiagnosticStatus.ERROR
    on.set_time(start + s_to_ns(0.1))
    on.give()
    on.set_time(start + s_to_ns(0.12))
    on.states.wait(lambda s: s.status == ExecutorState.RUNNING, after=len(on.states) - 1)


def test_a_stop_by_service_is_reported_while_the_policy_goes_on_and_ends_with_its_instruction(on):
    first = {"instruction": "touch red", "instruction_id": 1}
    on.give(**first)
    on.states.wait(lambda s: (s.instruction, s.instruction_id) == ("touch red", 1))
    assert on.trigger("stop").message == "stopped: the next instruction may move it"
    stopped = on.states.wait(lambda s: s.reason_code == ExecutorState.REASON_NO_INSTRUCTION)
    assert (stopped.instruction, stopped.instruction_id) == ("", 1)
    policy = PolicyStatus(lifecycle=State.PRIMARY_STATE_ACTIVE, session="a", **first)
    publisher = on.observer.create_publisher(PolicyStatus, "policy_status", qos.LATCHED)
    on.observer.create_timer(0.1, lambda: publisher.publish(policy))
    reported = on.states.wait(lambda s: s.instruction_mismatch)
    assert (
        "the policy follows 'touch red', the executor is stopped" in reported.instruction_mismatch
    )
    on.give(**first)
    on.states.wait(lambda s: any(r.code == "instruction_ended" for r in s.rejections))
    on.publish_active_instruction("touch red", "a")
    seen = len(on.states)
    on.states.wait(
        lambda s: s.instruction == "touch red" and not s.instruction_mismatch, after=seen
    )
    on.give(**first)
    on.states.wait(lambda s: s.accepted == 2)


def test_the_answer_to_reset_says_that_motion_resumes(on):
    assert "it moves again with the next chunk" in on.trigger("reset").message
    assert on.switch("hold", True).success
    assert "it stays stopped: the operator holds" in on.trigger("reset").message
