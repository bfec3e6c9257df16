# SPDX-License-Identifier: Apache-2.0
"""The perceptron that VIMA uses for boxes, actions and prompt objects."""

from torch import nn

from groot_ros.families.vima.config import MlpConfig


def perceptron(inputs: int, config: MlpConfig, outputs: int) -> nn.Sequential:
    """Return linear layers with ReLU between them.

    Every hidden layer takes three places, as in the checkpoints, which have a place for a norm.
    """
    modules: list[nn.Module] = []
    for _ in range(config.hidden_depth):
        modules += [nn.Linear(inputs, config.hidden_dim), nn.Identity(), nn.ReLU()]
        inputs = config.hidden_dim
    return nn.Sequential(*modules, nn.Linear(inputs, outputs))
