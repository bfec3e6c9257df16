# SPDX-License-Identifier: Apache-2.0
"""Prompt encoder of VIMA: words and objects in one sequence of embeddings, through a T5 encoder."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from groot_ros.families.vima.config import PromptConfig
from groot_ros.families.vima.prompt import PICTURE, WORD


def interleave(
    items: Sequence[Sequence[int]], words: Tensor, objects: Tensor, visible: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Put words and objects into the order of their prompts.

    Args:
        items: WORD or PICTURE for every item of each prompt.
        words: embeddings of the words of all prompts, one prompt after the other [W, C].
        objects: embeddings of the objects of all pictures, in the same order [P, Q, C].
        visible: bool [P, Q], False for padded slots of a picture; None without pictures.

    Returns:
        Embeddings [B, S, C], and bool [B, S] that is False at padded slots and after the end of a
        shorter prompt.

    Raises:
        ValueError: the items do not match the numbers of words and pictures.

    """
    pictures, slots = objects.shape[:2]
    for kind, count, name in ((WORD, len(words), "words"), (PICTURE, pictures, "pictures")):
        asked = sum(list(prompt).count(kind) for prompt in items)
        if asked != count:
            raise ValueError(f"the prompts contain {asked} {name}, but {count} were given")
    # One table of everything, whose last row is padding.
    table = torch.cat([words, objects.flatten(0, 1), words.new_zeros(1, words.shape[1])])
    shown = torch.ones(len(table), dtype=torch.bool, device=words.device)
    shown[-1] = False
    if visible is not None:
        shown[len(words) : -1] = visible.flatten()
    rows, word, picture = [], 0, 0
    for prompt in items:
        row: list[int] = []
        for item in prompt:
            if item == WORD:
                row.append(word)
                word += 1
            else:
                first = len(words) + picture * slots
                row += range(first, first + slots)
                picture += 1
        rows.append(row)
    length, padding = max(map(len, rows)), len(table) - 1
    index = torch.tensor([row + [padding] * (length - len(row)) for row in rows])
    index = index.to(words.device)
    return table[index], shown[index]


class T5PromptEncoder(nn.Module):
    """T5 encoder of the transformers package, built from its sizes; nothing is downloaded."""

    def __init__(self, config: PromptConfig) -> None:
        super().__init__()
        self.t5 = _build(config)

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Map embeddings [B, S, d_model] to [B, S, d_model]; mask is bool [B, S]."""
        return self.t5(inputs_embeds=tokens, attention_mask=mask.to(tokens.dtype)).last_hidden_state


def _build(config: PromptConfig) -> Any:
    # Importing transformers takes seconds, and only VIMA needs it.
    try:
        from transformers import T5Config, T5EncoderModel
    except ImportError as error:
        raise ImportError(
            f"VIMA needs the package transformers ({error}): pip install 'groot_ros[vima]'"
        ) from error
    # Its own word table is never read, as it is fed with embeddings: one row instead of 32128.
    sizes = T5Config(vocab_size=1, pad_token_id=0, eos_token_id=None, **vars(config))
    return T5EncoderModel(sizes)


class WordEmbedding(nn.Module):
    """Word table."""

    def __init__(self, words: int, width: int) -> None:
        super().__init__()
        self._embed_layer = nn.Embedding(words, width)

    def forward(self, ids: Tensor) -> Tensor:
        """Map token ids [...] to embeddings [..., width]."""
        return self._embed_layer(ids)
