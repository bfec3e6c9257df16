"""The policy node over real DDS, with a scripted policy: what it publishes, and when it refuses."""

import gc
import threading
import weakref
from array import array
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO

import numpy as np
import pytest
from lifecycle_msgs.msg import State, Transition
from PIL import Image as PillowImage
from policy_stage import (
    JOINTS,
    MS,
    SO101,
    PolicyStage,
    ScriptedPolicy,
    answer_of,
    rgb_image,
    wait_until,
)
from rcl_interfaces.srv import GetParameters
from rclpy.parameter import Parameter
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import String
from tiny_checkpoint import TAG, write_tiny_checkpoint

from groot_ros.bridge.messages import chunk_from_msg
from groot_ros.nodes import instruction_channel
from groot_ros.nodes.policy_node import load

pytestmark = pytest.mark.ros


@pytest.fixture
def stage(ros_domain):
    stages = []

    def begin(policy=None, *, load=None, **parameters) -> PolicyStage:
        policy = policy or ScriptedPolicy()
        stages.append(PolicyStage(load=load or (lambda *_, **__: policy), **parameters))
        return stages[-1]

    yield begin
    for each in stages:
        each.end()


def active(stage, policy=None, **parameters) -> PolicyStage:
    on = stage(policy, **{"instruction": "pick the cube", **parameters})
    on.bring_up()
    return on


# Chunks


def test_a_chunk_says_where_it_comes_from(stage):
    on = active(stage, noise_seed=7)
    chunk = chunk_from_msg(on.chunks.wait(lambda m: m.id == 2))
    assert len(chunk.session) == 36
    assert (chunk.episode, chunk.instruction_id, chunk.instruction) == (0, 1, "pick the cube")
    assert {i.name for i in chunk.inputs} == {"front", "wrist", "joint_states"}
    assert chunk.stamp_ns == min(i.stamp_ns for i in chunk.inputs if i.name != "joint_states")
    assert list(chunk.stage_seconds) == [
        "snapshot",
        "preprocess",
        "backbone",
        "head",
        "decode",
        "publish",
    ]
    assert chunk.stage_seconds["snapshot"] > 0
    assert chunk.stage_seconds["publish"] > 0
    np.testing.assert_allclose(chunk.groups[0].values, 0.25)


@pytest.mark.parametrize(("parameter", "seed"), [(7, 7), (-1, None)])
def test_the_seed_reaches_the_policy_and_minus_one_means_a_new_one(stage, parameter, seed):
    policy = ScriptedPolicy()
    active(stage, policy, noise_seed=parameter).chunks.wait()
    assert set(policy.seeds) == {seed}


def test_a_real_checkpoint_is_loaded_and_acts(stage, tmp_path):
    checkpoint = write_tiny_checkpoint(tmp_path)
    on = active(stage, load=load, checkpoint=checkpoint, embodiment=TAG, torch_threads=1)
    chunk = chunk_from_msg(on.chunks.wait())
    assert [(g.name, g.names) for g in chunk.groups] == [
        ("single_arm", JOINTS[:5]),
        ("gripper", JOINTS[5:]),
    ]
    assert chunk.engine == "torch"
    assert len(chunk.checkpoint_hash) > 8
    assert all(seconds >= 0 for seconds in chunk.stage_seconds.values())
    status = on.statuses.wait(lambda s: s.rate > 0, after=len(on.statuses))
    assert (status.engine, status.device, status.horizon) == ("torch", "cpu", 8)
    assert status.memory_bytes > 0


@pytest.mark.parametrize(("given", "taken"), [(0, 1), (2, 2)])
def test_threads_are_as_many_as_the_checkpoint_deserves_unless_given(stage, tmp_path, given, taken):
    import torch

    before = torch.get_num_threads()
    try:
        checkpoint = write_tiny_checkpoint(tmp_path)
        on = stage(checkpoint=checkpoint, embodiment=TAG, torch_threads=given)
        assert on.configure()
        # As a thread that begins now finds it: inference has one of its own.
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(torch.get_num_threads).result() == taken
        assert on.logs.wait(lambda m: m.msg.startswith(f"torch runs on {taken} CPU thread"))
    finally:
        torch.set_num_threads(before)


# What goes into an observation


