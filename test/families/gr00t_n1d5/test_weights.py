# SPDX-License-Identifier: Apache-2.0
"""Names of the weights in NVIDIA's and LeRobot's layouts, and their errors."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from support.tiny_n1d5 import BIMANUAL, TAG, tiny_config, tiny_model, write_tiny_n1d5

from groot_ros.core.config_reader import CheckpointError
from groot_ros.families.gr00t_n1d5.checkpoint import open_checkpoint
from groot_ros.families.gr00t_n1d5.weights import (
    EMBEDDINGS,
    LEROBOT_PREFIX,
    VOCABULARY,
    load_model,
    save_model,
)
from groot_ros.families.registry import find_family

FILE = "model.safetensors"


def equal(one, two) -> bool:
    ours, theirs = one.state_dict(), two.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[k], theirs[k]) for k in ours)


def write_lerobot(directory: Path, base: Path | None, model) -> Path:
    """Write a checkpoint in LeRobot's layout, with tied embeddings under the other name."""
    save_model(model, directory, prefix=LEROBOT_PREFIX)
    tensors = load_file(directory / FILE)
    tensors[LEROBOT_PREFIX + VOCABULARY] = tensors.pop(LEROBOT_PREFIX + EMBEDDINGS)
    save_file(tensors, directory / FILE)
    (directory / "eagle_config.json").unlink()
    features = {
        "observation.images.top": {"type": "VISUAL", "shape": [3, 48, 64]},
        "observation.images.left": {"type": "VISUAL", "shape": [3, 48, 64]},
        "observation.state": {"type": "STATE", "shape": [16]},
    }
    config = {
        "type": "groot",
        "base_model_path": str(base) if base else "nvidia/none-here",
        "embodiment_tag": TAG,
        "input_features": features,
        "output_features": {"action": {"type": "ACTION", "shape": [16]}},
    }
    statistics = {
        f"{name}.{end}": torch.full((16,), value)
        for name in ("observation.state", "action")
        for end, value in (("min", -2.0), ("max", 2.0))
    }
    save_file(statistics, directory / "stats.safetensors")
    pack = {"formalize_language": True, "embodiment_tag": TAG, "embodiment_mapping": {TAG: 5}}
    for file, name, options in (
        ("policy_preprocessor.json", "groot_pack_inputs_v3", pack),
        (
            "policy_postprocessor.json",
            "groot_action_unpack_unnormalize_v1",
            {"env_action_dim": 16},
        ),
    ):
        step = {"registry_name": name, "config": options, "state_file": "stats.safetensors"}
        (directory / file).write_text(json.dumps({"steps": [step]}))
    (directory / "config.json").write_text(json.dumps(config))
    return directory


@pytest.mark.parametrize("bimanual", [None, BIMANUAL])
def test_names_are_read_back_in_both_layouts(tmp_path: Path, bimanual) -> None:
    model = tiny_model(bimanual)
    for prefix in ("", LEROBOT_PREFIX):
        save_model(model, tmp_path, prefix=prefix)
        names = load_file(tmp_path / FILE)
        assert all(name.startswith(prefix or ("backbone.", "action_head.")) for name in names)
        assert equal(load_model(tmp_path, model.config), model)


def test_tied_embeddings_are_read_under_the_name_of_the_vocabulary_head(tmp_path: Path) -> None:
    model = tiny_model()
    save_model(model, tmp_path)
    tensors = load_file(tmp_path / FILE)
    tensors[VOCABULARY] = tensors.pop(EMBEDDINGS)
    save_file(tensors, tmp_path / FILE)
    assert equal(load_model(tmp_path, model.config), model)
    tensors[EMBEDDINGS] = tensors[VOCABULARY]
    tensors[VOCABULARY] = torch.randn(tensors[VOCABULARY].shape)
    save_file(tensors, tmp_path / FILE)
    assert equal(load_model(tmp_path, model.config), model)


