# SPDX-License-Identifier: Apache-2.0
"""The policy: from an observation to a chunk, prefixes, and what is rejected."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from support.tiny_checkpoint import (
    HORIZON,
    TAG,
    WIDTHS,
    tiny_processor_config,
    tiny_statistics,
    write_tiny_checkpoint,
)
from support.tiny_policy import STATE, group_values, load, observation

from groot_ros.control.rtc import schedule
from groot_ros.core import ActionKind, MalformedError, Prefix, RtcMode, StampedInput
from groot_ros.core.config_reader import CheckpointError
from groot_ros.core.program import ModelInputs
from groot_ros.families.gr00t_n1d6.processor_config import save_processor
from groot_ros.policy import InferenceError, Policy
from groot_ros.processing.modality import ActionConfig, ActionFormat, ActionType, Representation
from groot_ros.robot import RobotContract
from groot_ros.runtime.engine import EngineResult


def test_a_chunk_states_its_origin(policy: Policy) -> None:
    inputs = (StampedInput("front", 4_990_000_000),)
    chunk = policy.infer(observation(inputs=inputs), seed=7)
    assert chunk.horizon == HORIZON
    assert chunk.stamp_ns == chunk.start_ns == 5_000_000_000
    assert chunk.dt == pytest.approx(1 / 30)
    assert (chunk.noise_seed, chunk.instruction) == (7, "Pick it up!")
    assert (chunk.embodiment, chunk.engine) == (TAG, "torch")
    assert chunk.inputs == inputs
    assert len(chunk.checkpoint_hash) == 64
    assert chunk.rtc_mode is RtcMode.OFF
    assert set(chunk.stage_seconds) == {"preprocess", "backbone", "head", "decode"}
    assert all(seconds > 0 for seconds in chunk.stage_seconds.values())


def test_the_policy_specifies_its_inputs_and_outputs(policy: Policy) -> None:
    assert policy.spec.views == ("front", "wrist")
    assert policy.spec.image_history == policy.spec.state_history == (0,)
    assert policy.spec.state_groups == policy.spec.action_groups == WIDTHS
    assert policy.spec.horizon == HORIZON
    assert policy.device == "cpu"
    assert policy.memory_bytes > 50_000


def test_the_same_seed_gives_the_same_chunk(policy: Policy) -> None:
    first, again, other = (policy.infer(observation(), seed=s) for s in (1, 1, 2))
    assert np.array_equal(group_values(first, "single_arm"), group_values(again, "single_arm"))
    assert not np.array_equal(group_values(first, "single_arm"), group_values(other, "single_arm"))


def test_the_seed_in_a_chunk_reproduces_it(policy: Policy) -> None:
    drawn = policy.infer(observation())
    again = policy.infer(observation(), seed=drawn.noise_seed)
    assert np.array_equal(group_values(drawn, "gripper"), group_values(again, "gripper"))


def test_warming_up_does_not_change_a_chunk(checkpoint: Path, policy: Policy) -> None:
    warm = load(checkpoint)
    warm.warm_up()
    a, b = warm.infer(observation(), seed=1), policy.infer(observation(), seed=1)
    assert np.array_equal(group_values(a, "single_arm"), group_values(b, "single_arm"))


def test_without_a_contract_columns_are_numbered_and_have_no_unit(policy: Policy) -> None:
    arm, gripper = policy.infer(observation(), seed=1).groups
    assert arm.names == tuple(f"single_arm_{i}" for i in range(5))
    assert arm.units == ("1",) * 5
    assert gripper.names == ("gripper_0",)


def test_with_a_contract_state_and_actions_are_si(checkpoint: Path, robot: RobotContract) -> None:
    without_robot = load(checkpoint)
    with_robot = load(checkpoint, robot=robot)
    si = {group: robot.state_to_si(group, v) for group, v in STATE.items()}
    expected = without_robot.infer(observation(), seed=3)
    chunk = with_robot.infer(observation(si), seed=3)
    arm, gripper = chunk.groups
    assert arm.names == robot.state_groups["single_arm"]
    assert (arm.kind, gripper.kind) == (ActionKind.JOINT_POSITION, ActionKind.GRIPPER)
    assert arm.units == ("rad",) * 5
    assert chunk.dt == robot.action_dt
    np.testing.assert_allclose(
        arm.values, np.deg2rad(group_values(expected, "single_arm")), atol=1e-6
    )
    np.testing.assert_allclose(
        gripper.values, robot.action_to_si("gripper", group_values(expected, "gripper")), atol=1e-6
    )


def test_a_state_wider_than_its_joints_is_rejected(checkpoint: Path, robot: RobotContract) -> None:
    policy = load(checkpoint, robot=robot)
    with pytest.raises(ValueError, match=r"group 'single_arm' must be \[T, 5\], not \[1, 6\]"):
        policy.infer(observation({**STATE, "single_arm": np.zeros((1, 6))}))


class BrokenEngine:
    name, device, memory_bytes = "broken", "cpu", 0

    def __init__(self, value: float, column: int) -> None:
        self.value, self.column = value, column

    def run(self, inputs: ModelInputs, steps: int) -> EngineResult:
        actions = np.zeros_like(inputs["noise"])
        actions[0, 3, self.column] = self.value
        return EngineResult({"next_actions": actions}, {"backbone": 0.1, "head": 0.1})


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_output_that_is_not_finite_is_rejected(policy: Policy, value: float) -> None:
    broken = Policy(policy.checkpoint, BrokenEngine(value, 2))
    with pytest.raises(InferenceError, match=r"first at step 3, column 2"):
        broken.infer(observation())


def test_unused_columns_may_be_not_finite(policy: Policy) -> None:
    odd = Policy(policy.checkpoint, BrokenEngine(np.nan, 7))
    assert odd.infer(observation()).horizon == HORIZON


def test_a_frozen_prefix_is_continued_in_the_units_of_the_robot(
    checkpoint: Path, robot: RobotContract
) -> None:
    policy = load(checkpoint, robot=robot)
    si = {group: robot.state_to_si(group, v) for group, v in STATE.items()}
    before = {
        "single_arm": np.deg2rad(np.linspace(12.0, 16.0, 4))[:, None].repeat(5, axis=1),
        "gripper": robot.action_to_si("gripper", np.full((4, 1), 30.0)),
    }
    ones, zeros = np.ones(4), np.zeros(4)
    prefix = Prefix(before, ones, zeros, zeros, ones, RtcMode.NATIVE, frozen_steps=4, id=9)
    chunk = policy.infer(observation(si), prefix, seed=1)
    np.testing.assert_allclose(
        group_values(chunk, "single_arm")[:4], before["single_arm"], atol=1e-6
    )
    np.testing.assert_allclose(group_values(chunk, "gripper")[:4], before["gripper"], atol=1e-6)
    assert (chunk.rtc_mode, chunk.frozen_steps, chunk.prefix_id) == (RtcMode.NATIVE, 4, 9)


@pytest.mark.slow
@pytest.mark.parametrize("mode", [RtcMode.NATIVE, RtcMode.GUIDED, RtcMode.TRAINED])
@pytest.mark.parametrize("reach", [0.2, 0.9])
def test_a_full_freeze_reproduces_committed_motion_for_any_new_state(
    checkpoint: Path, robot: RobotContract, mode: RtcMode, reach: float
) -> None:
    """Also for motion that is further from the new state than the statistics allow."""
    policy = load(checkpoint, robot=robot)
    t = np.arange(HORIZON)[:, None]
    before = {
        "single_arm": reach * np.sin(0.3 * t + np.arange(5)),
        "gripper": 0.4 + 0.1 * np.cos(0.5 * t),
    }
    si = {"single_arm": np.full((1, 5), 0.21), "gripper": np.full((1, 1), 0.5)}
    frozen = schedule(mode, HORIZON, HORIZON, HORIZON)
    prefix = Prefix(before, **vars(frozen), mode=mode, frozen_steps=HORIZON)
    for seed in (1, 2):
        chunk = policy.infer(observation(si), prefix, seed=seed)
        for group, committed in before.items():
            np.testing.assert_allclose(group_values(chunk, group), committed, rtol=0, atol=1e-6)


def test_guidance_pulls_guided_steps_closer_to_the_prefix(
    checkpoint: Path, robot: RobotContract
) -> None:
    policy = load(checkpoint, robot=robot)
    si = {group: robot.state_to_si(group, v) for group, v in STATE.items()}
    before = {"single_arm": np.full((6, 5), 0.3), "gripper": si["gripper"].repeat(6, axis=0)}
    guided = schedule(RtcMode.GUIDED, 6, 2, 5)
    prefix = Prefix(before, **vars(guided), mode=RtcMode.GUIDED, frozen_steps=2)

    def gap(given: Prefix | None) -> np.ndarray:
        arm = group_values(policy.infer(observation(si), given, seed=3), "single_arm")
        return np.abs(arm[:6] - before["single_arm"]).mean(axis=1)

    free, held = gap(None), gap(prefix)
    assert (held[:2] < 1e-6).all()
    assert held[2] < 0.2 * free[2]
    assert (held[3:5] < free[3:5]).all()
    assert free.min() > 0.01


def test_a_group_without_committed_motion_stays_free(
    checkpoint: Path, robot: RobotContract
) -> None:
    policy = load(checkpoint, robot=robot)
    si = {group: robot.state_to_si(group, v) for group, v in STATE.items()}
    frozen = schedule(RtcMode.NATIVE, 4, 4, 4)
    prefix = Prefix({"single_arm": np.full((4, 5), 0.25)}, **vars(frozen), frozen_steps=4)
    chunk = policy.infer(observation(si), prefix, seed=1)
    np.testing.assert_allclose(group_values(chunk, "single_arm")[:4], 0.25, atol=1e-6)
    assert np.ptp(group_values(chunk, "gripper")[:4]) > 1e-3


def test_a_prefix_longer_than_the_horizon_is_rejected(policy: Policy) -> None:
    n = HORIZON + 1
    too_long = Prefix(
        {"single_arm": np.zeros((n, 5)), "gripper": np.zeros((n, 1))}, *np.ones((4, n))
    )
    with pytest.raises(ValueError, match="has 9 steps, the horizon is 8"):
        policy.infer(observation(), too_long)


def test_a_prefix_is_rejected_by_a_family_that_cannot_continue_motion(policy: Policy) -> None:
    spec = replace(policy.spec, supports_prefix=False)
    checkpoint = SimpleNamespace(spec=spec, processor=policy.checkpoint.processor)
    prefix = Prefix({"single_arm": np.zeros((2, 5))}, *np.ones((4, 2)))
    with pytest.raises(ValueError, match=r"'gr00t_n1d6' cannot continue .* set rtc.mode to off"):
        Policy(checkpoint, policy.engine).infer(observation(), prefix)


def test_a_missing_camera_is_an_error_that_names_it(policy: Policy) -> None:
    one = {"front": observation().images["front"]}
    with pytest.raises(ValueError, match="camera 'wrist' is missing; given: front"):
        policy.infer(observation(images=one))


@pytest.mark.parametrize(
    ("state", "problem"),
    [
        ({"single_arm": STATE["single_arm"]}, "'gripper' is missing"),
        ({**STATE, "single_arm": np.zeros((2, 5))}, "'single_arm' has 2 steps, the checkpoint"),
        ({**STATE, "single_arm": np.zeros((1, 4))}, r"\[T, 5\], not \[1, 4\]"),
    ],
)
def test_a_wrong_state_is_an_error_naming_the_group(
    policy: Policy, state: dict, problem: str
) -> None:
    with pytest.raises(ValueError, match=problem):
        policy.infer(observation(state))


def test_an_observation_with_a_state_that_is_not_finite_is_rejected() -> None:
    with pytest.raises(MalformedError, match="non_finite"):
        observation({**STATE, "gripper": np.array([[np.nan]])})


def test_pose_groups_are_decoded_to_poses_of_one_link(tmp_path: Path) -> None:
    directory = write_tiny_checkpoint(tmp_path, max_action_dim=16, max_state_dim=16)
    config = tiny_processor_config(max_action_dim=16, max_state_dim=16)
    embodiment = config.embodiment(TAG)
    eef = ActionConfig(Representation.RELATIVE, ActionType.EEF, ActionFormat.XYZ_ROT6D)
    keys = ("eef", "gripper")
    embodiment = replace(
        embodiment,
        state=replace(embodiment.state, modality_keys=keys),
        action=replace(embodiment.action, modality_keys=keys, action_configs=(eef, ActionConfig())),
    )
    statistics = tiny_statistics()
    for modality, shape in (("state", (9,)), ("action", (9,)), ("relative_action", (HORIZON, 9))):
        limits = {"min": -1.0, "max": 1.0, "q01": -1.0, "q99": 1.0, "mean": 0.0, "std": 1.0}
        statistics[TAG][modality]["eef"] = {k: np.full(shape, v) for k, v in limits.items()}
    save_processor(replace(config, embodiments={TAG: embodiment}), statistics, directory)
    policy = load(directory)
    here = {"eef": np.array([[0, 0, 0, 1.0, 0, 0, 0, 1, 0]]), "gripper": STATE["gripper"]}
    pose, _ = policy.infer(observation(here), seed=1).groups
    assert pose.kind is ActionKind.POSE_XYZ_ROT6D
    assert pose.names == ("eef",)
    assert pose.values.shape == (HORIZON, 9)
    np.testing.assert_allclose(np.linalg.norm(pose.values[:, 3:6], axis=1), 1.0, atol=1e-6)


def test_spaced_action_steps_give_a_longer_dt(tmp_path: Path) -> None:
    directory = write_tiny_checkpoint(tmp_path)

    def with_deltas(deltas: tuple[int, ...]) -> Path:
        config = tiny_processor_config()
        embodiment = config.embodiment(TAG)
        action = replace(embodiment.action, delta_indices=deltas)
        config = replace(config, embodiments={TAG: replace(embodiment, action=action)})
        save_processor(config, tiny_statistics(), directory)
        return directory

    policy = load(with_deltas((1, 3, 5)), action_dt=0.1)
    chunk = policy.infer(observation(), seed=1)
    assert (chunk.horizon, chunk.dt) == (3, pytest.approx(0.2))
    assert chunk.start_ns - chunk.stamp_ns == 100_000_000
    with pytest.raises(CheckpointError, match="not evenly spaced"):
        load(with_deltas((0, 1, 3)))