def png(pixels: np.ndarray) -> CompressedImage:
    target = BytesIO()
    PillowImage.fromarray(pixels).save(target, "png")
    return CompressedImage(format="png", data=array("B", target.getvalue()))


def test_each_encoding_reaches_the_policy_as_rgb(stage, tmp_path):
    contract = tmp_path / "png.yaml"
    raw, compressed = "front/image_raw, encoding: rgb8", "front/compressed, encoding: png"
    text = SO101.read_text().replace(raw, compressed)
    wrist = "wrist/image_raw, encoding: "
    contract.write_text(text.replace(f"{wrist}rgb8", f"{wrist}bgr8"))
    colour = np.zeros((6, 8, 3), np.uint8)
    colour[...] = (200, 100, 50)
    bgr = Image(width=1, height=2, step=5, encoding="bgr8")
    bgr.data = array("B", [3, 2, 1, 255, 255, 6, 5, 4, 255, 255])
    policy = ScriptedPolicy()
    on = stage(
        policy, robot=contract, images={"front": png(colour), "wrist": bgr}, instruction="look"
    )
    on.bring_up()
    on.chunks.wait()
    seen = policy.observations[-1].images
    assert seen["front"].tolist() == colour[None].tolist()
    assert seen["wrist"].tolist() == [[[[1, 2, 3]], [[4, 5, 6]]]]


def test_an_encoding_that_the_contract_does_not_state_is_refused(stage):
    bgr = Image(width=1, height=1, step=3, encoding="bgr8", data=array("B", [3, 2, 1]))
    on = stage(ScriptedPolicy(), images={"front": bgr}, instruction="look")
    on.bring_up()
    on.refused("wrong_encoding")
    status = on.statuses.wait(lambda s: s.input_count and s.input_count[0] > 5)
    assert (status.inputs[0], status.age[0]) == ("front", -1.0)


def test_joints_are_matched_by_name_whatever_their_order_and_company(stage):
    policy = ScriptedPolicy()
    on = stage(policy, instruction="go")
    position = {joint: 0.1 * index for index, joint in enumerate(JOINTS)}
    on.robot.joints = {"wheel": float("nan"), **dict(reversed(position.items()))}
    on.bring_up()
    on.chunks.wait()
    state = policy.observations[-1].state
    np.testing.assert_allclose(state["single_arm"][0], [0.0, 0.1, 0.2, 0.3, 0.4])
    np.testing.assert_allclose(state["gripper"][0], [0.5])


# Refusals


def spoil_missing(robot):
    robot.silent.add("wrist")


def spoil_stale(robot):
    robot.offset_ns["front"] = robot.offset_ns["wrist"] = -20_000 * MS


def spoil_skewed(robot):
    robot.offset_ns["wrist"] = -5000 * MS


def spoil_future(robot):
    robot.offset_ns["front"] = 2000 * MS


def spoil_joint(robot):
    del robot.joints["elbow_flex"]


def spoil_joint_state(robot):
    robot.silent.add("joints")


def spoil_joint_age(robot):
    robot.offset_ns["joints"] = -1000 * MS


def spoil_joint_value(robot):
    robot.joints["gripper"] = float("nan")


def spoil_image(robot):
    robot.image["front"].step = 7


def spoil_unstamped(robot):
    robot.image["front"] = rgb_image(1)
    robot.offset_ns["front"] = -robot.node.get_clock().now().nanoseconds


@pytest.mark.parametrize(
    ("spoil", "reason", "told"),
    [
        (spoil_missing, "missing_image", "nothing received from camera 'wrist'"),
        (spoil_stale, "stale_image", "s old (max_image_age 10 s)"),
        (spoil_skewed, "skewed_images", "camera 'wrist' is 5.0"),
        (spoil_future, "future_stamp", "camera 'front' is stamped"),
        (spoil_joint, "missing_joint", "'joint_states' does not name joint 'elbow_flex'"),
        (spoil_joint_state, "missing_joint_state", "nothing received on 'joint_states'"),
        (spoil_joint_age, "stale_joint_state", "s older than the images"),
        (spoil_joint_value, "non_finite", "joint_states: gripper is nan"),
        (spoil_image, "step_too_small", "camera 'front': step is 7 bytes"),
    ],
)
def test_a_bad_input_is_refused_by_reason_told_once_and_no_chunk_comes_of_it(
    stage, spoil, reason, told
):
    policy = ScriptedPolicy()
    on = stage(policy, instruction="go", max_image_age=10.0)
    spoil(on.robot)
    on.bring_up()
    status = on.refused(reason)
    assert status.refusal_counts[status.refusal_reasons.index(reason)] >= 1
    log = on.logs.wait(lambda m: m.msg.startswith(f"{reason}: "))
    assert told in log.msg
    # Five more ticks at least, and still nothing.
    later = on.statuses.wait(
        lambda s: sum(s.refusal_counts) > sum(status.refusal_counts) + 5, after=len(on.statuses)
    )
    assert reason in later.refusal_reasons
    assert not policy.observations
    assert not len(on.chunks)
    told_again = [m for m in on.logs.all() if m.msg.startswith(f"{reason}: ")]
    assert len(told_again) == 1


