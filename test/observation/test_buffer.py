# SPDX-License-Identifier: Apache-2.0
"""The observation at t_obs, and the reason of the rejection if there is none."""

import weakref
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from groot_ros.core import MalformedError, StampedInput, s_to_ns
from groot_ros.observation.buffer import ObservationBuffer
from groot_ros.observation.rejections import Rejected
from groot_ros.observation.spec import ObservationSpec, SyncTolerances
from groot_ros.robot import load_contract

MS = 1_000_000
#: Far from 0, because a stamp of 0 means that the message is not stamped.
NOW = 1_000_000 * MS
CONTRACT = load_contract(Path(__file__).parents[2] / "config" / "robots" / "so101.yaml")
JOINTS = CONTRACT.joint_names
SPEC = ObservationSpec(("front", "wrist"), ("single_arm", "gripper"))


def frame(value, size=(16, 32)):
    return lambda: np.full((*size, 3), value, np.uint8)


def filled(*, front=(-20,), wrist=(-30,), joints=(-40, -10), spec=SPEC, **tolerances):
    """A buffer whose stamps are given in ms before NOW; pixels have the value 100 + the stamp."""
    buffer = ObservationBuffer(CONTRACT, spec, SyncTolerances(**tolerances))
    for view, stamps in (("front", front), ("wrist", wrist)):
        for ms in stamps:
            buffer.add_frame(view, NOW + ms * MS, NOW, frame((100 + ms) % 256))
    for ms in joints:
        buffer.add_joint_state("joint_states", NOW + ms * MS, NOW, JOINTS, [ms / 1000] * 6)
    return buffer


def rejection(buffer, now=NOW, instruction="pick the cube"):
    with pytest.raises(Rejected) as caught:
        buffer.snapshot(now, instruction)
    return caught.value


def with_camera(**changes):
    cameras = {**CONTRACT.cameras, "wrist": replace(CONTRACT.cameras["wrist"], **changes)}
    return replace(CONTRACT, cameras=cameras)


def test_an_observation_is_stamped_with_its_oldest_image_and_the_state_is_taken_there():
    observation = filled().snapshot(NOW, "pick the cube")
    assert observation.stamp_ns == NOW - 30 * MS
    assert observation.instruction == "pick the cube"
    assert {v: f.shape for v, f in observation.images.items()} == {
        "front": (1, 16, 32, 3),
        "wrist": (1, 16, 32, 3),
    }
    assert (observation.images["front"][0, 0, 0, 0], observation.images["wrist"][0, 0, 0, 0]) == (
        80,
        70,
    )
    np.testing.assert_allclose(observation.state["single_arm"], np.full((1, 5), -0.03))
    np.testing.assert_allclose(observation.state["gripper"], [[-0.03]])


def test_every_frame_and_sample_used_is_listed_with_its_stamp():
    assert filled().snapshot(NOW, "go").inputs == (
        StampedInput("front", NOW - 20 * MS),
        StampedInput("wrist", NOW - 30 * MS),
        StampedInput("joint_states", NOW - 40 * MS),
        StampedInput("joint_states", NOW - 10 * MS),
    )


def test_only_the_frames_that_are_used_are_decoded():
    buffer = filled(front=(-20,), wrist=(-20,))
    decoded = []

    def pixels(ms):
        return lambda: decoded.append(ms) or np.zeros((16, 16, 3), np.uint8)

    for ms in (-15, -10, -5):
        buffer.add_frame("front", NOW + ms * MS, NOW, pixels(ms))
        buffer.add_frame("wrist", NOW + ms * MS, NOW, pixels(ms))
    buffer.snapshot(NOW, "go")
    assert decoded == [-5, -5]


@pytest.mark.parametrize("instruction", ["", "  "])
def test_without_an_instruction_there_is_no_observation(instruction):
    assert rejection(filled(), instruction=instruction).reason == "no_instruction"


def test_a_camera_without_images_is_named():
    caught = rejection(filled(wrist=()))
    assert (caught.reason, caught.detail) == (
        "missing_image",
        "nothing received from camera 'wrist' on 'wrist/image_raw'",
    )


