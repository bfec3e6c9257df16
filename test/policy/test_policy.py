"""The facade: from an observation to a chunk, and everything that may not become one."""

import json
from dataclasses import replace
from pathlib import Path

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

from groot_ros.control.rtc import schedule
from groot_ros.core import ActionKind, MalformedError, Observation, Prefix, RtcMode, StampedInput
from groot_ros.core.config_reader import CheckpointError
from groot_ros.policy import InferenceError, Policy, load_policy
from groot_ros.processing import (
    ActionConfig,
    ActionFormat,
    ActionType,
    Representation,
    save_processor,
)
from groot_ros.robot import RobotContract, load_contract
from groot_ros.runtime.engine import EngineResult

CONTRACT = Path(__file__).resolve().parents[1] / "config" / "robots" / "so101.yaml"
MODEL, VLM = "nvidia/GR00T-N1.6-3B", "nvidia/Eagle-Block2A-2B-v2"
STATE = {"single_arm": np.full((1, 5), 12.0), "gripper": np.full((1, 1), 50.0)}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_checkpoint(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture(scope="module")
def policy(checkpoint: Path) -> Policy:
    return load_policy(checkpoint, TAG, device="cpu")


@pytest.fixture(scope="module")
def robot() -> RobotContract:
    return load_contract(CONTRACT)


def observation(state: dict | None = None, **changes) -> Observation:
    rng = np.random.default_rng(0)
    images = {
        view: rng.integers(0, 256, (1, 48, 64, 3), dtype=np.uint8) for view in ("front", "wrist")
    }
    given = {
        "stamp_ns": 5_000_000_000,
        "images": images,
        "state": STATE if state is None else state,
        "instruction": "Pick it up!",
    }
    return Observation(**{**given, **changes})


def values(chunk, group: str) -> np.ndarray:
    return next(g.values for g in chunk.groups if g.name == group)


def test_a_chunk_says_where_it_comes_from(policy: Policy) -> None:
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


def test_the_policy_describes_what_it_needs(policy: Policy) -> None:
    assert policy.spec.views == ("front", "wrist")
    assert policy.history == {"video": (0,), "state": (0,)}
    assert policy.spec.state_groups == policy.spec.action_groups == WIDTHS
    assert policy.spec.horizon == HORIZON
    assert policy.device == "cpu"
    assert policy.memory_bytes > 50_000


def test_the_same_seed_gives_the_same_chunk(policy: Policy) -> None:
    first, again, other = (policy.infer(observation(), seed=s) for s in (1, 1, 2))
    assert np.array_equal(values(first, "single_arm"), values(again, "single_arm"))
    assert not np.array_equal(values(first, "single_arm"), values(other, "single_arm"))


def test_a_drawn_seed_reproduces_its_chunk(policy: Policy) -> None:
    drawn = policy.infer(observation())
    again = policy.infer(observation(), seed=drawn.noise_seed)
    assert np.array_equal(values(drawn, "gripper"), values(again, "gripper"))


def test_warming_up_does_not_move_a_chunk(checkpoint: Path, policy: Policy) -> None:
    warm = load_policy(checkpoint, TAG, device="cpu")
    warm.warm_up()
    a, b = warm.infer(observation(), seed=1), policy.infer(observation(), seed=1)
    assert np.array_equal(values(a, "single_arm"), values(b, "single_arm"))


def test_without_a_contract_columns_are_numbered_and_have_no_unit(policy: Policy) -> None:
    arm, gripper = policy.infer(observation(), seed=1).groups
    assert arm.names == tuple(f"single_arm_{i}" for i in range(5))
    assert arm.units == ("1",) * 5
    assert gripper.names == ("gripper_0",)


def test_with_a_contract_state_and_actions_are_si(checkpoint: Path, robot: RobotContract) -> None:
    plain = load_policy(checkpoint, TAG, device="cpu")
    with_robot = load_policy(checkpoint, TAG, device="cpu", robot=robot)
    si = {group: robot.to_si(group, v) for group, v in STATE.items()}
    expected = plain.infer(observation(), seed=3)
    chunk = with_robot.infer(observation(si), seed=3)
    arm, gripper = chunk.groups
    assert arm.names == robot.groups["single_arm"].joints
    assert (arm.kind, gripper.kind) == (ActionKind.JOINT_POSITION, ActionKind.GRIPPER)
    assert arm.units == ("rad",) * 5
    assert chunk.dt == robot.action_dt
    np.testing.assert_allclose(arm.values, np.deg2rad(values(expected, "single_arm")), atol=1e-6)
    np.testing.assert_allclose(
        gripper.values, robot.to_si("gripper", values(expected, "gripper")), atol=1e-6
    )


def test_a_state_wider_than_its_joints_is_rejected(checkpoint: Path, robot: RobotContract) -> None:
    policy = load_policy(checkpoint, TAG, device="cpu", robot=robot)
    with pytest.raises(ValueError, match=r"group 'single_arm' must be \[T, 5\], not \[1, 6\]"):
        policy.infer(observation({**STATE, "single_arm": np.zeros((1, 6))}))


def test_a_contract_without_counterparts_names_all_that_is_missing(
    checkpoint: Path, robot: RobotContract
) -> None:
    front = {"front": robot.cameras["front"]}
    wrong = replace(
        robot,
        cameras=front,
        groups={"single_arm": replace(robot.groups["single_arm"], joints=("shoulder_pan",))},
    )
    with pytest.raises(CheckpointError) as caught:
        load_policy(checkpoint, TAG, device="cpu", robot=wrong)
    message = str(caught.value)
    assert "\n" not in message
    for part in (
        "camera 'wrist' is not in the contract (it has front)",
        "state group 'single_arm' has 5 columns, the contract 1",
        "state group 'gripper' is not in the contract",
        "action group 'gripper' is not in the contract",
    ):
        assert part in message


class BrokenEngine:
    name, device, memory_bytes = "broken", "cpu", 0

    def __init__(self, value: float, column: int) -> None:
        self.value, self.column = value, column

    def run(self, inputs, noise, steps, prefix=None) -> EngineResult:
        actions = np.zeros_like(noise)
        actions[0, 3, self.column] = self.value
        return EngineResult(actions, 0.1, 0.1)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_output_that_is_not_finite_never_becomes_a_chunk(policy: Policy, value: float) -> None:
    broken = Policy(policy.processor, BrokenEngine(value, 2), policy.config)
    with pytest.raises(InferenceError, match=r"first at step 3, column 2"):
        broken.infer(observation())


def test_columns_that_are_not_used_may_hold_anything(policy: Policy) -> None:
    odd = Policy(policy.processor, BrokenEngine(np.nan, 7), policy.config)
    assert odd.infer(observation()).horizon == HORIZON


def test_a_frozen_prefix_is_continued_in_the_units_of_the_chunk(
    checkpoint: Path, robot: RobotContract
) -> None:
    policy = load_policy(checkpoint, TAG, device="cpu", robot=robot)
    si = {group: robot.to_si(group, v) for group, v in STATE.items()}
    before = {
        "single_arm": np.deg2rad(np.linspace(12.0, 16.0, 4))[:, None].repeat(5, axis=1),
        "gripper": robot.to_si("gripper", np.full((4, 1), 30.0)),
    }
    ones, zeros = np.ones(4), np.zeros(4)
    prefix = Prefix(before, ones, zeros, zeros, ones, RtcMode.NATIVE, frozen_steps=4, id=9)
    chunk = policy.infer(observation(si), prefix, seed=1)
    np.testing.assert_allclose(values(chunk, "single_arm")[:4], before["single_arm"], atol=1e-6)
    np.testing.assert_allclose(values(chunk, "gripper")[:4], before["gripper"], atol=1e-6)
    assert (chunk.rtc_mode, chunk.frozen_steps, chunk.prefix_id) == (RtcMode.NATIVE, 4, 9)


@pytest.mark.parametrize("mode", [RtcMode.NATIVE, RtcMode.GUIDED, RtcMode.TRAINED])
@pytest.mark.parametrize("reach", [0.2, 0.9])
def test_a_full_freeze_reproduces_committed_motion_whatever_the_new_state(
    checkpoint: Path, robot: RobotContract, mode: RtcMode, reach: float
) -> None:
    """Relative to the new state, and also where that is further than the statistics go."""
    policy = load_policy(checkpoint, TAG, device="cpu", robot=robot)
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
            np.testing.assert_allclose(values(chunk, group), committed, rtol=0, atol=1e-6)


def test_guidance_pulls_soft_steps_closer_and_leaves_the_rest_free(
    checkpoint: Path, robot: RobotContract
) -> None:
    policy = load_policy(checkpoint, TAG, device="cpu", robot=robot)
    si = {group: robot.to_si(group, v) for group, v in STATE.items()}
    before = {"single_arm": np.full((6, 5), 0.3), "gripper": si["gripper"].repeat(6, axis=0)}
    guided = schedule(RtcMode.GUIDED, 6, 2, 5)
    prefix = Prefix(before, **vars(guided), mode=RtcMode.GUIDED, frozen_steps=2)

    def gap(given: Prefix | None) -> np.ndarray:
        arm = values(policy.infer(observation(si), given, seed=3), "single_arm")
        return np.abs(arm[:6] - before["single_arm"]).mean(axis=1)

    free, held = gap(None), gap(prefix)
    assert (held[:2] < 1e-6).all()
    assert held[2] < 0.2 * free[2]
    assert (held[3:5] < free[3:5]).all()
    assert free.min() > 0.01


def test_a_group_that_nobody_committed_to_stays_free(
    checkpoint: Path, robot: RobotContract
) -> None:
    policy = load_policy(checkpoint, TAG, device="cpu", robot=robot)
    si = {group: robot.to_si(group, v) for group, v in STATE.items()}
    frozen = schedule(RtcMode.NATIVE, 4, 4, 4)
    prefix = Prefix({"single_arm": np.full((4, 5), 0.25)}, **vars(frozen), frozen_steps=4)
    chunk = policy.infer(observation(si), prefix, seed=1)
    np.testing.assert_allclose(values(chunk, "single_arm")[:4], 0.25, atol=1e-6)
    assert np.ptp(values(chunk, "gripper")[:4]) > 1e-3


def test_a_prefix_longer_than_the_horizon_is_rejected(policy: Policy) -> None:
    n = HORIZON + 1
    too_long = Prefix(
        {"single_arm": np.zeros((n, 5)), "gripper": np.zeros((n, 1))}, *np.ones((4, n))
    )
    with pytest.raises(ValueError, match="has 9 steps, the horizon is 8"):
        policy.infer(observation(), too_long)


def test_a_missing_camera_is_named(policy: Policy) -> None:
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
def test_a_state_that_does_not_fit_is_named(policy: Policy, state: dict, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        policy.infer(observation(state))


def test_a_state_that_is_not_finite_never_reaches_the_policy() -> None:
    with pytest.raises(MalformedError, match="non_finite"):
        observation({**STATE, "gripper": np.array([[np.nan]])})


def test_pose_groups_come_out_as_poses_of_one_link(tmp_path: Path) -> None:
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
    policy = load_policy(directory, TAG, device="cpu")
    here = {"eef": np.array([[0, 0, 0, 1.0, 0, 0, 0, 1, 0]]), "gripper": STATE["gripper"]}
    pose, _ = policy.infer(observation(here), seed=1).groups
    assert pose.kind is ActionKind.POSE_XYZ_ROT6D
    assert pose.names == ("eef",)
    assert pose.values.shape == (HORIZON, 9)
    np.testing.assert_allclose(np.linalg.norm(pose.values[:, 3:6], axis=1), 1.0, atol=1e-6)


def test_chunks_of_spaced_steps_have_a_longer_dt(tmp_path: Path) -> None:
    directory = write_tiny_checkpoint(tmp_path)

    def with_deltas(deltas: tuple[int, ...]) -> Path:
        config = tiny_processor_config()
        embodiment = config.embodiment(TAG)
        action = replace(embodiment.action, delta_indices=deltas)
        config = replace(config, embodiments={TAG: replace(embodiment, action=action)})
        save_processor(config, tiny_statistics(), directory)
        return directory

    policy = load_policy(with_deltas((1, 3, 5)), TAG, device="cpu", action_dt=0.1)
    chunk = policy.infer(observation(), seed=1)
    assert (chunk.horizon, chunk.dt) == (3, pytest.approx(0.2))
    assert chunk.start_ns - chunk.stamp_ns == 100_000_000
    with pytest.raises(CheckpointError, match="not evenly spaced"):
        load_policy(with_deltas((0, 1, 3)), TAG, device="cpu")


def test_progress_names_its_stages_and_ends_at_one(checkpoint: Path) -> None:
    seen: list[tuple[str, float]] = []
    load_policy(checkpoint, TAG, device="cpu", progress=lambda *step: seen.append(step))
    assert seen[0] == ("config", 0.0)
    assert seen[-1] == ("weights", 1.0)


def test_the_number_of_steps_can_be_chosen_at_load_and_later(checkpoint: Path) -> None:
    policy = load_policy(checkpoint, TAG, device="cpu", num_inference_steps=1)
    one = policy.infer(observation(), seed=1)
    policy.num_inference_steps = 4
    four = policy.infer(observation(), seed=1)
    assert not np.array_equal(values(one, "single_arm"), values(four, "single_arm"))


def test_a_closed_policy_holds_no_memory_and_says_so(checkpoint: Path) -> None:
    policy = load_policy(checkpoint, TAG, device="cpu")
    policy.close()
    assert policy.memory_bytes == 0
    with pytest.raises(RuntimeError, match="closed"):
        policy.infer(observation())


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"engine": "warp"}, "engine must be one of auto, torch, .*, plain, not 'warp'"),
        ({"dtype": "int3"}, "dtype must be one of auto, float32"),
        ({"num_inference_steps": 0}, "at least 1, not 0"),
    ],
)
def test_a_wrong_argument_lists_the_choices(
    checkpoint: Path, arguments: dict, problem: str
) -> None:
    with pytest.raises(ValueError, match=problem):
        load_policy(checkpoint, TAG, **arguments)


