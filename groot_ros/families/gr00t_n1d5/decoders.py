# SPDX-License-Identifier: Apache-2.0
"""Decoders of the action head: one for all columns, or one per arm and one for the claws.

Module names are those of the checkpoint's keys.
"""

from collections.abc import Mapping

import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from groot_ros.families.gr00t_n1d5.config import HeadConfig
from groot_ros.layers.category_specific import CategoryLinear, CategoryMLP

#: Heads of the attention between the arms.
ARM_HEADS = 4


class SharedBottomArmDecoder(nn.Module):
    """Decoder of two arms: a shared layer, symmetric attention between the arms, two outputs.

    Without cross-attention both outputs read the shared features, and there are no norms.
    """

    def __init__(self, categories: int, width: int, left: int, right: int, cross: bool) -> None:
        super().__init__()
        self.cross = cross
        self.shared_layer = CategoryLinear(categories, width, width)
        if cross:
            self.cross_attn_left = nn.MultiheadAttention(width, ARM_HEADS, batch_first=True)
            self.cross_attn_right = nn.MultiheadAttention(width, ARM_HEADS, batch_first=True)
            self.layer_norm_left = nn.LayerNorm(width)
            self.layer_norm_right = nn.LayerNorm(width)
        self.left_output_layer = CategoryLinear(categories, width, left)
        self.right_output_layer = CategoryLinear(categories, width, right)

    def forward(
        self, x: Tensor, embodiment: Tensor, trace: dict[str, Tensor] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Decode tokens of the actions alone, as attention has neither mask nor positions.

        Args:
            x: [B, H, width].
            embodiment: int64 [B].
            trace: if given, collects the intermediate values by name.

        Returns:
            Actions of the left and of the right arm, [B, H, columns] each.

        """
        shared = F.relu(self.shared_layer(x, embodiment))
        left = right = shared
        found = {"shared_features": shared}
        if self.cross:
            # The residual is the normalised feature, and both arms attend to values before it.
            left, right = self.layer_norm_left(shared), self.layer_norm_right(shared)
            keep = {"need_weights": trace is not None, "average_attn_weights": False}
            for_left, left_weights = self.cross_attn_left(left, right, right, **keep)
            for_right, right_weights = self.cross_attn_right(right, left, left, **keep)
            found |= {"left_ln": left, "right_ln": right}
            found |= {"left_attended": for_left, "right_attended": for_right}
            found |= {"left_attn_weights": left_weights, "right_attn_weights": right_weights}
            left, right = left + for_left, right + for_right
        if trace is not None:
            trace |= found
        return self.left_output_layer(left, embodiment), self.right_output_layer(right, embodiment)


def make_decoders(config: HeadConfig) -> dict[str, nn.Module]:
    """Return the decoders of a head by their names in a checkpoint."""
    categories, width, bimanual = config.max_num_embodiments, config.hidden_size, config.bimanual

    def mlp(columns: int) -> CategoryMLP:
        return CategoryMLP(categories, width, width, columns)

    if bimanual is None:
        return {"action_decoder": mlp(config.action_dim)}
    found: dict[str, nn.Module] = {}
    if not bimanual.split:
        found["action_arm_decoder"] = mlp(bimanual.left + bimanual.right)
    elif bimanual.shared:
        found["shared_arm_decoder"] = SharedBottomArmDecoder(
            categories, width, bimanual.left, bimanual.right, bimanual.cross
        )
    else:
        found["action_left_arm_decoder"] = mlp(bimanual.left)
        found["action_right_arm_decoder"] = mlp(bimanual.right)
    found["action_claw_decoder"] = mlp(bimanual.claw)
    return found


def decode(
    decoders: Mapping[str, nn.Module],
    x: Tensor,
    embodiment: Tensor,
    trace: dict[str, Tensor] | None = None,
) -> dict[str, Tensor]:
    """Decode tokens of the actions to part -> [B, H, columns], in the order of the columns.

    Args:
        decoders: decoders from `make_decoders`.
        x: [B, H, width].
        embodiment: int64 [B].
        trace: see `SharedBottomArmDecoder.forward`.

    """
    found = {}
    for name, decoder in decoders.items():
        if isinstance(decoder, SharedBottomArmDecoder):
            found["left_arm"], found["right_arm"] = decoder(x, embodiment, trace)
        else:
            found[name.removeprefix("action_").removesuffix("_decoder")] = decoder(x, embodiment)
    return {"action": found["decoder"]} if "decoder" in found else found