def test_a_camera_that_stopped_is_named_with_its_age():
    caught = rejection(filled(wrist=(-301,)))
    assert caught.reason == "stale_image"
    assert "camera 'wrist' is 0.301 s old (max_image_age 0.3 s)" in caught.detail


def test_images_that_are_too_far_apart_are_rejected_with_their_skew():
    caught = rejection(filled(front=(-20,), wrist=(-71,)))
    assert caught.reason == "skewed_images"
    assert "camera 'wrist' is 0.051 s behind camera 'front'" in caught.detail


def test_synchronised_frames_that_are_too_old_are_not_used():
    buffer = filled(front=(-310, -10), wrist=(-310, -100), joints=(-320, 0))
    assert rejection(buffer).reason == "skewed_images"


def test_the_tolerances_can_change_while_running():
    buffer = filled(front=(-20,), wrist=(-71,), joints=(-80, 0))
    assert rejection(buffer).reason == "skewed_images"
    buffer.tolerances = SyncTolerances(max_image_skew=0.06)
    assert buffer.snapshot(NOW, "go").stamp_ns == NOW - 71 * MS


def test_a_stamp_from_the_future_is_rejected_without_effect():
    buffer = filled()
    with pytest.raises(Rejected, match=r"future_stamp: camera 'front' is stamped 2.000 s ahead"):
        buffer.add_frame("front", NOW + 2000 * MS, NOW, frame(1))
    with pytest.raises(Rejected, match="future_stamp: 'joint_states'"):
        buffer.add_joint_state("joint_states", NOW + 51 * MS, NOW, JOINTS, [0.0] * 6)
    assert buffer.snapshot(NOW, "go").stamp_ns == NOW - 30 * MS


def test_a_stamp_within_max_future_is_accepted():
    buffer = filled(wrist=(-20,), front=(50,), max_image_skew=0.1)
    assert buffer.snapshot(NOW, "go").images["front"][0, 0, 0, 0] == 150


def test_the_rejection_of_an_unstamped_image_says_how_to_fix_it():
    with pytest.raises(Rejected, match=r"zero_stamp: camera 'front'.*stamp: arrival"):
        filled().add_frame("front", 0, NOW, frame(1))


def test_a_camera_stamped_by_arrival_needs_no_stamp_and_its_latency_is_subtracted():
    contract = with_camera(stamp="arrival", latency_ns=15 * MS)
    buffer = ObservationBuffer(
        contract, ObservationSpec(("wrist",), ("gripper",)), SyncTolerances()
    )
    buffer.add_frame("wrist", 0, NOW - 5 * MS, frame(1))
    buffer.add_joint_state("joint_states", NOW - 30 * MS, NOW, JOINTS, [0.5] * 6)
    assert buffer.snapshot(NOW, "go").stamp_ns == NOW - 20 * MS


def test_a_camera_latency_is_subtracted_from_the_header_stamp():
    contract = with_camera(latency_ns=25 * MS)
    buffer = ObservationBuffer(
        contract, ObservationSpec(("wrist",), ("gripper",)), SyncTolerances()
    )
    buffer.add_frame("wrist", NOW, NOW, frame(1))
    buffer.add_joint_state("joint_states", NOW - 30 * MS, NOW, JOINTS, [0.5] * 6)
    assert buffer.snapshot(NOW, "go").stamp_ns == NOW - 25 * MS


def test_rejections_of_joint_states_are_passed_on():
    assert rejection(filled(joints=())).reason == "missing_joint_state"
    assert rejection(filled(joints=(-200,))).reason == "stale_joint_state"


def test_history_frames_are_selected_by_time_not_by_position():
    spec = replace(SPEC, image_deltas=(-2, 0), state_deltas=(-1, 0))
    stamps = tuple(range(-200, 0, 10))
    buffer = filled(front=stamps, wrist=stamps, joints=stamps, spec=spec)
    observation = buffer.snapshot(NOW, "go")
    # Two steps of 33.3 ms before t_obs = -10 ms: -77 ms, and the frame nearest to it.
    assert observation.images["front"][:, 0, 0, 0].tolist() == [100 - 80, 100 - 10]
    np.testing.assert_allclose(observation.state["gripper"][:, 0], [-0.0433333, -0.01], atol=1e-6)