def test_once_the_input_is_mended_the_chunks_come(stage):
    on = stage(instruction="go")
    on.robot.silent.add("wrist")
    on.bring_up()
    on.refused("missing_image")
    on.robot.silent.clear()
    assert on.chunks.wait().id == 1


def test_an_inference_that_fails_is_counted_and_the_next_one_gets_its_chance(stage):
    def script(policy, _observation):
        if len(policy.observations) <= 3:
            raise RuntimeError("the model's output is not finite")

    on = active(stage, ScriptedPolicy(script=script))
    assert on.chunks.wait().id == 1
    status = on.refused("inference_error")
    assert status.refusal_counts[status.refusal_reasons.index("inference_error")] == 3
    log = on.logs.wait(lambda m: m.msg.startswith("inference_error"))
    assert log.msg == "inference_error: RuntimeError: the model's output is not finite"


def test_an_error_in_a_callback_is_told_counted_and_ends_nothing(stage, monkeypatch):
    def broken(*_):
        raise KeyError("no such joint")

    on = active(stage)
    on.chunks.wait()
    monkeypatch.setattr(on.node._buffer, "add_joint_state", broken)
    on.refused("internal_error")
    log = on.logs.wait(lambda m: m.msg.startswith("internal error: "))
    assert "KeyError in _on_joint_state: 'no such joint'" in log.msg
    assert "Traceback" in log.msg
    on.refused("stale_joint_state")
    monkeypatch.undo()
    assert on.chunks.wait(after=len(on.chunks))


def test_an_error_in_publishing_a_chunk_is_counted_too(stage, monkeypatch):
    def broken(_):
        raise TypeError("not a message")

    on = active(stage)
    on.chunks.wait()
    monkeypatch.setattr("groot_ros.nodes.policy_node.chunk_to_msg", broken)
    on.refused("internal_error")
    log = on.logs.wait(lambda m: m.msg.startswith("internal error: "))
    assert "TypeError in inference: not a message" in log.msg


# Instructions


def test_without_an_instruction_nothing_is_inferred_and_the_first_one_begins(stage):
    policy = ScriptedPolicy()
    on = active(stage, policy, instruction="''")
    on.refused("no_instruction")
    assert not policy.observations
    on.instruction.publish(String(data="pick the cube"))
    chunk = on.chunks.wait()
    assert (chunk.instruction_id, chunk.instruction) == (1, "pick the cube")


def test_an_instruction_latched_before_the_node_was_there_counts(stage):
    on = stage()
    on.instruction.publish(String(data="said early"))
    on.bring_up()
    assert on.chunks.wait().instruction == "said early"


def test_the_service_takes_an_instruction_and_repeats_it_on_the_topic(stage):
    on = active(stage)
    on.chunks.wait()
    response = on.instruct("place it")
    assert (response.success, response.message, response.instruction_id) == (True, "place it", 2)
    assert on.instructions.wait(lambda m: m.data == "place it")
    chunk = on.chunks.wait(lambda m: m.instruction_id == 2)
    assert chunk.instruction == "place it"
    assert on.instruct("place it").instruction_id == 2


