# SPDX-License-Identifier: Apache-2.0
"""A segment in the form that `torch.export` takes: named inputs, their ranges, and an example."""

from collections.abc import Mapping, Sequence
from inspect import Parameter, Signature
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim

from groot_ros.core.program import ProgramSpec, Range, Segment, TensorSpec
from groot_ros.runtime.device import dtype_of
from groot_ros.runtime.engine import TensorRtError


class _Wrapped(nn.Module):
    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module


def with_named_inputs(module: nn.Module, count: int) -> nn.Module:
    """Return a module with parameters input_0, input_1, ... that calls `module` with them.

    Torch-TensorRT assigns ranges to the parameters of `forward` by name; segments may have a
    variable number of arguments.
    """

    def forward(self: _Wrapped, *tensors: Tensor) -> Any:
        return self.module(*tensors)

    kind = Parameter.POSITIONAL_OR_KEYWORD
    names = ["self", *(f"input_{i}" for i in range(count))]
    forward.__signature__ = Signature([Parameter(n, kind) for n in names])  # type: ignore[attr-defined]
    return type("SegmentModule", (_Wrapped,), {"forward": forward})(module).eval()


def dynamic_shapes(
    segment: Segment, program: ProgramSpec, profile: Mapping[str, Range]
) -> tuple[dict[int, Any], ...]:
    """Return axis -> `torch.export.Dim` of every input; an axis of one size is not included."""
    free: dict[str, Any] = {}

    def dim_of(name: str) -> Any:
        low, _, high = _range(name, segment, profile)
        if low == high:
            return None
        if name not in free:
            dim = program.free_dims[name]
            base = dim_of(dim.multiple_of) if dim.multiple_of else Dim(name, min=low, max=high)
            free[name] = dim.factor * base if dim.multiple_of else base
        return free[name]

    return tuple(
        {
            axis: found
            for axis, dim in enumerate(tensor.dims)
            if isinstance(dim, str) and (found := dim_of(dim)) is not None
        }
        for tensor in segment.inputs
    )


def example_inputs(
    segment: Segment,
    profile: Mapping[str, Range],
    dtype: torch.dtype,
    device: torch.device,
) -> tuple[Tensor, ...]:
    """Return inputs of the usual sizes, for which TensorRT optimises.

    A dimension with a range has at least two entries, as `torch.export` fixes one of size 1.
    """

    def size(dim: int | str) -> int:
        if isinstance(dim, int):
            return dim
        _, usual, high = _range(dim, segment, profile)
        return min(max(usual, 2), high)

    return tuple(_example([size(d) for d in t.dims], t, dtype, device) for t in segment.inputs)


def require_inside(
    segment: Segment,
    program: ProgramSpec,
    profile: Mapping[str, Range],
    inputs: Sequence[Tensor],
) -> None:
    """Raise ValueError unless the inputs have sizes for which the segment was compiled.

    Torch-TensorRT would compile the segment again, which takes minutes.
    """
    specs = segment.inputs
    shapes = {spec.name: given.shape for spec, given in zip(specs, inputs, strict=True)}
    for name, size in program.complete(segment.sizes(shapes)).items():
        low, _, high = profile.get(name, Range(size, size, size))
        if not low <= size <= high:
            raise ValueError(
                f"segment '{segment.name}': compiled for '{name}' from {low} to {high}, this "
                f"observation has {size}: make the engine for more (another camera size, or a "
                "longer instruction)"
            )


def _range(name: str, segment: Segment, profile: Mapping[str, Range]) -> Range:
    if name not in profile:
        raise TensorRtError(
            f"segment '{segment.name}': the profile has no sizes of '{name}': export it again"
        )
    return profile[name]


def _example(
    shape: Sequence[int], tensor: TensorSpec, weights: torch.dtype, device: torch.device
) -> Tensor:
    dtype = dtype_of(tensor, weights)
    if dtype == torch.bool:
        return torch.ones(shape, dtype=dtype, device=device)
    if dtype == torch.int64:
        return torch.arange(prod(shape), device=device).reshape(shape)
    return torch.rand(shape, device=device).to(dtype)
