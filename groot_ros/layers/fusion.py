# SPDX-License-Identifier: Apache-2.0
"""Fuse linear layers: parallel layers into one product, consecutive layers into one.

The result replaces its sources. Callers drop them layer by layer (`take_layers`), so at most one
layer's weights are in memory twice.
"""

import ctypes
import functools
from collections.abc import Callable, Iterator, Sequence
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
    """Return one layer whose outputs are those of all `layers`, in order.

    Either all layers have a bias or none has.
    """
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
    """Yield the layers, all of type `kind`, and remove each from the list before it is yielded.

    Memory of layers that the caller has dropped is returned to the operating system.
    """
    for index in range(len(layers)):
        layer, layers[index] = layers[index], nn.Identity()
        assert isinstance(layer, kind)
        yield layer
        del layer
        release_heap()


def keep_precision(*layers: nn.Module) -> None:
    """Exempt layers from quantisation, as their rounding errors directly affect the actions."""
    for layer in layers:
        layer.keep_precision = True  # type: ignore[assignment]


@functools.cache
def _trim() -> Callable[[int], int] | None:
    """Return glibc's malloc_trim, or None with another C library."""
    return getattr(ctypes.CDLL(None), "malloc_trim", None)


def release_heap() -> None:
    """Return free pages of the heap to the operating system.

    glibc keeps freed blocks of up to 32 MB, about the size of one layer's weights. Without this
    call, a 5 GB model whose layers are replaced one by one holds 0.8 GB more than it needs.
    """
    trim = _trim()
    if trim is not None:
        trim(0)
