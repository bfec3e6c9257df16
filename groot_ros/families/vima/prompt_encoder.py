# SPDX-License-Identifier: Apache-2.0
"""Prompt encoder of VIMA: a T5 encoder fed with embeddings of words and objects."""

from typing import Any

from torch import Tensor, nn

from groot_ros.families.vima.config import PromptConfig


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
