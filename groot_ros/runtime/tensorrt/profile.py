"""Which sizes an engine is built for: a smallest, a usual and a largest of every free dimension."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from groot_ros.runtime.contract import StageSpec, TensorSpec

Shape = tuple[int, ...]


class Sizes(NamedTuple):
    """Of one free dimension; the engine is tuned for the usual one."""

    smallest: int
    usual: int
    largest: int


class Shapes(NamedTuple):
    """Of one tensor."""

    smallest: Shape
    usual: Shape
    largest: Shape


def shapes_of(tensor: TensorSpec, sizes: Mapping[str, Sequence[int]]) -> Shapes:
    """The tensor's shapes at the three sizes; raises ValueError naming the dimension."""
    spans = [_span(tensor, dim, sizes) for dim in tensor.dims]
    smallest, usual, largest = (tuple(span[i] for span in spans) for i in range(3))
    return Shapes(smallest, usual, largest)


def sizes_of(stage: StageSpec, shapes: Mapping[str, Sequence[int]]) -> dict[str, int]:
    """The free dimensions that the given shapes of all inputs mean.

    Raises:
        ValueError: a shape does not fit the contract, or two tensors disagree.

    """
    sizes: dict[str, int] = {}
    for tensor in stage.inputs:
        given = tuple(shapes[tensor.name])
        if len(given) != len(tensor.dims):
            raise ValueError(f"{stage.name}: '{tensor.name}' is {given}, expected {tensor.dims}")
        for dim, size in zip(tensor.dims, given, strict=True):
            expected = sizes.setdefault(dim, size) if isinstance(dim, str) else dim
            if size != expected:
                raise ValueError(
                    f"{stage.name}: '{tensor.name}' is {given}, but '{dim}' is {expected}"
                )
    return sizes


def _span(tensor: TensorSpec, dim: int | str, sizes: Mapping[str, Sequence[int]]) -> Sizes:
    if isinstance(dim, int):
        return Sizes(dim, dim, dim)
    if dim not in sizes:
        raise ValueError(f"the profile has no '{dim}', a free dimension of '{tensor.name}'")
    span = Sizes(*sizes[dim])
    if not 1 <= span.smallest <= span.usual <= span.largest:
        raise ValueError(
            f"the profile's '{dim}' is {tuple(span)}: smallest, usual and largest must rise from 1"
        )
    return span
