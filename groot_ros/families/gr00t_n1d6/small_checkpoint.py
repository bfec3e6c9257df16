# SPDX-License-Identifier: Apache-2.0
"""A GR00T N1.6 of a few million parameters, with random weights that train well on a CPU."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from groot_ros.families.gr00t.weights import save_model
from groot_ros.families.gr00t_n1d6.config import EagleConfig, Gr00tN1d6Config
from groot_ros.families.gr00t_n1d6.network import Gr00tN1d6
from groot_ros.families.gr00t_n1d6.new_checkpoint import CheckpointConfig, make_config, write_config
from groot_ros.families.gr00t_n1d6.processor import build_prompt, formalise
from groot_ros.families.training import DataLayout
from groot_ros.layers.category_specific import CategoryLinear
from groot_ros.layers.dit import DiTConfig
from groot_ros.layers.qwen3 import TextConfig
from groot_ros.layers.siglip2 import VisionConfig
from groot_ros.processing.tokenizer import (
    IMAGE_TOKEN_INDEX,
    VOCAB_SIZE,
    TextTokenizer,
    write_word_tokenizer,
)

#: Width of all parts, and layers of the language tower: about three million parameters.
_WIDTH, _TEXT_LAYERS = 128, 4
#: Smaller side of the images, px: 112 gives 4 x 5 image tokens for a camera of 4:3.
_EDGE = 112


def small_network(layout: DataLayout) -> Gr00tN1d6Config:
    """Return a small network; an image of 112 x 140 gives 20 tokens."""
    width = _WIDTH
    vision = VisionConfig(
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_patches=64,
        use_rope=False,
        use_windows_attn=False,
        full_attention_indexes=(),
    )
    text = TextConfig(
        vocab_size=VOCAB_SIZE,
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=_TEXT_LAYERS,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=width // 4,
    )
    return Gr00tN1d6Config(
        eagle=EagleConfig(vision, text, image_token_index=IMAGE_TOKEN_INDEX),
        select_layer=text.num_hidden_layers,
        backbone_embedding_dim=width,
        max_state_dim=columns(layout.state_groups),
        max_action_dim=columns(layout.action_groups),
        action_horizon=layout.horizon,
        hidden_size=width,
        input_embedding_dim=width,
        max_seq_len=max(32, layout.horizon),
        max_num_embodiments=1,
        dit=DiTConfig(
            num_layers=6,
            num_attention_heads=4,
            attention_head_dim=width // 4,
            output_dim=width,
            dropout=0.0,
        ),
    )


def write_small_checkpoint(layout: DataLayout, seed: int, out: Path) -> Path:
    """See `families.family.Family.small_checkpoint`."""
    if layout.image_edge is None:
        layout = replace(layout, image_edge=_EDGE)
    views = [1] * len(layout.views)
    write_word_tokenizer(out, [build_prompt(formalise(t), views) for t in layout.instructions])
    tokenizer = TextTokenizer.load(out)
    network = small_network(layout)
    text = replace(network.eagle.text, vocab_size=tokenizer.rows)
    eagle = replace(network.eagle, text=text, image_token_index=tokenizer.image_id)
    network = replace(network, eagle=eagle, tune_llm=True, tune_visual=True)
    config = _with_unit_deviation(make_config(network, layout, embodiment_row=0), layout)
    model = Gr00tN1d6.build(config.network, seed=seed)
    initialise(model, seed)
    write_config(config, out)
    save_model(model, out)
    return out


def _with_unit_deviation(config: CheckpointConfig, layout: DataLayout) -> CheckpointConfig:
    """Normalise relative actions by their mean and deviation.

    Most offsets are much smaller than the largest one. Scaled by their range, they would be small
    against the noise of flow matching, of which a small network leaves some in its actions. As in
    the reference, outliers would be clipped to one deviation, so they are not clipped.
    """
    own = config.processor.embodiments[layout.embodiment]
    action = replace(own.action, mean_std_embedding_keys=tuple(sorted(layout.relative)))
    embodiments = {layout.embodiment: replace(own, action=action)}
    processor = replace(config.processor, embodiments=embodiments, clip_outliers=False)
    return replace(config, processor=processor)


@torch.no_grad()
def initialise(model: Gr00tN1d6, seed: int) -> None:
    """Initialise linear layers with unit gain and zero bias, and the time modulation with zero.

    A published GR00T starts from pretrained weights. In a narrow head, the default small values of
    the category-specific layers (0.02) would suppress the inputs for thousands of steps.
    """
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight, generator=generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, CategoryLinear):
            gain = module.W.shape[1] ** -0.5
            nn.init.normal_(module.W, std=gain, generator=generator)
    for name, parameter in model.action_head.model.named_parameters():
        if name.endswith("norm1.linear.weight") or name == "proj_out_1.weight":
            nn.init.zeros_(parameter)


def columns(groups: Mapping[str, int]) -> int:
    """Return the width of the padded state or action: a multiple of 8."""
    return -(-sum(groups.values()) // 8) * 8
