"""The tensors of a layout, taken out and put back, so that one recording serves all its like."""

from collections.abc import Hashable, Sequence
from copy import copy
from dataclasses import replace

from torch import Tensor

from groot_ros.runtime.gr00t_n1d6 import Layout


def tensors_of(layout: Layout) -> tuple[Tensor, ...]:
    """All tensors, in an order that depends on `structure_of` alone."""
    grids = [tensor for batch in layout.batches for tensor in batch.grid.inputs]
    order = () if layout.order is None else (layout.order,)
    fixed = (layout.embeddings, layout.image_index, layout.cos, layout.sin)
    return (*fixed, *layout.indexes, *order, *grids)


def structure_of(layout: Layout) -> Hashable:
    """What besides shapes tells layouts apart."""
    batches = tuple((batch.views, len(batch.grid.inputs)) for batch in layout.batches)
    return (batches, layout.order is None, len(layout.indexes))


def with_tensors(layout: Layout, tensors: Sequence[Tensor]) -> Layout:
    """A layout of the same structure with these tensors in the place of its own."""
    rest = iter(tensors)
    embeddings, image_index, cos, sin = (next(rest) for _ in range(4))
    indexes = tuple(next(rest) for _ in layout.indexes)
    order = None if layout.order is None else next(rest)
    batches = []
    for batch in layout.batches:
        grid = copy(batch.grid)
        grid.inputs = tuple(next(rest) for _ in batch.grid.inputs)
        batches.append(replace(batch, grid=grid))
    return replace(
        layout,
        batches=tuple(batches),
        order=order,
        embeddings=embeddings,
        image_index=image_index,
        indexes=indexes,
        cos=cos,
        sin=sin,
    )