def test_a_history_that_is_too_short_is_rejected():
    spec = replace(SPEC, image_deltas=(-15, 0))
    caught = rejection(filled(spec=spec))
    assert caught.reason == "missing_history"
    assert "no frame 0.500 s before t_obs" in caught.detail


def test_a_camera_that_changes_its_size_in_the_middle_of_a_history_is_rejected():
    buffer = filled(spec=replace(SPEC, image_deltas=(-1, 0)), wrist=(-53, -20))
    buffer.add_frame("front", NOW - 1 * MS, NOW, frame(1, size=(32, 64)))
    buffer.add_frame("wrist", NOW - 1 * MS, NOW, frame(1))
    assert rejection(buffer).detail == (
        "camera 'front' sends 64 x 32 pixels, its first image had 32 x 16: run cleanup and "
        "configure if this is intended"
    )


def test_a_camera_that_changes_its_size_is_rejected_until_the_policy_is_configured_again():
    buffer = filled()
    buffer.snapshot(NOW, "go")
    buffer.add_frame("front", NOW - 1 * MS, NOW, frame(1, size=(32, 64)))
    buffer.add_frame("wrist", NOW - 1 * MS, NOW, frame(1))
    assert rejection(buffer).reason == "image_size_changed"
    second = filled(front=())
    second.add_frame("front", NOW - 1 * MS, NOW, frame(1, size=(32, 64)))
    second.add_frame("wrist", NOW - 1 * MS, NOW, frame(1))
    assert second.snapshot(NOW, "go").images["front"].shape == (1, 32, 64, 3)


@pytest.mark.parametrize("size", [(1, 1), (15, 64), (64, 15)])
def test_an_image_of_under_16_pixels_on_a_side_is_rejected(size):
    buffer = filled(front=())
    buffer.add_frame("front", NOW - 20 * MS, NOW, frame(1, size=size))
    caught = rejection(buffer)
    assert caught.reason == "image_too_small"
    assert f"camera 'front' sends {size[1]} x {size[0]} pixels" in caught.detail


def test_a_frame_that_cannot_be_decoded_is_malformed():
    def broken():
        raise MalformedError("undecodable_image", "truncated")

    buffer = filled(front=())
    buffer.add_frame("front", NOW - 20 * MS, NOW, broken)
    with pytest.raises(MalformedError, match="undecodable_image"):
        buffer.snapshot(NOW, "go")


def test_a_bag_that_starts_again_is_used_from_its_beginning():
    buffer = filled()
    then = NOW - 100_000 * MS
    buffer.add_frame("front", then, then, frame(1))
    # The stamps of the wrist's frames and of the joints are in the future now.
    detail = rejection(buffer, then).detail
    assert detail == "nothing received from camera 'wrist' on 'wrist/image_raw'"
    buffer.add_frame("wrist", then, then, frame(2))
    assert rejection(buffer, then).reason in ("missing_joint_state", "missing_joint")
    buffer.add_joint_state("joint_states", then, then, JOINTS, [0.0] * 6)
    assert buffer.snapshot(then, "go").stamp_ns == then


def test_after_clear_only_new_frames_are_used():
    buffer = filled()
    buffer.clear()
    assert rejection(buffer).reason == "missing_image"
    assert [i.age for i in buffer.inputs(NOW)] == pytest.approx([0.02, 0.03, 0.01])


def test_the_inputs_have_an_age_a_rate_and_the_expected_rate_of_the_contract():
    buffer = filled(front=())
    for ms in range(0, 1000, 40):
        buffer.record_image("front", NOW + ms * MS)
        buffer.add_frame("front", NOW + ms * MS, NOW + ms * MS, frame(1))
    front, wrist, joints = buffer.inputs(NOW + 960 * MS)
    assert (front.name, front.expected_rate, front.count) == ("front", 30.0, 25)
    assert front.rate == pytest.approx(25.0)
    assert front.age == pytest.approx(0.0)
    assert wrist.age == pytest.approx(0.99)
    assert (joints.name, joints.expected_rate) == ("joint_states", 100.0)


def test_a_message_without_a_valid_frame_is_counted_and_has_no_age():
    buffer = filled(front=())
    buffer.record_image("front", NOW)
    front = buffer.inputs(NOW)[0]
    assert (front.count, front.age) == (1, -1.0)


