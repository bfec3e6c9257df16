# SPDX-License-Identifier: Apache-2.0
"""`test/parity.py` on sets of other sizes, made with this package's model, not the reference.

These tests do not show equality; they show that no size, number or name is hard-coded.
"""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import parity
import pytest
import torch
from safetensors.torch import load_file, save_file
from support.tiny_checkpoint import TAG, tiny_config, tiny_processor_config, tiny_statistics

from groot_ros.families.gr00t.network import TensorBatch
from groot_ros.families.gr00t.samples import collate
from groot_ros.families.gr00t_n1d6.checkpoint import open_checkpoint
from groot_ros.families.gr00t_n1d6.network import build_model
from groot_ros.families.gr00t_n1d6.processor import Sample
from groot_ros.families.gr00t_n1d6.processor_config import save_processor
from groot_ros.families.gr00t_n1d6.training import training_loss
from groot_ros.families.gr00t_n1d6.weights import load_model, save_model
from groot_ros.processing.tokenizer import write_byte_tokenizer

pytestmark = pytest.mark.slow

VIEWS, FRAMES = ("left", "right", "top"), (-5, 0)
TEXTS = ["Turn it off!", "go", "stack the two small blocks"]


def write_policy_set(folder: Path, **changes) -> None:
    """Write a set of 3 rows with 3 views of 2 frames, 2 states, and 5 of 8 steps."""
    model = build_model(tiny_config(num_inference_timesteps=3, **changes), seed=5)
    save_model(model, folder / "other", max_shard_bytes=60_000)
    write_byte_tokenizer(folder / "other")
    config = tiny_processor_config(shortest_image_edge=84, crop_fraction=0.9)
    before = config.embodiment(TAG)
    embodiment = replace(
        before,
        video=replace(before.video, modality_keys=VIEWS, delta_indices=FRAMES),
        state=replace(before.state, delta_indices=(-1, 0)),
        action=replace(before.action, delta_indices=(1, 3, 5, 7, 9)),
    )
    config = replace(config, embodiments={TAG: embodiment}, embodiment_ids={TAG: 11})
    save_processor(config, tiny_statistics(), folder / "other")
    rng = np.random.default_rng(3)
    arrays = {f"image.{v}": rng.integers(0, 256, (3, 2, 70, 110, 3), np.uint8) for v in VIEWS}
    arrays["state.single_arm"] = rng.uniform(-90, 90, (3, 2, 5))
    arrays["state.gripper"] = rng.uniform(0, 100, (3, 2, 1))
    arrays["noise"] = rng.normal(size=(3, 8, 8)).astype(np.float32)
    np.savez(folder / "inputs.npz", **arrays)
    meta = {"texts": TEXTS, "embodiment_tag": TAG}
    (folder / "inputs.json").write_text(json.dumps(meta))
    save_file(policy_outputs(folder / "other", arrays), folder / "outputs.safetensors")


def policy_outputs(checkpoint: Path, arrays: dict) -> dict[str, torch.Tensor]:
    opened = open_checkpoint(checkpoint, TAG)
    processor, groups = opened.processor, opened.spec.state_groups
    samples = [
        Sample(
            {view: arrays[f"image.{view}"][row] for view in VIEWS},
            {group: arrays[f"state.{group}"][row] for group in groups},
            text,
        )
        for row, text in enumerate(TEXTS)
    ]
    batch = collate([processor.encode_sample(s) for s in samples], processor.tokenizer.pad_id)
    given = TensorBatch.of(batch)
    with torch.no_grad():
        actions = load_model(checkpoint, opened.config)(
            given.input_ids,
            given.attention_mask,
            given.images,
            given.state,
            given.embodiment,
            torch.from_numpy(arrays["noise"]),
            steps=3,
        ).numpy()
    state = {group: arrays[f"state.{group}"] for group in groups}
    decoded = processor.codec.decode_action(actions, state)
    found = {f"action.{group}": values for group, values in decoded.items()}
    found |= {f"pixel_values.{n}": image[None] for n, image in enumerate(batch.images)}
    for name in ("input_ids", "attention_mask", "state", "embodiment_id"):
        found[name] = getattr(batch, name)
    found["normalized_action"] = actions
    return {name: torch.from_numpy(np.ascontiguousarray(v)) for name, v in found.items()}


