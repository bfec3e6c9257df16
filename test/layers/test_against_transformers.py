# SPDX-License-Identifier: Apache-2.0
"""Compare the text and vision towers and their configs with an installed transformers.

The package does not need transformers; versions 4.51 and 5 give the same here. `pytest -rP` shows
the differences.
"""

import json
from pathlib import Path

import pytest
import torch

from groot_ros.core.config_reader import CheckpointError, Fields
from groot_ros.layers.qwen3 import Qwen3, TextConfig
from groot_ros.layers.siglip2 import Siglip2, VisionConfig, to_patches

transformers = pytest.importorskip("transformers", reason="transformers is not installed")

TOLERANCE = 1e-5
TEXT = {
    "vocab_size": 120,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "rms_norm_eps": 3e-6,
    "attention_bias": False,
}


def text_config(**changes):
    """Return a config; it stores rope_theta at the top (4) or inside rope_parameters (5)."""
    return transformers.Qwen3Config(**{**TEXT, "rope_theta": 5e5, **changes})


def largest(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    difference = float((ours - theirs).abs().max())
    print(f"transformers {transformers.__version__}: largest difference {difference:.1e}")
    return difference


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("bias", [False, True])
@torch.no_grad()
def test_the_text_tower_equals_transformers_also_with_left_padding(
    attention: str, bias: bool
) -> None:
    torch.manual_seed(0)
    config = text_config(attention_bias=bias, attn_implementation=attention)
    theirs = transformers.Qwen3Model(config).eval()
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    ours = Qwen3(TextConfig.parse(Fields(config.to_dict(), "config.json")), layers=3)
    ours.load_state_dict(theirs.state_dict())
    ids = torch.randint(0, 120, (3, 11))
    mask = torch.ones(3, 11, dtype=torch.int64)
    mask[1, :4] = mask[2, :9] = 0
    expected = theirs(
        input_ids=ids, attention_mask=mask, use_cache=False, output_hidden_states=True
    )
    found = ours(ours.embed_tokens(ids), mask == 1)
    valid = mask == 1
    assert largest(found[valid], expected.last_hidden_state[valid]) < TOLERANCE
    # The action head reads the last hidden state, after the final norm in both versions.
    assert largest(found[valid], expected.hidden_states[-1][valid]) < TOLERANCE


@pytest.mark.parametrize("changes", [{}, {"rope_theta": 1e6, "attention_bias": True}])
def test_a_text_config_written_by_transformers_is_read(tmp_path: Path, changes: dict) -> None:
    config = text_config(**changes)
    config.save_pretrained(tmp_path)
    found = TextConfig.parse(Fields.read(tmp_path / "config.json"))
    assert found == TextConfig(**{**TEXT, "rope_theta": 5e5, **changes})


def test_defaults_equal_those_of_transformers() -> None:
    theirs, ours = transformers.Qwen3Config(), TextConfig.parse(Fields(TEXT, "config.json"))
    written = json.loads(theirs.to_json_string(use_diff=False))
    assert ours.rope_theta == written.get("rope_parameters", written)["rope_theta"]
    assert VisionConfig().layer_norm_eps == transformers.Siglip2VisionConfig().layer_norm_eps


def test_scaled_rotary_positions_are_rejected() -> None:
    scaling = {"rope_type": "yarn", "factor": 4.0, "rope_theta": 5e5}
    written = text_config(rope_scaling=scaling).to_dict()
    with pytest.raises(CheckpointError, match=r"rope_type|rope_scaling"):
        TextConfig.parse(Fields(written, "config.json"))


def test_sliding_windows_are_rejected() -> None:
    written = text_config(use_sliding_window=True, sliding_window=4, max_window_layers=1).to_dict()
    with pytest.raises(CheckpointError, match="'use_sliding_window' is True"):
        TextConfig.parse(Fields(written, "config.json"))


@pytest.mark.parametrize("grid", [(4, 4), (6, 9), (2, 3)])
@torch.no_grad()
def test_the_vision_tower_equals_transformers_at_any_grid(grid: tuple[int, int]) -> None:
    torch.manual_seed(0)
    sizes = {
        "hidden_size": 24,
        "intermediate_size": 40,
        "num_hidden_layers": 2,
        "num_attention_heads": 3,
        "num_patches": 16,
        "patch_size": 4,
    }
    theirs = transformers.Siglip2VisionModel(
        transformers.Siglip2VisionConfig(**sizes, vision_use_head=False)
    ).eval()
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    ours = Siglip2(VisionConfig(**sizes, use_rope=False, use_windows_attn=False))
    named = theirs.state_dict().items()
    ours.load_state_dict({name.removeprefix("vision_model."): value for name, value in named})
    h, w = grid
    image = torch.randn(1, 3, 4 * h, 4 * w)
    expected = theirs(
        pixel_values=to_patches(image, 4),
        pixel_attention_mask=torch.ones(1, h * w, dtype=torch.int64),
        spatial_shapes=torch.tensor([grid]),
    )
    assert largest(ours(image), expected.last_hidden_state) < TOLERANCE
