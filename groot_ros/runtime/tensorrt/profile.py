"""Which sizes an engine is built for: a smallest, a usual and a largest of every free dimension."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from groot_ros.runtime.contract import TensorSpec
from groot_ros.runtime.manifest import Range

Shape = tuple[int, ...]


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


def _span(tensor: TensorSpec, dim: int | str, sizes: Mapping[str, Sequence[int]]) -> Range:
    if isinstance(dim, int):
        return Range(dim, dim, dim)
    if dim not in sizes:
        raise ValueError(f"the profile has no '{dim}', a free dimension of '{tensor.name}'")
    span = Range(*sizes[dim])
    if not 1 <= span.low <= span.usual <= span.high:
        raise ValueError(
            f"the profile's '{dim}' is {tuple(span)}: smallest, usual and largest must rise from 1"
        )
    return span
