"""Weights put together: stacked, composed, and one embodiment's out of many.

Everything here takes the weights over: what it made of them replaces them, so that no weight is
held twice for longer than its own layer takes.
"""

from collections.abc import Iterator, Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn

from groot_ros.models.gr00t_n1d6.embodiment import CategoryLinear

_Layer = TypeVar("_Layer", bound=nn.Module)


def linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    """A linear layer around these tensors: weight [out, in], bias [out]."""
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, device="meta")
    layer.weight = nn.Parameter(weight, requires_grad=False)
    if bias is not None:
        layer.bias = nn.Parameter(bias, requires_grad=False)
    return layer


def stack(layers: Sequence[nn.Linear]) -> nn.Linear:
    """One layer with the outputs of all, in this order; all have a bias, or none has."""
    bias = None if layers[0].bias is None else torch.cat([layer.bias for layer in layers])
    return linear(torch.cat([layer.weight for layer in layers]), bias)


def compose(first: nn.Linear, second: nn.Linear) -> nn.Linear:
    """second(first(x)) as one layer, multiplied in float64."""
    weight = second.weight.double() @ first.weight.double()
    bias = second.bias.double()
    if first.bias is not None:
        bias = bias + second.weight.double() @ first.bias.double()
    return linear(weight.to(second.weight.dtype), bias.to(second.weight.dtype))


def of_embodiment(layer: CategoryLinear, row: int) -> nn.Linear:
    """The weights of one embodiment as a plain layer."""
    return linear(layer.W[row].T.contiguous(), layer.b[row].clone())


def drain(layers: nn.ModuleList, kind: type[_Layer]) -> Iterator[_Layer]:
    """Every layer in turn, all of this kind; the list forgets it."""
    for index in range(len(layers)):
        layer, layers[index] = layers[index], nn.Identity()
        assert isinstance(layer, kind)
        yield layer