def test_a_word_is_not_overtaken_by_the_next_one(stage, monkeypatch):
    """A thread that is held up with an old word must not have the last one."""
    go_on, stopped = threading.Event(), threading.Event()
    heard = []

    def slow(text):
        heard.append(text)
        if text == "pick":
            assert go_on.wait(20)
        else:
            stopped.set()
        return ""

    on = stage()
    monkeypatch.setattr(instruction_channel, "problem", slow)
    wait_until(lambda: on.instruction.get_subscription_count() >= 2, "the node listens")
    on.instruction.publish(String(data="pick"))
    wait_until(lambda: heard, "the first word is heard")
    on.instruction.publish(String(data=""))
    # Long enough for it to overtake, were that possible.
    assert not stopped.wait(1.0)
    go_on.set()
    wait_until(lambda: len(heard) == 4, "both words are heard twice")
    wait_until(lambda: on.node._instructions.current.id >= 2, "the stop is followed")
    assert heard[-1] == ""
    assert on.node._instructions.current.text == ""


def test_a_book_is_refused_as_an_instruction_and_the_old_one_stays(stage):
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
    on.refused("no_instruction")
    # One that was on its way may still have arrived, but it was told to do the old thing.
    assert all(m.instruction_id == 1 for m in on.chunks.all()[stopped_at:])
    on.instruct("go on")
    assert on.chunks.wait(lambda m: m.instruction_id == 3).instruction == "go on"


def test_a_chunk_of_the_old_instruction_is_dropped_when_a_new_one_comes_while_inferring(stage):
    inferring, finish = threading.Event(), threading.Event()

    def script(policy, _observation):
        if len(policy.observations) == 1:
            inferring.set()
            assert finish.wait(20)

    on = active(stage, ScriptedPolicy(script=script), instruction="old")
    assert inferring.wait(20)
    on.instruct("new")
    finish.set()
    assert on.chunks.wait().instruction == "new"
    on.refused("superseded")


def test_a_late_joiner_finds_only_the_newest_word_whoever_said_it(stage):
    on = active(stage)
    on.instruct("by service")
    on.instructions.wait(lambda m: m.data == "by service")
    on.instruction.publish(String(data="by topic"))
    on.chunks.wait(lambda m: m.instruction == "by topic")
    late = on.late_instructions()
    assert late.wait(lambda m: m.data == "by topic")
    assert [m.data for m in late.all()] == ["by topic"]


# Reset, sessions


def test_a_reset_begins_a_new_episode_and_kills_the_chunk_in_the_making(stage):
    inferring, finish = threading.Event(), threading.Event()

    def script(policy, _observation):
        if len(policy.observations) == 1:
            inferring.set()
            assert finish.wait(20)

    on = active(stage, ScriptedPolicy(script=script))
    assert inferring.wait(20)
    response = on.reset()
    assert (response.success, response.message) == (True, "episode 1")
    finish.set()
    chunk = on.chunks.wait()
    assert (chunk.episode, chunk.id) == (1, 1)
    assert on.refused("superseded").episode == 1


def test_after_a_reset_only_frames_that_came_later_are_looked_at(stage):
    policy = ScriptedPolicy()
    on = active(stage, policy)
    on.chunks.wait()
    on.robot.silent.update({"front", "wrist"})
    on.reset()
    status = on.refused("missing_image")
    assert status.episode == 1


def test_a_reset_without_a_session_does_no_harm(stage):
    on = stage()
    assert on.reset().message == "nothing to reset: not configured"
    on.configure()
    assert on.reset().message == "history cleared, no session yet"


def test_each_activation_is_a_session_of_its_own(stage):
    on = active(stage)
    first = on.chunks.wait().session
    on.reset()
    assert on.deactivate()
    assert on.activate()
    chunk = on.chunks.wait(lambda m: m.session != first)
    assert (chunk.id, chunk.episode) == (1, 0)


# Lifecycle


def test_ten_times_up_and_down_leaves_nothing_behind(stage, tmp_path):
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
        # rclpy's executor starts the threads of its pool one by one as it needs them.
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
        assert finish.wait(20)

    policy = ScriptedPolicy(script=script)
    on = active(stage, policy)
    assert inferring.wait(20)
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
    on = stage(load=load, checkpoint=tmp_path)
    assert not on.configure()
    assert on.state() == State.PRIMARY_STATE_UNCONFIGURED
    log = on.logs.wait(lambda m: m.msg.startswith("configure failed"))
    assert log.msg == f"configure failed: {tmp_path}/config.json: no such file"
    good = write_tiny_checkpoint(tmp_path / "good")
    changed = on.node.set_parameters([Parameter("checkpoint", value=str(good))])
    assert changed[0].successful
    on.bring_up()