def write_full_set(folder: Path) -> None:
    """Write a set of one row without padding, with two images of different sizes."""
    model = build_model(tiny_config(use_vlln=False, add_pos_embed=False), seed=6).eval()
    save_model(model, folder / "checkpoint")
    config, image = model.config, model.config.eagle.image_token_index
    torch.manual_seed(0)
    inputs = {
        "input_ids": torch.tensor([[1, 2, *[image] * 6, 3, *[image] * 2, 4]]),
        "attention_mask": torch.ones(1, 12, dtype=torch.int64),
        "pixel_values.0": torch.randn(1, 3, 56, 84),
        "pixel_values.1": torch.randn(1, 3, 28, 56),
        "state": torch.randn(1, 1, config.max_state_dim),
        "embodiment_id": torch.tensor([7]),
        "train_t": torch.tensor([0.7]),
    }
    for name in ("init_noise", "action", "action_mask", "train_noise"):
        inputs[name] = torch.rand(1, config.action_horizon, config.max_action_dim)
    batch = TensorBatch(
        inputs["input_ids"],
        inputs["attention_mask"],
        [inputs["pixel_values.0"], inputs["pixel_values.1"]],
        inputs["state"],
        inputs["embodiment_id"],
        inputs["action"],
        inputs["action_mask"],
    )
    out = model.backbone(batch.input_ids, batch.attention_mask, batch.images)
    context = model.action_head.context(out, batch.state, batch.embodiment)
    loss = training_loss(model, batch, noise=inputs["train_noise"], time=inputs["train_t"])
    outputs = {
        "backbone_features": out.features,
        "train_loss": loss.loss[None],
        "action_pred": model.action_head.denoise(context, inputs["init_noise"]),
    }
    save_file(inputs, folder / "inputs.safetensors")
    save_file(
        {k: v.detach().contiguous() for k, v in outputs.items()}, folder / "outputs.safetensors"
    )


@pytest.mark.parametrize("alternate", [True, False])
def test_a_policy_set_with_other_views_frames_and_steps_passes(
    tmp_path: Path, alternate: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    write_policy_set(tmp_path, use_alternate_vl_dit=alternate)
    assert parity.main([str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert text.count("pixel_values.") == 3 * 2 * len(TEXTS)
    # The DiT without alternation attends to padding: only the longest text is inferred alone.
    assert text.count("staged model: infer, row") == 2 * (3 if alternate else 1)
    assert text.count("infer, row") == 2 * text.count("staged model: infer, row")


@torch.no_grad()
def test_a_full_set_of_one_row_with_images_of_several_sizes_passes(tmp_path: Path) -> None:
    (tmp_path / "sets").mkdir()
    write_full_set(tmp_path / "sets")
    assert parity.main([str(tmp_path)]) == 0


def test_one_wrong_action_fails_the_policy_set(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_policy_set(tmp_path)
    path = tmp_path / "outputs.safetensors"
    golden = load_file(path)
    golden["action.gripper"][2, 4, 0] += 1.0
    save_file(golden, path)
    assert parity.main([str(tmp_path)]) == 1
    failed = [line for line in capsys.readouterr().out.splitlines() if "  FAIL" in line]
    assert [line.split()[-1] for line in failed] == 3 * ["action.gripper"]


def test_a_missing_file_and_a_missing_folder_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_full_set(tmp_path)
    (tmp_path / "inputs.safetensors").unlink()
    assert parity.main([str(tmp_path), str(tmp_path / "nowhere")]) == 1
    text = capsys.readouterr().out
    assert f"FAIL {tmp_path}: not a golden set of a known format: nearest to full, but" in text
    assert "without inputs.safetensors" in text
    assert f"FAIL {tmp_path / 'nowhere'}: no such folder" in text


def test_a_missing_tensor_is_a_one_line_failure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_full_set(tmp_path)
    path = tmp_path / "outputs.safetensors"
    save_file({"train_loss": load_file(path)["train_loss"]}, path)
    assert parity.main([str(tmp_path)]) == 1
    problem = f"FAIL {tmp_path}: outputs.safetensors lacks 'action_pred'"
    assert problem in capsys.readouterr().out
