# SPDX-License-Identifier: Apache-2.0
"""Configs as published checkpoints write them, and errors in them."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from support.tiny_checkpoint import tiny_config

from groot_ros.core.config_reader import CheckpointError, Fields
from groot_ros.families.gr00t_n1d6.config import EagleConfig, Gr00tN1d6Config
from groot_ros.families.gr00t_n1d6.network import build_model
from groot_ros.families.gr00t_n1d6.weights import load_config
from groot_ros.layers.qwen3 import TextConfig

#: Values of a published checkpoint that differ from the defaults.
PUBLISHED = {"max_state_dim": 128, "max_action_dim": 128, "action_horizon": 50}


def parameters(module) -> int:
    return sum(p.numel() for p in module.parameters())


def write(directory: Path, config: Gr00tN1d6Config, **changes) -> Path:
    directory.mkdir(exist_ok=True)
    (directory / "config.json").write_text(json.dumps({**config.to_json(), **changes}))
    (directory / "eagle_config.json").write_text(json.dumps(config.eagle.to_json()))
    return directory


def test_omitted_keys_take_the_defaults_of_the_reference() -> None:
    config = Gr00tN1d6Config.parse(Fields({}, "config.json"), EagleConfig())
    assert config == Gr00tN1d6Config()
    assert (config.select_layer, config.action_horizon, config.max_state_dim) == (16, 16, 29)


def test_a_config_reads_back_as_it_was_written(tmp_path: Path) -> None:
    config = tiny_config(num_inference_timesteps=7, state_dropout_prob=0.2)
    assert load_config(write(tmp_path, config), tmp_path / "eagle_config.json") == config


def test_the_published_sizes_give_the_published_parameter_counts() -> None:
    model = build_model(Gr00tN1d6Config(**PUBLISHED), device="meta")
    eagle, head = model.backbone.model, model.action_head
    assert parameters(head.model) == 1_091_722_240
    assert parameters(head.model.transformer_blocks) == 1_082_671_104
    assert parameters(head.model.transformer_blocks[0].norm1) == 4_721_664
    assert parameters(head.model.transformer_blocks[0].attn1) == 11_016_192
    assert parameters(head.model.transformer_blocks[1].attn1) == 9_443_328
    assert parameters(head.model.transformer_blocks[0].ff) == 18_882_048
    assert parameters(head.model.timestep_encoder) == 2_755_584
    modulation = [block.norm1 for block in head.model.transformer_blocks]
    modulation += [head.model.timestep_encoder, head.model.proj_out_1]
    assert sum(map(parameters, modulation)) == 158_570_496
    crossing = [block.attn1 for block in head.model.transformer_blocks][::2]
    assert sum(parameters(a.to_k) + parameters(a.to_v) for a in crossing) == 100_712_448
    assert parameters(crossing[0].to_q) == parameters(crossing[0].to_out) == 2_360_832
    assert parameters(head.model.proj_out_1) == 4_721_664
    assert parameters(head.model.proj_out_2) == 1_573_888
    assert parameters(eagle.vision.encoder.layers[0]) == 15_239_504
    assert len(eagle.vision.encoder.layers) == 27
    assert parameters(eagle.vision.embeddings.patch_embedding) == 588 * 1152 + 1152
    assert parameters(eagle.vision.embeddings.position_embedding) == 256 * 1152
    assert parameters(eagle.vision) == 412_442_352
    assert parameters(eagle.mlp1) == 13_644_800
    assert parameters(eagle.text.layers[0]) == 50_336_000
    assert len(eagle.text.layers) == 16
    assert parameters(eagle.text.embed_tokens) == 151_680 * 2048
    per_embodiment = (head.state_encoder, head.action_encoder, head.action_decoder)
    assert sum(map(parameters, per_embodiment)) == 32 * 10_166_400


def test_rope_theta_is_also_read_from_where_transformers_5_writes_it() -> None:
    old = EagleConfig().to_json()["text_config"]
    new = {k: v for k, v in old.items() if k != "rope_theta"}
    new["rope_parameters"] = {"rope_type": "default", "rope_theta": 1e6}
    assert TextConfig.parse(Fields(new, "x")) == TextConfig.parse(Fields(old, "x"))


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        ("model_type", "gr00t_n1_5", "only 'Gr00tN1d6' is supported"),
        ("select_layer", 0, "whole number >= 1"),
        ("max_action_dim", "many", "whole number"),
        ("input_embedding_dim", 32, "num_attention_heads x attention_head_dim"),
        ("backbone_embedding_dim", 32, "the VLM's hidden_size"),
        ("action_horizon", 40, "exceeds max_seq_len"),
        ("diffusion_model_cfg", {"norm_type": "layer_norm"}, "norm_type"),
    ],
)
def test_a_wrong_value_is_a_one_line_error_naming_file_and_key(
    tmp_path: Path, key: str, value: object, problem: str
) -> None:
    write(tmp_path, tiny_config(), **{key: value})
    with pytest.raises(CheckpointError) as caught:
        load_config(tmp_path, tmp_path / "eagle_config.json")
    message = str(caught.value)
    assert str(tmp_path / "config.json") in message
    assert key in message
    assert problem in message
    assert "\n" not in message


def test_a_missing_size_of_the_vlm_names_file_and_key(tmp_path: Path) -> None:
    write(tmp_path, tiny_config())
    path = tmp_path / "eagle_config.json"
    eagle = json.loads(path.read_text())
    del eagle["text_config"]["hidden_size"]
    path.write_text(json.dumps(eagle))
    with pytest.raises(CheckpointError, match=r"eagle_config.json: text_config: 'hidden_size'"):
        load_config(tmp_path, path)


@pytest.mark.parametrize("ratio", [0, 0.3, -0.5, 2.0, float("nan"), 1e-310])
def test_a_downsample_ratio_that_is_not_one_over_an_integer_is_rejected(ratio: float) -> None:
    text = {**EagleConfig().to_json(), "downsample_ratio": ratio}
    with pytest.raises(CheckpointError, match=r"x: 'downsample_ratio' is .*, not one over a whole"):
        EagleConfig.parse(Fields(text, "x"))


@pytest.mark.parametrize(("ratio", "side"), [(1.0, 1), (0.5, 2), (1 / 3, 3), (0.142857143, 7)])
def test_the_shuffle_factor_is_one_over_the_ratio(ratio: float, side: int) -> None:
    text = {**EagleConfig().to_json(), "downsample_ratio": ratio}
    assert EagleConfig.parse(Fields(text, "x")).shuffle == side


def test_broken_json_names_the_file(tmp_path: Path) -> None:
    write(tmp_path, tiny_config())
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"config.json: is not valid JSON"):
        load_config(tmp_path, tmp_path / "eagle_config.json")


def test_select_layer_beyond_the_last_layer_keeps_all_layers() -> None:
    config = replace(tiny_config(), select_layer=16)
    assert len(build_model(config, device="meta").backbone.model.text.layers) == 2