def test_an_input_without_messages_has_age_minus_one():
    assert ObservationBuffer(CONTRACT, SPEC, SyncTolerances()).inputs(NOW)[0].age == -1.0


def test_the_number_of_frames_is_bounded_at_any_rate_of_the_camera():
    alive = weakref.WeakSet()
    buffer = filled(front=())
    for ms in range(1000):
        pixels = frame(1)
        alive.add(pixels)
        buffer.add_frame("front", NOW + ms * MS, NOW + ms * MS, pixels)
    # Twice the 30 Hz of the contract for 0.3 + 0.05 + 0.05 s, plus two.
    del pixels
    assert len(alive) == 26


def test_joints_that_no_group_uses_are_not_required():
    spec = ObservationSpec(("front",), ("gripper",))
    buffer = ObservationBuffer(CONTRACT, spec, SyncTolerances())
    buffer.add_frame("front", NOW, NOW, frame(1))
    buffer.add_joint_state("joint_states", NOW, NOW, ["gripper"], [0.25])
    assert buffer.snapshot(NOW, "go").state["gripper"].tolist() == [[0.25]]
    assert list(buffer.cameras) == ["front"]


@pytest.mark.parametrize("deltas", [(), (0, -1), (-1, -1, 0), (0, 1), (-1,)])
def test_invalid_deltas_are_rejected(deltas):
    with pytest.raises(ValueError, match="history is"):
        replace(SPEC, image_deltas=deltas)


def test_a_view_that_the_contract_lacks_is_a_key_error():
    with pytest.raises(KeyError, match="head"):
        ObservationBuffer(CONTRACT, replace(SPEC, views=("head",)), SyncTolerances())


# Small and large steps of stamps


def test_camera_stamps_that_repeat_are_dropped_and_counted_and_the_history_is_kept():
    buffer = filled(front=(-40, -20), spec=replace(SPEC, image_deltas=(-1, 0)), wrist=(-53, -20))
    with pytest.raises(Rejected, match="out_of_order: camera 'front' repeats") as caught:
        buffer.add_frame("front", NOW - 20 * MS, NOW, frame(1))
    assert caught.value.reason == "out_of_order"
    assert buffer.snapshot(NOW, "go").images["front"].shape[0] == 2


def test_camera_stamps_that_interleave_keep_the_newest_frame():
    buffer = filled(front=(), wrist=(-20,))
    for ms, late in ((-30, False), (-60, True), (-20, False), (-50, True)):
        if late:
            with pytest.raises(Rejected, match=r"camera 'front' .* behind it by 0.030 s"):
                buffer.add_frame("front", NOW + ms * MS, NOW, frame(1))
        else:
            buffer.add_frame("front", NOW + ms * MS, NOW, frame(100 + ms))
    assert buffer.snapshot(NOW, "go").images["front"][0, 0, 0, 0] == 80


def test_joint_states_whose_stamps_interleave_are_dropped_and_the_history_is_kept():
    buffer = filled(joints=(-40, -20))
    with pytest.raises(Rejected, match=r"out_of_order: 'joint_states'.*by 0.015 s"):
        buffer.add_joint_state("joint_states", NOW - 35 * MS, NOW, JOINTS, [9.0] * 6)
    observation = buffer.snapshot(NOW, "go")
    np.testing.assert_allclose(observation.state["gripper"], [[-0.03]])


def test_a_large_step_back_clears_the_history_of_that_input_and_is_told_once():
    told = []
    buffer = ObservationBuffer(CONTRACT, SPEC, SyncTolerances(), lambda *it: told.append(it))
    for view in ("front", "wrist"):
        buffer.add_frame(view, NOW - 10 * MS, NOW, frame(1))
    buffer.add_joint_state("joint_states", NOW - 10 * MS, NOW, JOINTS, [0.5] * 6)
    buffer.add_frame("front", NOW - 60_000 * MS, NOW, frame(2))
    buffer.add_frame("front", NOW - 59_990 * MS, NOW, frame(2))
    assert [name for name, _ in told] == ["front"]
    assert "went back by more than 1 s" in told[0][1]
    buffer.add_frame("front", NOW - 5 * MS, NOW, frame(3))
    assert buffer.snapshot(NOW, "go").images["front"][0, 0, 0, 0] == 3


