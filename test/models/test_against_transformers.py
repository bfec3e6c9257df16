"""The towers, configs and tokens of our own against those of an installed transformers.

The package needs no transformers; where some version is installed (4.51 and 5 are alike here),
this says whether what we wrote is what they compute. `pytest -rP` shows the differences.
"""

import json
from pathlib import Path

import pytest
import torch
from golden.comparison import TOKENIZER
from hypothesis import given, settings
from hypothesis import strategies as st

from groot_ros.core.config_reader import CheckpointError, Fields
from groot_ros.layers.qwen3 import Qwen3
from groot_ros.layers.siglip2 import Siglip2, to_patches
from groot_ros.models.gr00t_n1d6 import TextConfig, VisionConfig
from groot_ros.processing import TextTokenizer, write_byte_tokenizer
from groot_ros.processing.tokenizer import has_tokenizer

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
    """As transformers writes it: rope_theta at the top (4) or inside rope_parameters (5)."""
    return transformers.Qwen3Config(**{**TEXT, "rope_theta": 5e5, **changes})


def largest(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    difference = float((ours - theirs).abs().max())
    print(f"transformers {transformers.__version__}: largest difference {difference:.1e}")
    return difference


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("bias", [False, True])
@torch.no_grad()
def test_the_text_tower_is_theirs_with_left_padding_too(attention: str, bias: bool) -> None:
    torch.manual_seed(0)
    config = text_config(attention_bias=bias)
    config._attn_implementation = attention
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
    # What the action head reads: in both versions it comes after the final norm.
    assert largest(found[valid], expected.hidden_states[-1][valid]) < TOLERANCE


@pytest.mark.parametrize("changes", [{}, {"rope_theta": 1e6, "attention_bias": True}])
def test_a_text_config_is_read_as_they_write_it(tmp_path: Path, changes: dict) -> None:
    config = text_config(**changes)
    config.save_pretrained(tmp_path)
    found = TextConfig.parse(Fields.read(tmp_path / "config.json"))
    assert found == TextConfig(**{**TEXT, "rope_theta": 5e5, **changes})


def test_their_defaults_are_ours_where_a_key_is_left_out() -> None:
    theirs, ours = transformers.Qwen3Config(), TextConfig.parse(Fields(TEXT, "config.json"))
    written = json.loads(theirs.to_json_string(use_diff=False))
    assert ours.rope_theta == written.get("rope_parameters", written)["rope_theta"]
    assert VisionConfig().layer_norm_eps == transformers.Siglip2VisionConfig().layer_norm_eps


def test_scaled_rotary_positions_are_rejected_as_they_write_them() -> None:
    scaling = {"rope_type": "yarn", "factor": 4.0, "rope_theta": 5e5}
    written = text_config(rope_scaling=scaling).to_dict()
    with pytest.raises(CheckpointError, match=r"rope_type|rope_scaling"):
        TextConfig.parse(Fields(written, "config.json"))


def test_sliding_windows_are_rejected_as_they_write_them() -> None:
    written = text_config(use_sliding_window=True, sliding_window=4, max_window_layers=1).to_dict()
    with pytest.raises(CheckpointError, match="'use_sliding_window' is True"):
        TextConfig.parse(Fields(written, "config.json"))


@pytest.mark.parametrize("grid", [(4, 4), (6, 9), (2, 3)])
@torch.no_grad()
def test_the_vision_tower_is_theirs_at_any_grid(grid: tuple[int, int]) -> None:
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


def assert_same_tokens(directory: Path) -> None:
    ours = TextTokenizer.load(directory)
    theirs = transformers.Qwen2TokenizerFast.from_pretrained(str(directory))
    pieces = st.one_of(
        st.text(max_size=12),
        st.sampled_from(
            ["<img>", "<IMG_CONTEXT>", "</img>", "<|im_start|>", "it's", "\n\n ", "42"]
        ),
    )

    @settings(max_examples=200, deadline=None)
    @given(st.lists(pieces, max_size=6).map("".join))
    def check(text: str) -> None:
        assert ours.encode(text) == theirs(text, add_special_tokens=False)["input_ids"]

    check()


def test_any_text_has_the_same_tokens_with_a_byte_vocabulary(tmp_path: Path) -> None:
    write_byte_tokenizer(tmp_path)
    assert_same_tokens(tmp_path)


def test_any_text_has_the_same_tokens_with_the_real_vocabulary() -> None:
    if not has_tokenizer(TOKENIZER):
        pytest.skip(f"needs {TOKENIZER}")
    assert_same_tokens(TOKENIZER)


def test_a_tokenizer_that_they_saved_is_read(tmp_path: Path) -> None:
    write_byte_tokenizer(tmp_path / "ours")
    theirs = transformers.Qwen2TokenizerFast.from_pretrained(str(tmp_path / "ours"))
    theirs.save_pretrained(str(tmp_path / "theirs"))
    text = "pick up<img><IMG_CONTEXT></img> it's"
    found = TextTokenizer.load(tmp_path / "theirs").encode(text)
    assert found == TextTokenizer.load(tmp_path / "ours").encode(text)
