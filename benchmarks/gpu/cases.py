# SPDX-License-Identifier: Apache-2.0
"""Stages to measure: at published size, or tiny to try the command without a GPU."""

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from groot_ros.families.family import BenchmarkCase
from groot_ros.families.registry import get_family

STAGES = ("backbone", "head")
_TINY_HORIZON = 8
_TINY_GAIN = 12.0


def make_case(
    family: str, stage: str, horizon: int, device: torch.device, dtype: torch.dtype, *, tiny: bool
) -> BenchmarkCase:
    """Return one stage of a family's model.

    Raises:
        ValueError: the family has no tiny model.

    """
    if not tiny:
        return get_family(family).benchmark(stage, horizon, device, dtype)
    if family not in _TINY:
        raise ValueError(f"family '{family}' has no tiny model")
    return _TINY[family](stage, device, dtype)


def tiny_families() -> tuple[str, ...]:
    """Return the families that have a tiny model."""
    return tuple(_TINY)


def in_float32(case: Any) -> BenchmarkCase:
    """Return a case with the same weights and inputs in float32.

    The weights are those of the case, converted: drawn in float32 they would be other ones.

    Args:
        case: a family's case; it has `model()`, which returns the reference network, and `dtype`.

    """
    exact = copy.copy(case)
    exact.dtype = torch.float32
    exact.model = lambda: case.model().float()
    return exact


def _amplified(case: type) -> type:
    """Return a case whose narrow layers, too, pass on values of their input's size."""

    class Tiny(case):  # type: ignore[misc, valid-type]
        def model(self) -> torch.nn.Module:
            model: torch.nn.Module = super().model()
            for parameter in model.parameters():
                if parameter.ndim > 1:
                    parameter.mul_(_TINY_GAIN)
            return model

    return Tiny


def _tiny_n1d5(stage: str, device: torch.device, dtype: torch.dtype) -> Any:
    from groot_ros.families.gr00t_n1d5.benchmark import BenchmarkCase, published_config

    config = published_config(_TINY_HORIZON)
    vision = replace(
        config.eagle.vision, hidden_size=16, intermediate_size=24, num_hidden_layers=2,
        num_attention_heads=2, image_size=56,
    )  # fmt: skip
    text = replace(
        config.eagle.text, vocab_size=8, hidden_size=16, intermediate_size=24,
        num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1, head_dim=8,
    )  # fmt: skip
    dit = replace(
        config.head.dit, num_layers=4, num_attention_heads=2, attention_head_dim=8, output_dim=16
    )
    own = replace(
        config.head.vl_self_attention, num_layers=2, num_attention_heads=2, attention_head_dim=8
    )
    head = replace(
        config.head, backbone_embedding_dim=16, max_state_dim=8, action_dim=8, encoder_dim=8,
        hidden_size=16, input_embedding_dim=16, max_seq_len=64, future_tokens=4, dit=dit,
        vl_self_attention=own,
    )  # fmt: skip
    small = replace(
        config, eagle=replace(config.eagle, vision=vision, text=text, image_token_index=7),
        backbone=replace(config.backbone, select_layer=2), head=head,
    )  # fmt: skip
    return _amplified(BenchmarkCase)(stage, small, device, dtype)


def _tiny_n1d6(stage: str, device: torch.device, dtype: torch.dtype) -> Any:
    from groot_ros.families.gr00t_n1d6.benchmark import BenchmarkCase, published_config

    config = published_config(_TINY_HORIZON)
    vision = replace(
        config.eagle.vision, hidden_size=16, intermediate_size=24, num_hidden_layers=2,
        num_attention_heads=2, num_patches=16,
    )  # fmt: skip
    text = replace(
        config.eagle.text, vocab_size=8, hidden_size=16, intermediate_size=24,
        num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1, head_dim=8,
    )  # fmt: skip
    dit = replace(
        config.dit, num_layers=4, num_attention_heads=2, attention_head_dim=8, output_dim=16
    )
    small = replace(
        config, eagle=replace(config.eagle, vision=vision, text=text, image_token_index=7),
        select_layer=2, backbone_embedding_dim=16, max_state_dim=8, max_action_dim=8,
        hidden_size=16, input_embedding_dim=16, max_seq_len=64, dit=dit,
    )  # fmt: skip
    sizes = ((56, 56), (56, 56))
    return _amplified(BenchmarkCase)(stage, small, device, dtype, image_sizes=sizes, steps=2)


_TINY: dict[str, Callable[[str, torch.device, torch.dtype], Any]] = {
    "gr00t_n1d5": _tiny_n1d5,
    "gr00t_n1d6": _tiny_n1d6,
}
