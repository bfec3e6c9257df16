# SPDX-License-Identifier: Apache-2.0
"""Constants that depend on the instruction and the image sizes, with a cache."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from groot_ros.families.gr00t.prompts import Prompt, Prompts, recent
from groot_ros.families.gr00t_n1d6.config import EagleConfig, Gr00tN1d6Config
from groot_ros.layers.eagle import token_mismatch
from groot_ros.layers.patches import cell_order
from groot_ros.layers.siglip2 import Embeddings, Grid


class PatchGrid:
    """Positions, rotary angles and windows of one image size, with patches cell by cell.

    Attributes:
        inputs: position embeddings [N, C], then, if the checkpoint uses them, rotary cosines and
            sines [N, d/2] and a mask, bool [N, N], that is True for patches of one window.
        cells: number of image tokens per view.

    """

    def __init__(
        self, config: EagleConfig, embeddings: Embeddings, height: int, width: int
    ) -> None:
        h, w = height // embeddings.patch, width // embeddings.patch
        if h % config.shuffle or w % config.shuffle:
            raise ValueError(
                f"an image of {height} x {width} does not divide into cells of "
                f"{config.shuffle} x {config.shuffle} patches of {embeddings.patch} pixels"
            )
        weight = embeddings.position_embedding.weight
        grid = Grid(config.vision, h, w, weight.device)
        tables = [embeddings.positions(h, w), *(grid.rope or ())]
        ordered = [cell_order(table, h, w, config.shuffle) for table in tables]
        if grid.same_window is not None:
            rows = cell_order(grid.same_window, h, w, config.shuffle)
            ordered.append(cell_order(rows.T.contiguous(), h, w, config.shuffle).T.contiguous())
        self.inputs = tuple(table.contiguous() for table in ordered)
        self.cells = h * w // config.shuffle**2


@dataclass(frozen=True)
class ViewBatch:
    """Views of one size: their indices among the images, and their grid."""

    views: tuple[int, ...]
    grid: PatchGrid


@dataclass(frozen=True)
class Layout:
    """Constants of one instruction with images of given sizes, on the device of the stages.

    Attributes:
        text: constants that do not depend on the image sizes.
        batches: images grouped by size.
        order: int64 [Si], index that sorts the image tokens of all batches by image; None if they
            are sorted already.
        indexes: positions of the tokens of each group in `staged_head.token_groups`, int64.

    """

    text: Prompt
    batches: tuple[ViewBatch, ...]
    order: Tensor | None
    indexes: tuple[Tensor, ...]

    @property
    def lengths(self) -> tuple[int, ...]:
        """Return the number of tokens of each token group."""
        return tuple(len(index) for index in self.indexes)


class Layouts(Prompts):
    """Cache of layouts; token and position embeddings stay on the host."""

    def __init__(
        self,
        config: Gr00tN1d6Config,
        tokens: nn.Embedding,
        patches: Embeddings,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        super().__init__(config.eagle, tokens, device, dtype)
        self._config, self._positions = config, patches
        self._layouts: OrderedDict[tuple, Layout] = OrderedDict()
        self._grids: OrderedDict[tuple[int, int], PatchGrid] = OrderedDict()

    def to_host(self) -> None:
        """Move the embeddings to the CPU."""
        super().to_host()
        self._positions.position_embedding.cpu()

    @property
    def nbytes(self) -> int:
        """Return the memory of the embeddings on the host in bytes."""
        return super().nbytes + sum(p.nbytes for p in self._positions.parameters())

    def of_images(self, ids: NDArray[np.int64], sizes: Sequence[tuple[int, int]]) -> Layout:
        """Return the layout of an instruction, from the cache if possible.

        Args:
            ids: token ids [S] without padding.
            sizes: (height, width) of each image.

        Raises:
            ValueError: the images do not give as many tokens as there are image token ids.

        """
        key = (ids.tobytes(), tuple(sizes))
        return recent(self._layouts, key, lambda: self._make(ids, sizes))

    @torch.no_grad()
    def _make(self, ids: NDArray[np.int64], sizes: Sequence[tuple[int, int]]) -> Layout:
        text = self.of(ids)
        by_size: dict[tuple[int, int], list[int]] = {}
        for view, size in enumerate(sizes):
            by_size.setdefault(size, []).append(view)
        batches = tuple(
            ViewBatch(tuple(views), self._grid(*size)) for size, views in by_size.items()
        )
        cells = {view: batch.grid.cells for batch in batches for view in batch.views}
        if sum(cells.values()) != len(text.image_index):
            given = sum(cells.values())
            raise ValueError(token_mismatch(given, len(text.image_index), self._config.eagle))
        alternate = self._config.use_alternate_vl_dit
        is_text = torch.from_numpy(ids != self._config.eagle.image_token_index)
        every = is_text.nonzero()[:, 0] if alternate else torch.arange(len(ids))
        first = every.to(self._device)
        order = _order(batches, cells)
        return Layout(
            text=text,
            batches=batches,
            order=None if order is None else order.to(self._device),
            indexes=(first, text.image_index) if alternate else (first,),
        )

    def _grid(self, height: int, width: int) -> PatchGrid:
        def make() -> PatchGrid:
            grid = PatchGrid(self._config.eagle, self._positions, height, width)
            grid.inputs = tuple(table.to(self._device) for table in grid.inputs)
            return grid

        return recent(self._grids, (height, width), make)


def _order(batches: Sequence[ViewBatch], cells: dict[int, int]) -> Tensor | None:
    """Return the index that sorts the tokens of all batches by image, None if they are sorted."""
    views = [view for batch in batches for view in batch.views]
    if views == sorted(views):
        return None
    starts, total = {}, 0
    for view in views:
        starts[view] = total
        total += cells[view]
    return torch.cat([starts[v] + torch.arange(cells[v]) for v in sorted(views)])