# The cause of a missing input


def test_an_input_whose_messages_are_rejected_is_not_reported_as_not_received():
    buffer = filled(joints=())
    with pytest.raises(Rejected):
        buffer.add_joint_state("joint_states", 0, NOW, JOINTS, [0.5] * 6)
    caught = rejection(buffer)
    assert (caught.reason, caught.detail) == (
        "zero_stamp",
        "'joint_states' does not stamp its messages: set 'stamp: arrival' in the robot contract",
    )


def test_a_camera_whose_images_are_rejected_by_the_node_is_reported_by_that_rejection():
    buffer = filled(front=())
    buffer.record_image("front", NOW)
    buffer.record_rejection("front", "wrong_encoding", "camera 'front': sends mono8")
    caught = rejection(buffer)
    assert (caught.reason, caught.detail) == ("wrong_encoding", "camera 'front': sends mono8")


def test_a_malformed_joint_state_is_the_reason_why_the_last_one_is_stale():
    buffer = filled(joints=(-300,))
    for ms in (-30, -20, -10):
        with pytest.raises(MalformedError):
            buffer.add_joint_state("joint_states", NOW + ms * MS, NOW + ms * MS, JOINTS, [0.5])
    assert rejection(buffer).reason == "sizes_disagree"


def test_a_camera_that_stopped_after_a_rejection_is_stale():
    buffer = filled(front=(-5000,))
    buffer.record_image("front", NOW - 5000 * MS)
    buffer.record_rejection("front", "out_of_order", "camera 'front' repeats its stamps")
    assert rejection(buffer).reason == "stale_image"


def test_a_rejection_is_forgotten_once_a_message_is_accepted():
    buffer = filled(front=(-500,))
    buffer.record_image("front", NOW)
    buffer.record_rejection("front", "data_short", "camera 'front': 3 bytes")
    assert rejection(buffer).reason == "data_short"
    buffer.add_frame("front", NOW - 20 * MS, NOW, frame(1))
    assert buffer.snapshot(NOW, "go").stamp_ns == NOW - 30 * MS


def test_after_a_reset_a_camera_that_was_received_before_is_told_apart():
    buffer = filled()
    buffer.record_image("front", NOW)
    buffer.clear()
    assert rejection(buffer).detail == "no image of camera 'front' since the last reset"


def test_a_frame_that_cannot_be_decoded_names_its_camera():
    def broken():
        raise MalformedError("undecodable_image", "'jpeg': truncated")

    buffer = filled(front=())
    buffer.add_frame("front", NOW - 20 * MS, NOW, broken)
    with pytest.raises(MalformedError, match="undecodable_image: camera 'front': 'jpeg'"):
        buffer.snapshot(NOW, "go")


# Competing publishers


def test_an_input_that_is_discarded_gives_no_observation_until_it_is_received_again():
    for name in ("front", "joint_states"):
        buffer = filled()
        buffer.discard(name, "competing_publishers", "/one and /two")
        assert rejection(buffer).reason == "competing_publishers"
        buffer.add_frame("front", NOW - 10 * MS, NOW, frame(1))
        buffer.add_joint_state("joint_states", NOW - 5 * MS, NOW, JOINTS, [0.5] * 6)
        buffer.add_joint_state("joint_states", NOW - 4 * MS, NOW, JOINTS, [0.5] * 6)
        buffer.add_frame("front", NOW - 1 * MS, NOW, frame(1))
        buffer.add_frame("wrist", NOW - 1 * MS, NOW, frame(1))
        assert buffer.snapshot(NOW, "go").stamp_ns == NOW - 1 * MS


# Another clock, and sources dated by arrival


def test_images_stamped_by_a_simulation_are_told_apart_from_old_ones():
    buffer = filled(front=())
    buffer.add_frame("front", 5000 * MS, s_to_ns(1.8e9), frame(1))
    buffer.add_frame("wrist", s_to_ns(1.8e9), s_to_ns(1.8e9), frame(1))
    caught = rejection(buffer, now=s_to_ns(1.8e9))
    assert caught.reason == "stale_image"
    assert caught.detail.endswith(
        "stamped by another clock: is use_sim_time the same in all nodes?"
    )