def test_a_wrong_tag_lists_the_valid_ones(checkpoint: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no embodiment 'gr1' \(valid: new_embodiment\)"):
        load_policy(checkpoint, "gr1")


def test_a_hub_id_means_what_was_downloaded_before(
    tmp_path: Path, policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the hub's own client leaves it: links into a folder of blobs, the VLM apart."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    names = {"config.json": MODEL, "eagle_config.json": VLM, "vocab.json": VLM}
    names |= {"merges.txt": VLM, "added_tokens.json": VLM}
    for number, file in enumerate(sorted(write_tiny_checkpoint(tmp_path / "made").iterdir())):
        repository = tmp_path / f"models--{names.get(file.name, MODEL).replace('/', '--')}"
        for part in ("blobs", "refs", "snapshots/abc"):
            (repository / part).mkdir(parents=True, exist_ok=True)
        (repository / "refs" / "main").write_text("abc")
        file.rename(repository / "blobs" / str(number))
        name = file.name.replace("eagle_config", "config")
        (repository / "snapshots" / "abc" / name).symlink_to(f"../../blobs/{number}")
    found = load_policy(MODEL, TAG, device="cpu")
    assert found.checkpoint_hash == policy.checkpoint_hash
    a, b = (p.infer(observation(), seed=1) for p in (found, policy))
    assert np.array_equal(values(a, "single_arm"), values(b, "single_arm"))


@pytest.mark.parametrize(
    ("file", "change", "problem"),
    [
        ("embodiment_id.json", {TAG: 12}, "'new_embodiment' is 12, max_num_embodiments in config"),
        ("config.json", {"model_type": "gr00t_n1_5"}, "'model_type' is 'gr00t_n1_5'"),
        ("eagle_config.json", {"image_token_index": 3}, "'image_token_index' is 3, the tokenizer"),
    ],
)
def test_files_that_disagree_are_named(
    tmp_path: Path, file: str, change: dict, problem: str
) -> None:
    path = write_tiny_checkpoint(tmp_path) / file
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(CheckpointError, match=problem) as caught:
        load_policy(tmp_path, TAG, device="cpu")
    assert str(path) in str(caught.value)


def test_another_model_type_is_said_before_its_assets_are_missed(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "gr00t_n1_5"}))
    with pytest.raises(CheckpointError, match="only 'Gr00tN1d6' is supported"):
        load_policy(tmp_path, TAG)


def test_a_processor_of_other_sizes_than_the_model_is_rejected(tmp_path: Path) -> None:
    write_tiny_checkpoint(tmp_path)
    save_processor(tiny_processor_config(max_action_dim=9), tiny_statistics(), tmp_path)
    with pytest.raises(CheckpointError, match=r"'max_action_dim' is 9, config\.json says 8"):
        load_policy(tmp_path, TAG, device="cpu")
