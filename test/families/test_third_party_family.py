# SPDX-License-Identifier: Apache-2.0
"""A model family of another package works in engines, commands and node without code changes."""

import json
from pathlib import Path

import numpy as np
import pytest
from support import toy_family
from support.input_bags import so101_inputs
from support.policy_stage import active, stages
from support.toy_family import GROUPS, HORIZON, SPEC, TAG, VIEWS, write_toy_checkpoint

from groot_ros.cli.main import main
from groot_ros.core import Observation, PolicyConfig, Prefix
from groot_ros.core.config_reader import CheckpointError
from groot_ros.core.messages import chunk_from_msg
from groot_ros.core.share import robot_path
from groot_ros.families.registry import family_names, find_family, get_family
from groot_ros.nodes.policy_node import load as load_in_node
from groot_ros.policy import Policy, load_policy
from groot_ros.robot import load_contract


@pytest.fixture(autouse=True)
def registered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    toy_family.register(tmp_path / "site")
    monkeypatch.syspath_prepend(tmp_path / "site")


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return write_toy_checkpoint(tmp_path / "toy")


@pytest.fixture
def seen(tmp_path: Path) -> Path:
    path = tmp_path / "seen.npz"
    observation = observe()
    images = {f"image.{view}": frames[0] for view, frames in observation.images.items()}
    state = {f"state.{group}": values[0] for group, values in observation.state.items()}
    np.savez(path, instruction="pick the cube", **images, **state)
    return path


def observe(seed: int = 0, instruction: str = "pick the cube") -> Observation:
    rng = np.random.default_rng(seed)
    images = {v: rng.integers(0, 256, (1, 24, 32, 3), dtype=np.uint8) for v in VIEWS}
    state = {group: rng.uniform(0.0, 50.0, (1, width)) for group, width in GROUPS.items()}
    return Observation(0, images, state, instruction)


def load(checkpoint: Path, engine: str, directory: Path | None = None, **more: object) -> Policy:
    return load_policy(
        PolicyConfig(
            checkpoint=str(checkpoint),
            embodiment=TAG,
            device="cpu",
            engine=engine,
            engine_directory="" if directory is None else str(directory),
            **more,
        )
    )


def values(policy: Policy, seed: int, instruction: str = "pick the cube") -> np.ndarray:
    chunk = policy.infer(observe(seed, instruction), seed=seed)
    return np.concatenate([group.values for group in chunk.groups], axis=1)


def export(checkpoint: Path, directory: Path) -> None:
    command = ["engine", "export", "--checkpoint", str(checkpoint), "--embodiment", TAG]
    assert main([*command, "--device", "cpu", "--engine-directory", str(directory)]) == 0


def test_the_registry_finds_it_by_its_entry_point(checkpoint: Path) -> None:
    assert "toy" in family_names()
    assert find_family(checkpoint) is toy_family.FAMILY
    assert get_family("toy").name == "toy"


def test_a_checkpoint_of_no_family_is_an_error_that_lists_what_was_looked_for(
    tmp_path: Path,
) -> None:
    with pytest.raises(CheckpointError) as error:
        find_family(tmp_path)
    assert "no model family recognises it" in str(error.value)
    assert "toy: toy.json" in str(error.value)


def test_a_checkpoint_of_two_families_is_an_error_that_names_both(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(get_family()), "matches", lambda self, path: True)
    with pytest.raises(CheckpointError, match=f"{get_family().name}, toy"):
        find_family(checkpoint)


def test_engine_torch_computes_what_the_reference_model_does(checkpoint: Path) -> None:
    torch, reference = load(checkpoint, "torch"), load(checkpoint, "reference")
    for seed in range(3):
        np.testing.assert_allclose(values(torch, seed), values(reference, seed), atol=1e-5)


def test_the_prompt_segment_runs_once_per_instruction(checkpoint: Path) -> None:
    policy = load(checkpoint, "torch")
    prompt = policy.engine.program.modules["prompt"]
    for seed in range(4):
        values(policy, seed)
    assert prompt.runs == 1
    values(policy, 0, "stop")
    values(policy, 1)
    assert prompt.runs == 2


def test_a_session_remembers_earlier_observations_until_reset(checkpoint: Path) -> None:
    policy = load(checkpoint, "torch")
    first = values(policy, 0)
    assert np.abs(values(policy, 0) - first).max() > 1e-4
    policy.reset()
    np.testing.assert_array_equal(values(policy, 0), first)


