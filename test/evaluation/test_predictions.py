# SPDX-License-Identifier: Apache-2.0
"""Errors of a policy whose chunks are known: what is compared, and how it is counted."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.input_bags import START, BagOf, so101_inputs, trajectory

from groot_ros.bags.recording import RobotBag
from groot_ros.core import ActionChunk, ActionGroup, ActionKind, Observation
from groot_ros.core.share import robot_path
from groot_ros.evaluation.prediction_errors import (
    blocks_of,
    compared,
    interval,
    joint_errors,
    over_joints,
)
from groot_ros.evaluation.predictions import MOTION, BagRecording, EpisodePredictions, predict
from groot_ros.observation.spec import SyncTolerances
from groot_ros.policy import InferenceError
from groot_ros.robot import load_contract

SO101 = load_contract(robot_path("so101"))
ARM = SO101.controllers[0].joints
HORIZON, DT = 4, 0.1


class KnownPolicy:
    """A policy whose step i is the observed position plus `offset(i, seed)`."""

    spec = SimpleNamespace(
        views=("front", "wrist"),
        labels=(),
        state_groups={"single_arm": 5, "gripper": 1},
        image_history=(0,),
        state_history=(0,),
    )

    def __init__(self, offset: Callable[[int, int], float], fails_at: float = np.inf) -> None:
        self._offset = offset
        self._fails_at = fails_at
        self.sessions: list[list[int]] = []

    def new_session(self) -> list[int]:
        self.sessions.append([])
        return self.sessions[-1]

    def infer(
        self, observation: Observation, prefix: None, seed: int, session: list[int]
    ) -> ActionChunk:
        if (observation.stamp_ns - START) / 1e9 >= self._fails_at:
            raise InferenceError("the model's output is not finite")
        session.append(observation.stamp_ns)
        offsets = np.array([self._offset(i, seed) for i in range(HORIZON)])[:, None]
        groups = tuple(
            ActionGroup(
                ActionKind.JOINT_POSITION,
                name,
                SO101.state_groups[name],
                ("rad",) * width,
                observation.state[name][-1] + offsets,
            )
            for name, width in self.spec.state_groups.items()
        )
        return ActionChunk(observation.stamp_ns, observation.stamp_ns, DT, groups)


def ns(seconds: float) -> int:
    return START + round(seconds * 1e9)


def evaluated(sent: BagOf, path: Path, policy: KnownPolicy, **options) -> EpisodePredictions:
    if not path.exists():
        sent.write(path)
    given = {"seeds": (0, 1), "interval": 0.2, "tolerances": SyncTolerances(), "name": "run"}
    recording = BagRecording(RobotBag(path, SO101))
    return predict(recording, policy, **{**given, **options})  # type: ignore[arg-type]


def test_a_perfect_policy_has_no_error_against_the_motion(tmp_path: Path) -> None:
    # All joints move by 0.1 rad/s.
    sent = so101_inputs(SO101.joint_names, seconds=3.0)
    episode = evaluated(sent, tmp_path / "bag", KnownPolicy(lambda step, _: 0.1 * DT * step))
    assert set(episode.sources) == {MOTION}
    errors = joint_errors([episode])
    assert set(errors) == set(SO101.joint_names)
    summary = errors["elbow_flex"].summary()
    assert summary["error"] == pytest.approx(0.0, abs=1e-9)
    np.testing.assert_allclose(summary["hold_by_step"], [0.0, 0.01, 0.02, 0.03], atol=1e-9)
    assert summary["repeat"] is None
    assert summary["seed_spread"] == pytest.approx(0.0, abs=1e-12)
    # The last chunks reach beyond the bag.
    assert summary["steps_without_reference"] > 0
    assert summary["compared_steps"] == HORIZON * 15 - summary["steps_without_reference"]


def test_errors_and_spread_of_known_offsets(tmp_path: Path) -> None:
    sent = so101_inputs(SO101.joint_names, seconds=3.0, position=lambda _: 0.5)
    policy = KnownPolicy(lambda step, seed: 0.01 * step + 0.2 * seed)
    summary = joint_errors([evaluated(sent, tmp_path / "bag", policy)])["gripper"].summary()
    np.testing.assert_allclose(summary["by_step"], [0.1, 0.11, 0.12, 0.13], atol=1e-9)
    np.testing.assert_allclose(summary["spread_by_step"], [0.1] * 4, atol=1e-9)
    low, high = summary["interval"]
    assert low <= summary["error"] <= high
    first, second = summary["seed_errors"]
    assert second - first == pytest.approx(0.2, abs=1e-9)


def test_commands_are_the_reference_where_a_joint_has_some(tmp_path: Path) -> None:
    sent = so101_inputs(SO101.joint_names, seconds=2.0, position=lambda _: 0.0)
    topic = "/arm_controller/joint_trajectory"
    sent.add(topic, ns(0.0), trajectory(0, ARM, [(0.0, [0.0] * 5), (2.0, [1.0] * 5)]))
    policy = KnownPolicy(lambda step, _: 0.0)
    episode = evaluated(sent, tmp_path / "bag", policy)
    sources = dict(zip(episode.joints, episode.sources, strict=True))
    assert sources["wrist_roll"] == "arm_controller/joint_trajectory"
    assert sources["gripper"] == MOTION
    arm = joint_errors([episode])["wrist_roll"]
    # The command at 1.0 s is 0.5, and rises by 0.05 in each step.
    at = int(np.argmin(np.abs(episode.times - 1.0)))
    started = 0.5 * episode.times[at]
    np.testing.assert_allclose(arm.error[at, 0], started + 0.05 * np.arange(4), atol=1e-6)
    np.testing.assert_allclose(arm.repeat[at], 0.05 * np.arange(4), atol=1e-6)
    motion = evaluated(sent, tmp_path / "bag", policy, reference="motion")
    assert set(motion.sources) == {MOTION}
    assert joint_errors([motion])["wrist_roll"].summary()["error"] == pytest.approx(0.0, abs=1e-9)
    only = evaluated(sent, tmp_path / "bag", policy, reference="commands")
    assert only.joints == ARM


def test_commands_that_are_not_recorded_are_an_error_that_names_the_way_out(
    tmp_path: Path,
) -> None:
    sent = so101_inputs(SO101.joint_names, seconds=1.0)
    with pytest.raises(ValueError, match=r"has no commands: name the topic .* --leader"):
        evaluated(sent, tmp_path / "bag", KnownPolicy(lambda *_: 0.0), reference="commands")


def test_intervals_without_a_chunk_are_counted_apart_from_errors(tmp_path: Path) -> None:
    sent = so101_inputs(SO101.joint_names, seconds=3.0, position=lambda _: 0.0)
    gone = {("/wrist/image_raw", ns(0.1 * i + 0.001)) for i in range(8, 20)}
    sent.sent = [each for each in sent.sent if (each[1], each[0]) not in gone]
    episode = evaluated(sent, tmp_path / "bag", KnownPolicy(lambda *_: 0.25, fails_at=2.5))
    assert episode.missing == {"stale_image": 5, "inference_error": 2}
    assert len(episode.numbers) == 15 - 7
    assert joint_errors([episode])["gripper"].summary()["error"] == pytest.approx(0.25)


def test_each_seed_has_its_own_session_from_the_first_place_on(tmp_path: Path) -> None:
    policy = KnownPolicy(lambda *_: 0.0)
    evaluated(so101_inputs(SO101.joint_names, seconds=1.0), tmp_path / "bag", policy)
    assert len(policy.sessions) == 2
    assert policy.sessions[0] == policy.sessions[1]
    assert len(policy.sessions[0]) == 5


def test_a_recording_without_any_observation_is_an_error_with_the_reason(tmp_path: Path) -> None:
    sent = so101_inputs(SO101.joint_names[:-1], seconds=1.0)
    with pytest.raises(ValueError, match=r"no place .* missing_joint, .*gripper"):
        evaluated(sent, tmp_path / "bag", KnownPolicy(lambda *_: 0.0))


def test_a_continuous_joint_is_never_more_than_half_a_turn_off() -> None:
    episode = predictions(np.full((1, 1, 2, 1), 3.0), recorded=-3.0, endless=True)
    error = joint_errors([episode])["j"].summary()["error"]
    assert error == pytest.approx(2 * np.pi - 6.0)


def predictions(
    predicted: np.ndarray, *, recorded: float = 0.0, endless: bool = False, name: str = "run"
) -> EpisodePredictions:
    places, _, horizon, joints = predicted.shape
    assert joints == 1
    return EpisodePredictions(
        name,
        ("j",),
        ("rad",),
        (MOTION,),
        (endless,),
        0.1,
        np.arange(places),
        0.2 * np.arange(places),
        predicted,
        np.full((places, horizon, 1), recorded),
        np.zeros((places, 1)),
        np.full((places, 1), np.nan),
    )


def test_two_policies_are_compared_at_the_places_that_both_have() -> None:
    rng = np.random.default_rng(0)
    worse = rng.normal(0.3, 0.01, (40, 1, 2, 1))
    better = 0.5 * worse
    better[7, 0, 1, 0] = -1.0
    fewer = predictions(better)
    fewer.numbers, fewer.times = fewer.numbers[5:], fewer.times[5:]
    fewer.predicted, fewer.recorded = fewer.predicted[5:], fewer.recorded[5:]
    found = compared([predictions(worse)], [fewer])
    assert found["places"] == 35
    own = found["joints"]["j"]
    low, high = own["interval"]
    assert low < own["difference"] < high < 0
    assert own["difference"] == pytest.approx(-0.15 + 1 / 70, abs=0.01)
    largest = found["largest"]
    assert (largest["joint"], largest["step"], largest["time"]) == ("j", 1, pytest.approx(1.4))
    assert largest["value"] == pytest.approx(1.0 + worse[7, 0, 1, 0])
    elsewhere = compared([predictions(worse)], [predictions(worse, name="other")])
    assert elsewhere == {"joints": {}, "largest": None, "places": 0}


def test_neighbouring_places_form_one_block_and_episodes_do_not_share_one() -> None:
    episode = predictions(np.zeros((6, 1, 4, 1)))
    assert blocks_of(episode).tolist() == [0, 0, 1, 1, 2, 2]
    joined = joint_errors([episode, predictions(np.zeros((2, 1, 4, 1)), name="second")])["j"]
    assert joined.blocks.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert over_joints({"j": joined})["rad"]["error"] == 0.0


@given(
    values=st.lists(st.floats(-5, 5), min_size=2, max_size=30),
    shift=st.floats(-3, 3),
    repeats=st.integers(1, 3),
)
def test_the_interval_contains_means_of_blocks_and_moves_with_the_values(
    values: list[float], shift: float, repeats: int
) -> None:
    column = np.repeat(np.array(values), repeats)[:, None]
    blocks = np.repeat(np.arange(len(values)), repeats)
    low, high = interval(column, blocks) or (np.nan, np.nan)
    assert min(values) - 1e-9 <= low <= high <= max(values) + 1e-9
    moved = interval(column + shift, blocks)
    np.testing.assert_allclose(moved, [low + shift, high + shift], atol=1e-9)


def test_one_block_has_no_interval_and_missing_values_do_not_count() -> None:
    assert interval(np.ones((5, 3)), np.zeros(5, dtype=int)) is None
    values = np.array([[1.0, np.nan], [np.nan, np.nan], [1.0, 1.0]])
    assert interval(values, np.arange(3)) == [1.0, 1.0]
