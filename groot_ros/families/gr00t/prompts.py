# SPDX-License-Identifier: Apache-2.0
"""Constants of the staged model that depend on the instruction, with a cache."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from groot_ros.layers.eagle import EagleSizes
from groot_ros.layers.qwen3 import rope_1d

#: Number of values that a cache keeps in memory.
_KEPT = 8
_Value = TypeVar("_Value")


@dataclass(frozen=True)
class Prompt:
    """Constants of one instruction, on the device of the segments.

    Attributes:
        embeddings: token embeddings [1, S, D]; arbitrary at image tokens.
        image_index: int64 [Si], positions of the image tokens in the sequence.
        cos, sin: rotary angles of the language tower, [S, d].

    """

    embeddings: Tensor
    image_index: Tensor
    cos: Tensor
    sin: Tensor


class Prompts:
    """Cache of the constants of instructions; token embeddings stay on the host."""

    def __init__(
        self, eagle: EagleSizes, tokens: nn.Embedding, device: torch.device, dtype: torch.dtype
    ) -> None:
        self._eagle, self._tokens = eagle, tokens
        self._device, self._dtype = device, dtype
        self._kept: OrderedDict[Hashable, Any] = OrderedDict()

    def to_host(self) -> None:
        """Move the embeddings to the CPU."""
        self._tokens.cpu()

    @property
    def nbytes(self) -> int:
        """Return the memory of the embeddings on the host in bytes."""
        return self._tokens.weight.nbytes

    def of(self, ids: NDArray[np.int64]) -> Prompt:
        """Return the constants of token ids [S] without padding, from the cache if possible."""
        return recent(self._kept, ids.tobytes(), lambda: self._text(torch.from_numpy(ids)))

    @torch.no_grad()
    def _text(self, ids: Tensor) -> Prompt:
        text = self._eagle.text
        index = (ids == self._eagle.image_token_index).nonzero()[:, 0]
        cos, sin = rope_1d(len(ids), text.head_dim, text.rope_theta, torch.device("cpu"))
        embeddings = self._tokens(ids.to(self._tokens.weight.device))[None]
        return Prompt(
            embeddings.to(self._device, self._dtype),
            index.to(self._device),
            cos.to(self._device, self._dtype),
            sin.to(self._device, self._dtype),
        )


def recent(kept: "OrderedDict[Any, _Value]", key: Hashable, make: Callable[[], _Value]) -> _Value:
    """Return the value of a key from a cache of the values used last, made if it is not there."""
    if key not in kept:
        kept[key] = make()
        while len(kept) > _KEPT:
            kept.popitem(last=False)
    kept.move_to_end(key)
    return kept[key]