def test_wall_time_stamps_in_a_simulation_are_told_apart_from_skew():
    with pytest.raises(Rejected, match=r"future_stamp.*is use_sim_time the same in all nodes?"):
        filled().add_frame("front", s_to_ns(1.8e9), NOW, frame(1))


def test_joint_states_stamped_by_another_clock_say_so():
    buffer = ObservationBuffer(CONTRACT, SPEC, SyncTolerances())
    now = s_to_ns(1.8e9)
    for view in ("front", "wrist"):
        buffer.add_frame(view, now, now, frame(1))
    buffer.add_joint_state("joint_states", 5000 * MS, now, JOINTS, [0.5] * 6)
    assert "is use_sim_time the same" in rejection(buffer, now=now).detail


def with_sources(*sources):
    return replace(CONTRACT, sources=sources)


def test_joint_states_dated_by_arrival_need_no_stamp_and_their_latency_is_subtracted():
    source = replace(CONTRACT.sources[0], stamp="arrival", latency_ns=10 * MS)
    buffer = ObservationBuffer(with_sources(source), SPEC, SyncTolerances())
    for view in ("front", "wrist"):
        buffer.add_frame(view, NOW - 20 * MS, NOW, frame(1))
    buffer.add_joint_state("joint_states", 0, NOW - 20 * MS, JOINTS, [1.0] * 6)
    buffer.add_joint_state("joint_states", 0, NOW, JOINTS, [2.0] * 6)
    observation = buffer.snapshot(NOW, "go")
    np.testing.assert_allclose(observation.state["gripper"], [[1.5]])
    assert observation.inputs[-1] == StampedInput("joint_states", NOW - 10 * MS)


def test_the_latency_of_joint_states_is_subtracted_from_their_stamp():
    source = replace(CONTRACT.sources[0], latency_ns=30 * MS)
    buffer = ObservationBuffer(with_sources(source), SPEC, SyncTolerances())
    for view in ("front", "wrist"):
        buffer.add_frame(view, NOW - 30 * MS, NOW, frame(1))
    buffer.add_joint_state("joint_states", NOW, NOW, JOINTS, [1.0] * 6)
    assert buffer.snapshot(NOW, "go").inputs[-1] == StampedInput("joint_states", NOW - 30 * MS)


def test_two_sources_may_share_a_topic():
    arm, hand = (
        replace(CONTRACT.sources[0], name=name, joints=joints)
        for name, joints in (("arm", JOINTS[:5]), ("hand", JOINTS[5:]))
    )
    buffer = ObservationBuffer(with_sources(arm, hand), SPEC, SyncTolerances())
    assert [source.joints for source in buffer.sources] == [JOINTS]
    for view in ("front", "wrist"):
        buffer.add_frame(view, NOW, NOW, frame(1))
    buffer.add_joint_state("joint_states", NOW, NOW, JOINTS[:5], [1.0] * 5)
    buffer.add_joint_state("joint_states", NOW, NOW, JOINTS[5:], [2.0])
    np.testing.assert_allclose(buffer.snapshot(NOW, "go").state["gripper"], [[2.0]])


# Contents of images


def test_warnings_about_contents_name_the_camera():
    told = []
    buffer = ObservationBuffer(CONTRACT, SPEC, SyncTolerances(), lambda *it: told.append(it))
    buffer.add_joint_state("joint_states", NOW, NOW, JOINTS, [0.5] * 6)
    data = np.full(3000, 7, np.uint8).tobytes()
    for i in range(60):
        now = NOW + i * 100 * MS
        buffer.record_image("front", now, data)
        buffer.add_joint_state("joint_states", now + MS, now + MS, JOINTS, [0.5] * 6)
        for view in ("front", "wrist"):
            pixels = (
                frame(7)
                if view == "wrist"
                else lambda: np.eye(48, dtype=np.uint8).reshape(16, 48, 3)
            )
            buffer.add_frame(view, now, now, pixels)
        buffer.snapshot(now, "go")
    assert {name: text.split(" ", 4)[2:4] for name, text in told} == {
        "front": ["has", "sent"],
        "wrist": ["sends", "grey"],
    }
    assert len(told) == 2