def test_a_checkpoint_is_never_guessed(stage):
    on = stage(checkpoint="''")
    assert not on.configure()
    log = on.logs.wait(lambda m: m.msg.startswith("configure failed"))
    assert "parameter checkpoint is not set" in log.msg


def test_a_wrong_robot_contract_fails_configure_with_the_key(stage, tmp_path):
    contract = tmp_path / "bad.yaml"
    contract.write_text(SO101.read_text().replace("action_dt", "action_td"))
    on = stage(robot=contract)
    assert not on.configure()
    log = on.logs.wait(lambda m: m.msg.startswith("configure failed"))
    assert log.msg == f"configure failed: {contract}: action_dt: is missing"


def test_an_impossible_transition_is_refused_and_the_node_lives_on(stage):
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
        assert finish.wait(20)
        return policy

    on = stage(load=slow)
    configuring = on.begin_change(Transition.TRANSITION_CONFIGURE)
    assert loading.wait(20)
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


# Parameters, status, time


def test_what_was_built_in_configure_is_locked_and_tolerances_are_not(stage):
    on = active(stage)
    on.chunks.wait()
    refused, accepted = on.node.set_parameters(
        [Parameter("rate_hz", value=10.0), Parameter("max_image_age", value=0.001)]
    )
    assert refused.reason == "rate_hz cannot change now: run cleanup first"
    assert accepted.successful
    on.refused("stale_image")


def test_a_deactivated_policy_says_which_session_is_over(stage):
    on = active(stage)
    session = on.chunks.wait().session
    assert on.deactivate()
    status = on.statuses.wait(lambda s: s.lifecycle == State.PRIMARY_STATE_INACTIVE and s.session)
    assert status.session == session


def test_the_status_tells_what_comes_in_and_what_goes_out(stage):
    on = active(stage)
    status = on.statuses.wait(lambda s: s.rate > 0 and s.d > 0 and s.rate_in[0] > 0)
    assert status.lifecycle == State.PRIMARY_STATE_ACTIVE
    assert list(status.inputs) == ["front", "wrist", "joint_states"]
    assert list(status.rate_expected) == [30.0, 30.0, 100.0]
    assert all(0 <= age < 1 for age in status.age)
    assert all(count > 0 for count in status.input_count)
    assert list(status.stages) == list(on.chunks.wait().stages)
    assert (status.rate_wanted, status.horizon, status.device) == (50.0, 8, "cpu")
    assert status.s >= status.d >= 1
    assert status.budget_ok == (status.d <= status.s <= 8 - status.d)
    assert (status.memory_bytes, status.instruction_id) == (123, 1)


def test_a_slow_inference_skips_ticks_instead_of_queueing_them(stage):
    first, finish = threading.Event(), threading.Event()

    def script(policy, _observation):
        if len(policy.observations) == 1:
            first.set()
            assert finish.wait(20)

    policy = ScriptedPolicy(script=script)
    on = active(stage, policy, rate_hz=2.0)
    assert first.wait(20)
    # Two ticks and more pass meanwhile: a status comes every half second.
    for _ in range(3):
        on.statuses.wait(after=len(on.statuses))
    missed = len(policy.observations)
    finish.set()
    on.chunks.wait(lambda m: m.id == 2)
    stamps = [o.stamp_ns for o in policy.observations]
    assert missed == 1
    assert stamps[1] - stamps[0] > 1000 * MS


def test_under_sim_time_inference_follows_the_clock(stage):
    on = stage(instruction="go", use_sim_time=True, rate_hz=5.0)
    on.robot.node.set_parameters([Parameter("use_sim_time", value=True)])
    on.bring_up()
    now = 1000 * MS
    while not len(on.chunks):
        assert now < 60_000 * MS, "a minute went by without a chunk"
        now += 10 * MS
        on.tell_time(now)
        on.robot.speak()
    chunk = chunk_from_msg(on.chunks.wait())
    assert 1000 * MS < chunk.stamp_ns <= now
    made = len(on.chunks)
    on.statuses.wait(after=len(on.statuses) + 1)
    assert len(on.chunks) == made
