# SPDX-License-Identifier: Apache-2.0
"""The policy node over real DDS, with a scripted policy: observations in, chunks and status out."""

import threading
from array import array
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO

import numpy as np
import pytest
from lifecycle_msgs.msg import State
from PIL import Image as PillowImage
from rclpy.parameter import Parameter
from sensor_msgs.msg import CompressedImage, Image
from support.policy_stage import (
    JOINTS,
    MS,
    SO101,
    ScriptedPolicy,
    active,
    stages,
)
from support.tiny_checkpoint import TAG, write_tiny_checkpoint

from groot_ros.core.messages import chunk_from_msg
from groot_ros.nodes.policy_node import load

pytestmark = pytest.mark.ros


@pytest.fixture
def stage(ros_domain):
    yield from stages()


def test_a_chunk_names_its_origin(stage):
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


def test_a_real_checkpoint_is_loaded_and_infers(stage, tmp_path):
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
def test_the_number_of_threads_follows_the_checkpoint_unless_given(stage, tmp_path, given, taken):
    import torch

    before = torch.get_num_threads()
    try:
        checkpoint = write_tiny_checkpoint(tmp_path)
        on = stage(checkpoint=checkpoint, embodiment=TAG, torch_threads=given)
        assert on.configure()
        # In a new thread, because inference runs in one.
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(torch.get_num_threads).result() == taken
        assert on.logs.wait(lambda m: m.msg.startswith(f"torch runs on {taken} CPU thread"))
    finally:
        torch.set_num_threads(before)


def compressed_image(pixels: np.ndarray, kind: str = "png") -> CompressedImage:
    target = BytesIO()
    PillowImage.fromarray(pixels).save(target, kind)
    return CompressedImage(format=kind, data=array("B", target.getvalue()))


def test_each_encoding_reaches_the_policy_as_rgb(stage, tmp_path):
    contract = tmp_path / "png.yaml"
    raw, compressed = "front/image_raw, encoding: rgb8", "front/compressed, encoding: png"
    text = SO101.read_text().replace(raw, compressed)
    wrist = "wrist/image_raw, encoding: "
    contract.write_text(text.replace(f"{wrist}rgb8", f"{wrist}bgr8"))
    colour = np.zeros((16, 24, 3), np.uint8)
    colour[...] = (200, 100, 50)
    bgr = Image(width=16, height=16, step=50, encoding="bgr8")
    bgr.data = array("B", [*[3, 2, 1] * 8, *[6, 5, 4] * 8, 255, 255] * 16)
    policy = ScriptedPolicy()
    on = stage(
        policy,
        robot=contract,
        images={"front": compressed_image(colour), "wrist": bgr},
        instruction="look",
    )
    on.bring_up()
    on.chunks.wait()
    seen = policy.observations[-1].images
    assert seen["front"].tolist() == colour[None].tolist()
    assert seen["wrist"].tolist() == [[[[1, 2, 3]] * 8 + [[4, 5, 6]] * 8] * 16]


def test_an_encoding_that_the_contract_does_not_state_is_rejected(stage):
    bgr = Image(width=1, height=1, step=3, encoding="bgr8", data=array("B", [3, 2, 1]))
    on = stage(ScriptedPolicy(), images={"front": bgr}, instruction="look")
    on.bring_up()
    on.rejected("wrong_encoding")
    status = on.statuses.wait(lambda s: s.inputs and s.inputs[0].count > 5)
    assert (status.inputs[0].name, status.inputs[0].age) == ("front", -1.0)


