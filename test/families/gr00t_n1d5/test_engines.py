# SPDX-License-Identifier: Apache-2.0
"""Engines on GR00T N1.5: staged model and exported files against the reference model, the CLI."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from support.tiny_n1d5 import ARMS, BIMANUAL, HORIZON, TAG, write_tiny_n1d5

from groot_ros.cli.main import main
from groot_ros.core import PolicyConfig, Prefix
from groot_ros.core.config_reader import CheckpointError
from groot_ros.export.export_engine import ExportOptions, export_engine
from groot_ros.export.reference_cases import synthetic_observations
from groot_ros.layers.dit import DiTConfig
from groot_ros.policy import Policy, load_policy
from groot_ros.runtime.manifest import Manifest
from groot_ros.runtime.reference_outputs import ReferenceOutputs

STEPS = (4, 3)
#: One layer of each kind, as the time of an export grows with their number. The staged model is
#: compared with the reference at full depth.
SHALLOW = {
    "layers": 1,
    "dit": DiTConfig(num_layers=2, num_attention_heads=2, attention_head_dim=8, output_dim=16),
    "vl_self_attention": DiTConfig(num_layers=1, num_attention_heads=3, attention_head_dim=4),
}
SIZE = (48, 64)


def load(checkpoint: Path, engine: str, directory: Path | str = "") -> Policy:
    return load_policy(
        PolicyConfig(
            checkpoint=str(checkpoint),
            embodiment=TAG,
            engine=engine,
            engine_directory=str(directory),
            device="cpu",
            dtype="float32",
        )
    )


def actions(policy: Policy, inputs: dict, steps: int) -> np.ndarray:
    return policy.engine.run(inputs, steps).outputs["next_actions"]


def inputs_of(policy: Policy, seed: int, words: int = 3) -> dict:
    (seen,) = synthetic_observations(policy, 1, size=SIZE, seed=seed)
    processor = policy.checkpoint.processor
    observation = replace(seen, instruction="pick " * words)
    return {**policy.encode(observation)[0], **processor.draw(seed)}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("bimanual", "changes"),
    [
        (None, {}),
        (None, {"add_pos_embed": False, "future_tokens": 0}),
        (None, {"use_vlln": False}),
        (BIMANUAL, {}),
        (replace(BIMANUAL, cross=False), {}),
        (replace(BIMANUAL, shared=False), {}),
        (replace(BIMANUAL, split=False), {}),
    ],
)
def test_the_staged_model_gives_the_actions_of_the_reference(
    tmp_path: Path, bimanual, changes: dict
) -> None:
    checkpoint = write_tiny_n1d5(tmp_path, bimanual, **changes)
    reference, staged = (load(checkpoint, engine) for engine in ("reference", "torch"))
    for seed, steps in ((1, 1), (2, 4)):
        inputs = inputs_of(reference, seed, words=seed * 5)
        prefix = reference.checkpoint.processor.draw_prefix(seed)
        for given in (inputs, {**inputs, **prefix}):
            expected = actions(reference, given, steps)
            np.testing.assert_allclose(actions(staged, given, steps), expected, atol=2e-5)
        with_prefix = actions(staged, {**inputs, **prefix}, steps)
        frozen = prefix["start"] == 1
        np.testing.assert_array_equal(with_prefix[frozen], prefix["prefix"][frozen])


@pytest.fixture(scope="module")
def bimanual(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_n1d5(tmp_path_factory.mktemp("bimanual"), BIMANUAL)


@pytest.mark.slow
def test_frozen_steps_decode_to_the_committed_motion_and_guided_ones_come_close(
    bimanual: Path,
) -> None:
    policy = load(bimanual, "torch")
    (seen,) = synthetic_observations(policy, 1, size=SIZE)
    committed = {
        group: np.full((5, width), 0.1 * (1 + n)) for n, (group, width) in enumerate(ARMS.items())
    }
    # Outside the statistics, and not clipped.
    committed["left_arm"][:, 3] = 1.5
    ones, frozen = np.ones(5), np.array([1.0, 1, 0, 0, 0])

    def chunk(prefix: Prefix | None) -> dict[str, np.ndarray]:
        return {g.name: g.values for g in policy.infer(seen, seed=4, prefix=prefix).groups}

    native = chunk(Prefix(committed, frozen, 0 * ones, 1 - frozen, frozen, frozen_steps=2))
    guided = chunk(Prefix(committed, 0 * ones, ones, ones, 0 * ones))
    plain = chunk(None)
    for group, values in committed.items():
        np.testing.assert_allclose(native[group][:2], values[:2], atol=1e-6)
        far = np.abs(plain[group][:5] - values).max()
        assert np.abs(guided[group][:5] - values).max() < 0.5 * far


@pytest.mark.slow
def test_exported_segments_give_the_actions_of_the_reference(tmp_path: Path) -> None:
    checkpoint = write_tiny_n1d5(tmp_path / "checkpoint", BIMANUAL, **SHALLOW)
    reference, directory = load(checkpoint, "reference"), tmp_path / "engine"
    export_engine(
        reference,
        synthetic_observations(reference, 3, size=SIZE),
        "drawn",
        reference.checkpoint.profile([SIZE], 64),
        directory,
        ExportOptions(steps=STEPS),
        lambda what, fraction: None,
        device=torch.device("cpu"),
    )
    manifest = Manifest.read(directory)
    assert set(manifest.segments) == {"vision", "language", "context", "denoise"}
    stored = ReferenceOutputs.load(directory, manifest)
    assert ["prefix" in case.inputs for case in stored.cases] == [False, True, False]
    reference, onnx = load(checkpoint, "reference"), load(checkpoint, "onnxruntime", directory)
    for words in (1, 20):
        inputs = inputs_of(reference, 5, words)
        for prefix in ({}, reference.checkpoint.processor.draw_prefix(3)):
            given = {**inputs, **prefix}
            expected = actions(reference, given, 4)
            np.testing.assert_allclose(actions(onnx, given, 4), expected, atol=1e-4)


@pytest.mark.slow
def test_inspect_and_infer_describe_and_run_a_checkpoint(
    bimanual: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["inspect", "--checkpoint", str(bimanual)]) == 0
    text = capsys.readouterr().out
    assert "gr00t_n1_5" in text
    assert "shared arm decoder with cross-attention and claw decoder" in text
    assert f"{HORIZON} steps" in text
    images = {f"image.{v}": np.zeros((*SIZE, 3), np.uint8) for v in ("front", "wrist")}
    state = {f"state.{group}": np.full(width, 0.1) for group, width in ARMS.items()}
    np.savez(tmp_path / "seen.npz", **images, **state, instruction="fold the cloth")
    out = tmp_path / "actions.npz"
    command = ["infer", "--checkpoint", str(bimanual), "--embodiment", TAG, "--device", "cpu"]
    command += ["--observation", str(tmp_path / "seen.npz"), "--seed", "7", "--out", str(out)]
    assert main(command) == 0
    with np.load(out) as saved:
        assert saved["action.right_arm"].shape == (HORIZON, 7)
        assert np.isfinite(saved["action.left_hand"]).all()


def test_an_unknown_embodiment_is_rejected_with_the_known_ones(bimanual: Path) -> None:
    config = PolicyConfig(checkpoint=str(bimanual), embodiment="gr1")
    with pytest.raises(CheckpointError, match=r"no embodiment 'gr1' .valid: new_embodiment"):
        load_policy(config)