def test_a_family_without_prefixes_rejects_one(checkpoint: Path) -> None:
    policy = load(checkpoint, "torch")
    ones = np.ones(2)
    prefix = Prefix({"single_arm": np.zeros((2, 5))}, ones, ones, ones, ones)
    with pytest.raises(ValueError, match=r"cannot continue committed motion: set rtc.mode to off"):
        policy.infer(observe(), prefix)


@pytest.mark.slow
def test_exported_segments_validate_in_onnxruntime(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = tmp_path / "engine"
    export(checkpoint, directory)
    assert {path.stem for path in directory.glob("*.onnx")} == set(SPEC.names)
    policy = load(checkpoint, "onnxruntime", directory)
    assert policy.validation is not None
    assert policy.validation.error < 1e-5
    # A history and a prompt that are longer than at export.
    torch = load(checkpoint, "torch")
    for seed, text in enumerate(("go", "pick up the red cube now", "pick up the red cube now")):
        a, b = values(policy, seed, text), values(torch, seed, text)
        np.testing.assert_allclose(a, b, atol=1e-4)
    command = ["engine", "validate", "--engine-directory", str(directory), "--device", "cpu"]
    assert main([*command, "--engine", "onnxruntime", "torch"]) == 0
    out = capsys.readouterr().out
    assert out.count("VALIDATED: engine") == 2
    assert "NOT VALIDATED" not in out
    assert "observe" in out


@pytest.mark.slow
def test_a_changed_file_does_not_validate(checkpoint: Path, tmp_path: Path) -> None:
    export(checkpoint, tmp_path / "engine")
    path = tmp_path / "engine" / "act.onnx"
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(ValueError, match=r"segments.act.sha256"):
        load(checkpoint, "onnxruntime", tmp_path / "engine")


def test_inspect_shows_it(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", "--checkpoint", str(checkpoint), "--robot", "so101"]) == 0
    out = capsys.readouterr().out
    assert f"embodiment {TAG}" in out
    assert "fits robot so101" in out


def test_infer_runs_it(checkpoint: Path, seen: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["infer", "--checkpoint", str(checkpoint), "--embodiment", TAG]
    assert main([*command, "--observation", str(seen), "--device", "cpu", "--seed", "1"]) == 0
    out = capsys.readouterr().out
    assert f"{HORIZON} actions" in out
    with np.load(seen.with_name("seen_actions.npz")) as file:
        assert file["action.single_arm"].shape == (HORIZON, 5)


@pytest.fixture
def stage(ros_domain):
    yield from stages()


@pytest.mark.ros
def test_the_policy_node_runs_it(stage, checkpoint: Path) -> None:
    on = active(stage, load=load_in_node, checkpoint=checkpoint, embodiment=TAG)
    chunk = chunk_from_msg(on.chunks.wait(lambda m: m.id == 3))
    assert [(g.name, g.width) for g in chunk.groups] == list(GROUPS.items())
    assert chunk.engine == "torch"
    stages_of_chunk = ["snapshot", "preprocess", "prompt", "policy", "decode", "publish"]
    assert list(chunk.stage_seconds) == stages_of_chunk
    status = on.statuses.wait(lambda s: len(s.stages) > 0, after=len(on.statuses))
    assert [stage.name for stage in status.stages] == stages_of_chunk


@pytest.mark.ros
def test_the_policy_node_refuses_real_time_chunking_that_the_family_cannot_do(
    stage, checkpoint: Path
) -> None:
    on = stage(load=load_in_node, checkpoint=checkpoint, embodiment=TAG, **{"rtc.mode": "guided"})
    assert not on.configure()
    on.logs.wait(lambda m: "model family 'toy' cannot continue committed motion" in m.msg)


def test_evaluation_gives_each_seed_a_session_of_its_own(checkpoint: Path, tmp_path: Path) -> None:
    joints = load_contract(robot_path("so101")).joint_names
    bag = so101_inputs(joints, seconds=2.0).write(tmp_path / "bag")
    results = []
    for seeds in ("1", "2"):
        out = tmp_path / seeds
        options = ["--embodiment", TAG, "--robot", "so101", "--device", "cpu", "--seeds", seeds]
        own = ["--checkpoint", str(checkpoint), *options, "--out", str(out)]
        assert main(["evaluate", str(bag), *own]) == 0
        result = json.loads((out / "evaluation.json").read_text())
        results.append(result["policies"][0]["episodes"][0]["chunks"]["predicted"])
    # The observations of the second seed do not become the history of the first.
    assert results[0] == results[1]
