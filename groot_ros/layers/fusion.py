"""Fuse linear layers: several into one product, one after another into one.

Every function takes the weights over: the result replaces its sources, so that no weight is held
twice for longer than its own layer takes.
"""

from collections.abc import Iterator, Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn

_Layer = TypeVar("_Layer", bound=nn.Module)


def linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    """Return a linear layer around these tensors: weight [out, in], bias [out]."""
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, device="meta")
    layer.weight = nn.Parameter(weight, requires_grad=False)
    if bias is not None:
        layer.bias = nn.Parameter(bias, requires_grad=False)
    return layer


def stack(layers: Sequence[nn.Linear]) -> nn.Linear:
    """Return one layer with the outputs of all, in order; either all have a bias or none."""
    bias = None if layers[0].bias is None else torch.cat([layer.bias for layer in layers])
    return linear(torch.cat([layer.weight for layer in layers]), bias)


def compose(first: nn.Linear, second: nn.Linear) -> nn.Linear:
    """Return second(first(x)) as one layer, multiplied in float64."""
    weight = second.weight.double() @ first.weight.double()
    bias = second.bias.double()
    if first.bias is not None:
        bias = bias + second.weight.double() @ first.bias.double()
    return linear(weight.to(second.weight.dtype), bias.to(second.weight.dtype))


def take_layers(layers: nn.ModuleList, kind: type[_Layer]) -> Iterator[_Layer]:
    """Yield every layer, all of this type, and remove it from the list."""
    for index in range(len(layers)):
        layer, layers[index] = layers[index], nn.Identity()
        assert isinstance(layer, kind)
        yield layer


def keep_precision(*layers: nn.Module) -> None:
    """Exempt layers from quantisation: their errors would reach the actions undamped."""
    for layer in layers:
        layer.keep_precision = True  # type: ignore[assignment]
