"""Initial weights for a small model that is trained from nothing.

A real GR00T starts from pretrained weights and initialises little of itself; those small initial
values (0.02 in the category-specific layers) hide a narrow head's inputs from it for thousands of
steps.
"""

import torch
from torch import nn

from groot_ros.models.gr00t_n1d6 import Gr00tN1d6
from groot_ros.models.gr00t_n1d6.embodiment import CategoryLinear


@torch.no_grad()
def initialise(model: Gr00tN1d6, seed: int) -> None:
    """Unit gain in every linear layer, no bias, and time modulation that begins at nothing."""
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
