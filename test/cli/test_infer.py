# SPDX-License-Identifier: Apache-2.0
"""`groot-ros infer`: actions from a file, as the policy itself gives them."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from support.tiny_checkpoint import HORIZON, TAG, write_tiny_checkpoint
from support.tiny_policy import load

from groot_ros.cli.main import main
from groot_ros.core.share import robot_path
from groot_ros.processing.observation_file import read_observation, read_observations
from groot_ros.robot import load_contract
from groot_ros.runtime.engine import EngineResult, TensorRtError
from groot_ros.runtime.program_engine import ProgramEngine


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_checkpoint(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture
def seen(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    path = tmp_path / "seen.npz"
    images = {
        f"image.{view}": rng.integers(0, 256, (48, 64, 3), np.uint8) for view in ("front", "wrist")
    }
    np.savez(path, **images, **{"state.single_arm": np.full(5, 0.2), "state.gripper": [0.5]})
    return path


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def infer(checkpoint: Path, seen: Path, *more: str) -> int:
    given = ["--checkpoint", str(checkpoint), "--embodiment", TAG, "--observation", str(seen)]
    return main(["infer", *given, "--device", "cpu", "--instruction", "go", *more])


def test_the_actions_are_the_policy_s_printed_and_saved(
    checkpoint: Path, seen: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "actions"
    assert infer(checkpoint, seen, "--seed", "7", "--out", str(out)) == 0
    policy = load(checkpoint)
    chunk = policy.infer(read_observation(seen, instruction="go"), seed=7)
    saved = np.load(out)
    for group in chunk.groups:
        assert np.array_equal(saved[f"action.{group.name}"], group.values)
    assert (float(saved["dt"]), int(saved["seed"])) == (chunk.dt, 7)
    assert str(saved["checkpoint"]) == chunk.checkpoint_hash
    text = capsys.readouterr().out
    last = [f"{HORIZON - 1}", f"{(HORIZON - 1) * chunk.dt:.3f}"]
    last += [f"{value:.4f}" for value in chunk.groups[0].values[-1]]
    assert last in [line.split() for line in text.splitlines()]
    for stage in ("preprocess", "backbone", "head", "decode", "total"):
        assert f"\n{stage}" in text


def test_with_a_robot_joints_have_their_names_and_si_units(
    checkpoint: Path, seen: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert infer(checkpoint, seen, "--robot", "so101", "--seed", "7") == 0
    saved = np.load(seen.with_name("seen_actions.npz"))
    robot = load_contract(robot_path("so101"))
    assert tuple(saved["names.single_arm"]) == robot.state_groups["single_arm"]
    assert set(saved["units.single_arm"]) == {"rad"}
    policy = load(checkpoint, robot=robot)
    expected = policy.infer(read_observation(seen, instruction="go"), seed=7)
    assert np.array_equal(saved["action.gripper"], expected.groups[1].values)
    assert "shoulder_pan" in capsys.readouterr().out


def test_other_steps_and_a_drawn_seed_are_printed(
    checkpoint: Path, seen: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert infer(checkpoint, seen, "--steps", "2", "--runs", "2") == 0
    text = capsys.readouterr().out
    seed = int(np.load(seen.with_name("seen_actions.npz"))["seed"])
    assert f"'go', seed {seed}, 2 denoising steps, {HORIZON} actions every 0.03333 s" in text


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        (["--embodiment", "gr1"], "has no embodiment 'gr1' (valid: new_embodiment)"),
        (["--robot", "r2d2"], "robot contract 'r2d2': no such file"),
        (["--checkpoint", "/nowhere"], "checkpoint /nowhere: no such directory"),
        (["--observation", "/nowhere.npz"], "/nowhere.npz: no such file"),
        (["--dtype", "int3"], "dtype must be one of"),
        (["--device", "toaster"], "device 'toaster' is unknown to torch"),
        (["--runs", "0"], "--runs must be at least 1, not 0"),
        (["--seed", "-1"], "--seed must be from 0 to 2**63 - 1, not -1"),
        (["--sample", "3"], "holds no batch, so no sample 3 can be chosen"),
        (["--steps", "-1"], "--steps must be from 0 to 100, not -1"),
        (["--steps", "101"], "--steps must be from 0 to 100, not 101"),
        (["--threads", "-1"], "--threads must be from 0 to "),
        (["--threads", "99999999"], "--threads must be from 0 to "),
        (["--instruction", "a" * 2001], "the instruction has 2001 characters, at most 2000"),
        (["--instruction", "a\udc80"], "its character 1 is half of a surrogate pair (U+DC80)"),
        (["--out", "/nowhere/x.npz"], "--out /nowhere/x.npz: no such directory /nowhere"),
        (["--out", "/"], "--out /: is a directory"),
        (["--backbone-assets", "/nowhere"], "backbone_assets /nowhere: no such directory"),
    ],
)
def test_wrong_use_is_one_line(
    checkpoint: Path,
    seen: Path,
    more: list[str],
    problem: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert infer(checkpoint, seen, *more) == 2
    error = capsys.readouterr().err
    assert problem in error
    assert [line for line in error.splitlines() if "groot-ros" in line] == [error.splitlines()[-1]]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"image.wrist": None}, "camera 'wrist' is missing; given: front, side"),
        (
            {"image.wrist": np.zeros((1, 2000, 3), np.uint8)},
            "camera 'wrist': a frame of 1 x 2000 becomes 56 x ",
        ),
        ({"state.gripper": [1e39]}, "'gripper' column 0 is 1e+39: too large for float32"),
        ({"state.gripper": None}, "state group 'gripper' is missing; given: single_arm"),
        ({"state.gripper": [np.inf]}, "state 'gripper'[0, 0] is inf"),
        ({"state.single_arm": np.zeros((2, 5))}, "has 2 steps, the checkpoint takes 1"),
        ({"state.single_arm": np.zeros(4)}, "state group 'single_arm' must be [T, 5], not [1, 4]"),
    ],
)
def test_an_observation_that_does_not_fit_names_the_file_and_the_key(
    checkpoint: Path,
    seen: Path,
    changes: dict,
    problem: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    arrays = {**np.load(seen), "image.side": np.zeros((4, 4, 3), np.uint8), **changes}
    np.savez(seen, **{key: value for key, value in arrays.items() if value is not None})
    assert infer(checkpoint, seen) == 2
    error = capsys.readouterr().err
    assert f"groot-ros infer: {seen}: " in error
    assert problem in error


def test_surplus_inputs_are_named(
    checkpoint: Path, seen: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    extra = {"image.side": np.zeros((48, 64, 3), np.uint8), "state.leg": np.zeros(2)}
    np.savez(seen, **np.load(seen), **extra)
    assert infer(checkpoint, seen) == 0
    expected = "not an input of this checkpoint, ignored: image.side, state.leg"
    assert expected in capsys.readouterr().out


def test_a_state_far_outside_is_warned_about_once_and_clipped(
    checkpoint: Path, seen: Path, caplog: pytest.LogCaptureFixture
) -> None:
    arrays, saved = dict(np.load(seen)), []
    for value in (100.0, 5000.0):
        np.savez(seen, **{**arrays, "state.gripper": [value]})
        assert infer(checkpoint, seen, "--runs", "2", "--seed", "1") == 0
        saved.append(np.load(seen.with_name("seen_actions.npz"))["action.gripper"])
    assert np.array_equal(*saved)
    assert [record.getMessage() for record in caplog.records] == [
        "state 'gripper' column 0 is 5000, far outside the training data; "
        "check units and calibration (reported once)"
    ]


def test_output_that_is_not_finite_is_never_saved(
    checkpoint: Path,
    seen: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def broken(*_: object) -> EngineResult:
        actions = np.full((1, HORIZON, 8), np.nan, np.float32)
        return EngineResult({"next_actions": actions}, {"backbone": 0.1, "head": 0.1})

    monkeypatch.setattr(ProgramEngine, "run", broken)
    assert infer(checkpoint, seen) == 1
    assert "the model's output is not finite" in capsys.readouterr().err
    assert not seen.with_name("seen_actions.npz").exists()


@pytest.mark.parametrize(
    ("failure", "line"),
    [
        (TensorRtError("denoise.plan: out of memory"), "groot-ros infer: denoise.plan: out of mem"),
        (ValueError("built for smaller images"), "seen.npz: built for smaller images"),
    ],
)
def test_a_rejection_by_the_engine_is_one_line_that_names_the_right_file(
    checkpoint: Path,
    seen: Path,
    failure: Exception,
    line: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def reject(*_: object) -> EngineResult:
        raise failure

    monkeypatch.setattr(ProgramEngine, "run", reject)
    assert infer(checkpoint, seen) == 2
    error = capsys.readouterr().err.splitlines()
    assert line in error[-1]
    assert "Traceback" not in "".join(error)


def test_a_small_model_uses_one_thread_unless_another_number_is_requested(
    checkpoint: Path, seen: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.set_num_threads(2)
    assert infer(checkpoint, seen) == 0
    assert torch.get_num_threads() == 1
    monkeypatch.setattr("groot_ros.runtime.device.SMALL_MODEL", 0)
    assert infer(checkpoint, seen) == 0
    assert torch.get_num_threads() == len(os.sched_getaffinity(0))
    assert infer(checkpoint, seen, "--threads", "3") == 0
    assert torch.get_num_threads() == 3


def test_zero_threads_and_steps_stand_for_the_defaults(
    checkpoint: Path, seen: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.set_num_threads(2)
    assert infer(checkpoint, seen, "--threads", "0", "--steps", "0") == 0
    assert torch.get_num_threads() == 1
    assert ", 4 denoising steps, " in capsys.readouterr().out


def test_actions_beyond_the_contract_s_limits_are_warned_about(
    checkpoint: Path, seen: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert infer(checkpoint, seen, "--robot", "so101", "--seed", "7") == 0
    assert "warning" not in capsys.readouterr().err
    wide = write_tiny_checkpoint(tmp_path / "wide")
    path = wide / "statistics.json"
    statistics = json.loads(path.read_text())
    gripper = statistics[TAG]["action"]["gripper"]
    gripper["min"], gripper["max"] = [1e6], [2e6]
    path.write_text(json.dumps(statistics))
    assert infer(wide, seen, "--robot", "so101", "--seed", "7") == 0
    values = np.load(seen.with_name("seen_actions.npz"))["action.gripper"]
    warned = [line for line in capsys.readouterr().err.splitlines() if "warning" in line]
    assert warned == [
        "groot-ros infer: warning: actions leave the limits of robot so101: "
        f"gripper {values.max():.3f} rad (-0.170 to 1.750)"
    ]
    assert infer(wide, seen, "--seed", "7") == 0
    assert "warning" not in capsys.readouterr().err


def test_the_observation_is_never_overwritten(
    checkpoint: Path, seen: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = seen.read_bytes()
    for out in (seen, tmp_path / "." / "seen.npz"):
        assert infer(checkpoint, seen, "--out", str(out)) == 2
        assert "is the observation itself" in capsys.readouterr().err
    assert seen.read_bytes() == before


def test_a_file_of_saved_actions_is_not_taken_for_an_observation(
    checkpoint: Path, seen: Path
) -> None:
    assert infer(checkpoint, seen) == 0
    assert len(list(seen.parent.glob("*.npz"))) == 2
    found = read_observations(seen.parent, instruction="go")
    assert [set(o.images) for o in found] == [{"front", "wrist"}]
    with pytest.raises(ValueError, match="these are actions saved by groot-ros infer"):
        read_observation(seen.with_name("seen_actions.npz"))


def test_more_steps_than_any_checkpoint_takes_are_rejected_by_file_and_key(
    tmp_path: Path, seen: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = write_tiny_checkpoint(tmp_path / "many", num_inference_timesteps=10**9)
    assert infer(checkpoint, seen) == 2
    expected = f"{checkpoint / 'config.json'}: 'num_inference_timesteps' must be at most 100"
    assert expected in capsys.readouterr().err
    assert main(["inspect", "--checkpoint", str(checkpoint)]) == 1
