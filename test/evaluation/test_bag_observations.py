# SPDX-License-Identifier: Apache-2.0
"""Places of a bag: when observations are taken, what they contain, and why some lack."""

from pathlib import Path

import numpy as np
import pytest
from support.input_bags import START, BagOf, image, joint_state, message, so101_inputs

from groot_ros.bags.collector import RecordedChunk
from groot_ros.bags.recording import RobotBag
from groot_ros.core import ActionChunk, ActionGroup, ActionKind, StampedInput
from groot_ros.core.share import robot_path
from groot_ros.evaluation.bag_observations import Place, chunk_observations, observe
from groot_ros.observation.spec import ObservationSpec, SyncTolerances
from groot_ros.robot import load_contract

SO101 = load_contract(robot_path("so101"))
SPEC = ObservationSpec(("front", "wrist"), ("single_arm", "gripper"))


def ns(seconds: float) -> int:
    return START + round(seconds * 1e9)


def places(sent: BagOf, tmp_path: Path, **options) -> list[Place]:
    bag = RobotBag(sent.write(tmp_path / "bag"), SO101)
    return list(observe(bag, SPEC, SyncTolerances(), **{"interval": 0.2, **options}))


def test_every_interval_has_one_observation_with_the_state_at_its_oldest_image(
    tmp_path: Path,
) -> None:
    found = places(so101_inputs(SO101.joint_names, seconds=2.0), tmp_path)
    assert [place.number for place in found] == list(range(10))
    for place in found:
        assert place.observation is not None
        since = (place.observation.stamp_ns - START) / 1e9
        np.testing.assert_allclose(place.observation.state["single_arm"], 0.1 * since, atol=1e-9)
        assert int(place.observation.images["front"].max()) == round(10 * since)
        assert place.observation.instruction == "touch the cube"


def test_an_interval_without_a_camera_is_counted_with_its_reason(tmp_path: Path) -> None:
    sent = so101_inputs(SO101.joint_names, seconds=3.0)
    gone = {("/wrist/image_raw", ns(0.1 * i + 0.001)) for i in range(8, 20)}
    sent.sent = [each for each in sent.sent if (each[1], each[0]) not in gone]
    found = places(sent, tmp_path)
    missing = [place for place in found if place.observation is None]
    assert [place.number for place in found] == list(range(15))
    # Images are used until they are 0.3 s old.
    assert [place.number for place in missing] == [5, 6, 7, 8, 9]
    assert {place.reason for place in missing} == {"stale_image"}
    assert "wrist" in missing[0].detail


def test_the_instruction_is_the_one_that_was_followed_then(tmp_path: Path) -> None:
    sent = so101_inputs(SO101.joint_names, seconds=1.0)
    sent.add("/instruction", ns(0.5), message("std_msgs/msg/String", data="stop there"))
    texts = [p.observation.instruction for p in places(sent, tmp_path) if p.observation]
    assert texts == ["touch the cube"] * 3 + ["stop there"] * 2
    bag = RobotBag(tmp_path / "bag", SO101)
    given = observe(bag, SPEC, SyncTolerances(), interval=0.2, instruction="other")
    assert {p.observation.instruction for p in given if p.observation} == {"other"}


def test_a_bag_without_a_complete_observation_is_one_place_with_the_reason(
    tmp_path: Path,
) -> None:
    (only,) = places(so101_inputs(SO101.joint_names[:-1], seconds=1.0), tmp_path)
    assert only.observation is None
    assert only.reason == "missing_joint"
    assert "gripper" in only.detail


def chunk_of(*inputs: tuple[str, float], stamp: float) -> RecordedChunk:
    group = ActionGroup(ActionKind.GRIPPER, "gripper", ("gripper",), ("rad",), np.zeros((4, 1)))
    stated = tuple(StampedInput(name, ns(seconds)) for name, seconds in inputs)
    chunk = ActionChunk(
        ns(stamp), ns(stamp), 0.1, (group,), inputs=stated, instruction="touch the cube"
    )
    return RecordedChunk(ns(stamp + 0.3), chunk)


def test_the_observation_of_a_chunk_consists_of_exactly_its_inputs(tmp_path: Path) -> None:
    sent = so101_inputs(SO101.joint_names, seconds=2.0)
    bag = RobotBag(sent.write(tmp_path / "bag"), SO101).read()
    state = (("joint_states", 0.4),)
    bag.chunks = [
        # Not the newest images, and the wrist is one frame ahead.
        chunk_of(("front", 0.4), ("wrist", 0.5), *state, stamp=0.4),
        chunk_of(("front", 0.43), ("wrist", 0.5), *state, stamp=0.43),
        chunk_of(("front", 0.4), ("wrist", 0.4), ("joint_states", 0.401), stamp=0.4),
        chunk_of(stamp=0.4),
        chunk_of(("front", 1.9), ("wrist", 1.9), ("joint_states", 1.9), stamp=1.9),
    ]
    found = list(chunk_observations(bag, SPEC))
    first = found[0].observation
    assert first is not None
    assert first.stamp_ns == ns(0.4)
    assert [int(first.images[view].max()) for view in ("front", "wrist")] == [4, 5]
    np.testing.assert_allclose(first.state["gripper"], 0.04)
    assert first.inputs == found[0].recorded.chunk.inputs
    assert [each.reason for each in found] == [
        "",
        "image_not_recorded",
        "joint_state_not_recorded",
        "no_inputs_stated",
        "",
    ]


def test_inputs_that_do_not_give_the_stated_observation_are_other_inputs(tmp_path: Path) -> None:
    sent = so101_inputs(SO101.joint_names, seconds=1.0)
    bag = RobotBag(sent.write(tmp_path / "bag"), SO101).read()
    state = [("joint_states", s) for s in (0.3, 0.4)]
    bag.chunks = [chunk_of(("front", 0.4), ("wrist", 0.4), *state, stamp=0.4)]
    assert [each.reason for each in chunk_observations(bag, SPEC)] == ["other_inputs"]


def test_a_malformed_image_rejects_the_observation_of_its_chunk(tmp_path: Path) -> None:
    sent = so101_inputs(SO101.joint_names, seconds=1.0)
    grey = image(ns(0.45), 0)
    grey.encoding = "mono8"
    sent.add("/front/image_raw", ns(0.451), grey)
    sent.add("/joint_states", ns(0.456), joint_state(ns(0.455), SO101.joint_names, [0.0] * 6))
    bag = RobotBag(sent.write(tmp_path / "bag"), SO101).read()
    bag.chunks = [chunk_of(("front", 0.45), ("wrist", 0.4), ("joint_states", 0.4), stamp=0.4)]
    assert [each.reason for each in chunk_observations(bag, SPEC)] == ["wrong_encoding"]


@pytest.mark.parametrize("interval", [0.05, 0.1, 0.35])
def test_the_number_of_intervals_follows_from_the_duration(tmp_path: Path, interval: float) -> None:
    found = places(so101_inputs(SO101.joint_names, seconds=2.0), tmp_path, interval=interval)
    assert [place.number for place in found] == list(range(len(found)))
    assert len(found) == pytest.approx(2.0 / interval, abs=1.5)
