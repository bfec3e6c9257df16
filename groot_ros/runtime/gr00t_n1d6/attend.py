"""Scaled dot-product attention in two forms of the same formula."""

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn


class Attend(nn.Module):
    """Softmax(q k' / sqrt(d)) v, with no weights of its own.

    Attributes:
        by_hand: spell it out in products and a softmax instead of one fused operation, for
            TensorRT before 10.8, which computes the fused one wrongly.

    """

    def __init__(self, *, causal: bool = False) -> None:
        super().__init__()
        self.causal = causal
        self.by_hand = False

    def forward(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
        """[B, heads, T, d] and twice [B, groups, S, d] to [B, T, heads * d].

        Consecutive query heads share a group. `mask` is bool [T, S], True where a key is seen.
        """
        if k.shape[1] != q.shape[1]:
            k, v = (_spread(x, q.shape[1] // k.shape[1]) for x in (k, v))
        if self.by_hand:
            out = self._spelled_out(q, k, v, mask)
        else:
            out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=self.causal)
        return out.transpose(1, 2).flatten(2)

    def _spelled_out(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
        if self.causal:
            mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=q.device).tril()
        if mask is not None:
            scores = scores.masked_fill(~mask, float("-inf"))
        return scores.softmax(-1) @ v


def _spread(x: Tensor, times: int) -> Tensor:
    """Every head `times` times in a row."""
    batch, heads, length, width = x.shape
    wide = x[:, :, None].expand(batch, heads, times, length, width)
    return wide.reshape(batch, heads * times, length, width)