@pytest.mark.parametrize("stated", ["jpeg", "jpeg_mono8"])
def test_a_grey_jpeg_is_refused_where_colour_is_stated_and_used_where_grey_is(
    stage, tmp_path, stated
):
    contract = tmp_path / "jpeg.yaml"
    raw, compressed = "front/image_raw, encoding: rgb8", f"front/compressed, encoding: {stated}"
    contract.write_text(SO101.read_text().replace(raw, compressed))
    grey = compressed_image(np.full((16, 24), 77, np.uint8), "jpeg")
    on = stage(ScriptedPolicy(), robot=contract, images={"front": grey}, instruction="look")
    on.bring_up()
    if stated == "jpeg_mono8":
        assert on.chunks.wait().id == 1
        return
    on.rejected("wrong_encoding")
    log = on.logs.wait(lambda m: m.msg.startswith("wrong_encoding"))
    assert "sends jpeg_mono8, the robot contract says jpeg, which is colour" in log.msg
    # The reason is not hidden by one that says that nothing was received.
    later = on.statuses.wait(lambda s: s.inputs and s.inputs[0].count > 20)
    assert {r.code for r in later.rejections} == {"wrong_encoding"}
    assert not len(on.chunks)


def test_before_the_first_clock_nothing_is_rejected(stage):
    on = stage(use_sim_time=True, instruction="look")
    on.bring_up()
    status = on.statuses.wait(lambda s: s.lifecycle == 3)
    status = on.statuses.wait(lambda s: s.lifecycle == 3, after=len(on.statuses))
    assert [r.code for r in status.rejections] == []


def test_joints_are_matched_by_name_in_any_order_and_with_further_joints(stage):
    policy = ScriptedPolicy()
    on = stage(policy, instruction="go")
    position = {joint: 0.1 * index for index, joint in enumerate(JOINTS)}
    on.robot.joints = {"wheel": float("nan"), **dict(reversed(position.items()))}
    on.bring_up()
    on.chunks.wait()
    state = policy.observations[-1].state
    np.testing.assert_allclose(state["single_arm"][0], [0.0, 0.1, 0.2, 0.3, 0.4])
    np.testing.assert_allclose(state["gripper"][0], [0.5])


def test_what_was_built_in_configure_is_locked_and_tolerances_are_not(stage):
    on = active(stage)
    on.chunks.wait()
    rejected, accepted = on.node.set_parameters(
        [Parameter("rate_hz", value=10.0), Parameter("max_image_age", value=0.001)]
    )
    assert rejected.reason == "rate_hz cannot change now: run cleanup first"
    assert accepted.successful
    on.rejected("stale_image")


def test_the_status_of_a_deactivated_policy_names_the_ended_session(stage):
    on = active(stage)
    session = on.chunks.wait().session
    assert on.deactivate()
    status = on.statuses.wait(lambda s: s.lifecycle == State.PRIMARY_STATE_INACTIVE and s.session)
    assert status.session == session


def test_the_status_reports_inputs_and_outputs(stage):
    on = active(stage)
    status = on.statuses.wait(
        lambda s: s.rate > 0 and s.inference_delay > 0 and s.inputs[0].rate > 0
    )
    assert status.lifecycle == State.PRIMARY_STATE_ACTIVE
    assert [i.name for i in status.inputs] == ["front", "wrist", "joint_states"]
    assert [i.expected_rate for i in status.inputs] == [30.0, 30.0, 100.0]
    assert all(0 <= i.age < 1 for i in status.inputs)
    assert all(i.count > 0 for i in status.inputs)
    assert [t.name for t in status.stages] == [d.name for d in on.chunks.wait().stages]
    assert (status.target_rate, status.horizon, status.device) == (50.0, 8, "cpu")
    delay, executed = status.inference_delay, status.execution_horizon
    assert executed >= delay >= 1
    assert status.within_budget == (delay <= executed <= 8 - delay)
    assert (status.memory_bytes, status.instruction_id) == (123, 1)


def test_a_slow_inference_skips_ticks_instead_of_queueing_them(stage):
    first, finish = threading.Event(), threading.Event()

    def script(policy, _observation):
        if len(policy.observations) == 1:
            first.set()
            assert finish.wait(60)

    policy = ScriptedPolicy(script=script)
    on = active(stage, policy, rate_hz=2.0)
    assert first.wait(60)
    # At least two ticks pass meanwhile, because a status is published every 0.5 s.
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
        on.set_time(now)
        on.robot.publish()
    chunk = chunk_from_msg(on.chunks.wait())
    assert 1000 * MS < chunk.stamp_ns <= now
    made = len(on.chunks)
    on.statuses.wait(after=len(on.statuses) + 1)
    assert len(on.chunks) == made