@pytest.mark.parametrize(
    "bimanual",
    [
        BIMANUAL,
        replace(BIMANUAL, cross=False),
        replace(BIMANUAL, shared=False, cross=False, left=6, right=8),
        replace(BIMANUAL, split=False, shared=False, cross=False, learned_weights=False),
    ],
)
def test_lerobot_s_layout_takes_sizes_from_the_base_and_decoders_from_the_weights(
    tmp_path: Path, bimanual
) -> None:
    base = write_tiny_n1d5(tmp_path / "base", encoder_dim=18, action_dim=18)
    model = tiny_model(bimanual, seed=4)
    folder = write_lerobot(tmp_path / "own", None, model)
    assert find_family(folder).name == "gr00t_n1d5"
    opened = open_checkpoint(folder, TAG, base=base)
    assert opened.config.head == model.config.head
    assert equal(load_model(folder, opened.config), model)
    assert opened.spec.views == ("left", "top")
    assert (opened.spec.state_groups, opened.spec.action_groups) == ({"state": 16}, {"action": 16})
    assert opened.processor.layout.row == 5
    assert open_checkpoint(write_lerobot(folder, base, model), TAG).digest()


def test_without_the_base_lerobot_s_layout_is_rejected_in_one_line(tmp_path: Path) -> None:
    folder = write_lerobot(tmp_path / "own", None, tiny_model())
    with pytest.raises(CheckpointError, match=r"nvidia/none-here.*as base_checkpoint") as error:
        open_checkpoint(folder, TAG)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("end", "value", "problem"),
    [
        ("min", float("nan"), "stats.safetensors: 'action.min' holds values that are not finite"),
        ("max", float("inf"), "stats.safetensors: 'action.max' holds values that are not finite"),
        ("min", 3.0, "statistic 'action.min' is above 'action.max' in column 5"),
    ],
)
def test_statistics_of_lerobot_s_layout_that_invert_or_lose_motion_are_rejected(
    tmp_path: Path, end: str, value: float, problem: str
) -> None:
    base = write_tiny_n1d5(tmp_path / "base")
    folder = write_lerobot(tmp_path / "own", base, tiny_model())
    statistics = load_file(folder / "stats.safetensors")
    statistics[f"action.{end}"][5] = value
    save_file(statistics, folder / "stats.safetensors")
    with pytest.raises(CheckpointError, match=re.escape(problem)) as error:
        open_checkpoint(folder, TAG)
    assert "\n" not in str(error.value)


def test_missing_statistics_of_lerobot_s_layout_are_0_and_1(tmp_path: Path) -> None:
    base = write_tiny_n1d5(tmp_path / "base")
    folder = write_lerobot(tmp_path / "own", base, tiny_model())
    statistics = load_file(folder / "stats.safetensors")
    del statistics["action.min"]
    statistics["action.max"] = torch.full((12,), 2.0)
    save_file(statistics, folder / "stats.safetensors")
    (found,) = (r for r in open_checkpoint(folder, TAG).spec.ranges if r.modality == "action")
    assert found.low.tolist() == [0.0] * 16
    assert found.high.tolist() == [2.0] * 12 + [1.0] * 4


def test_one_row_of_the_category_specific_weights_is_kept(tmp_path: Path) -> None:
    model = tiny_model(BIMANUAL)
    save_model(model, tmp_path)
    one = load_model(tmp_path, model.config, embodiment=7)
    decoder = one.action_head.decoders["shared_arm_decoder"]
    whole = model.action_head.decoders["shared_arm_decoder"]
    assert torch.equal(decoder.left_output_layer.W[0], whole.left_output_layer.W[7])
    assert torch.equal(decoder.cross_attn_left.in_proj_weight, whole.cross_attn_left.in_proj_weight)
    with pytest.raises(CheckpointError, match="embodiment 32 does not exist"):
        load_model(tmp_path, model.config, embodiment=32)


def test_missing_and_unexpected_tensors_are_named(tmp_path: Path) -> None:
    model = tiny_model()
    save_model(model, tmp_path)
    tensors = load_file(tmp_path / FILE)
    del tensors["action_head.future_tokens.weight"]
    tensors["action_head.mask_token"] = torch.zeros(1)
    save_file(tensors, tmp_path / FILE)
    with pytest.raises(CheckpointError, match=r"1 missing: .*future_tokens.*unexpected: .*mask_t"):
        load_model(tmp_path, model.config)


def test_layers_above_select_layer_are_skipped(tmp_path: Path) -> None:
    config = tiny_config()
    deep = replace(config, backbone=replace(config.backbone, select_layer=3))
    from groot_ros.families.gr00t_n1d5.network import build_model

    save_model(build_model(deep), tmp_path)
    assert len(load_model(tmp_path, config).backbone.eagle_model.text.layers) == 2
