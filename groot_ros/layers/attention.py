# SPDX-License-Identifier: Apache-2.0
"""Softmax attention: torch's own, or the flash-attn package if it is installed and applicable."""

import warnings
from collections.abc import Callable
from functools import cache

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

#: flash_attn_func(q, k, v, dropout_p, softmax_scale, causal) on [B, T, heads, D].
FlashFunction = Callable[..., Tensor]

_MAX_HEAD_DIM = 256
_HEAD_DIM_STEP = 8


@cache
def flash_function() -> FlashFunction | None:
    """Return `flash_attn_func` of the flash-attn package (2.x), None if it cannot be imported."""
    try:
        from flash_attn import flash_attn_func
    except ModuleNotFoundError:
        return None
    except ImportError as error:
        warnings.warn(
            f"flash-attn is installed but does not load ({error}): torch's attention is used; "
            "rebuild it for this torch, or uninstall it",
            stacklevel=2,
        )
        return None
    return flash_attn_func


def fits_flash(device: str, dtype: torch.dtype, head_dim: int) -> bool:
    """Tell whether flash-attn has a kernel for these tensors.

    It has kernels for CUDA, half precision and heads of 8, 16, ... 256 channels.
    """
    return (
        device == "cuda"
        and dtype in (torch.float16, torch.bfloat16)
        and head_dim <= _MAX_HEAD_DIM
        and head_dim % _HEAD_DIM_STEP == 0
    )


def flash_for(x: Tensor, head_dim: int) -> FlashFunction | None:
    """Return `flash_attn_func` if it is installed and accepts tensors like `x`, else None."""
    return flash_function() if fits_flash(x.device.type, x.dtype, head_dim) else None


def in_flash_layout(flash: FlashFunction, q: Tensor, k: Tensor, v: Tensor, causal: bool) -> Tensor:
    """Call a function that expects [B, T, heads, D] with tensors [B, heads, T, D]."""
    out = flash(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), causal=causal)
    return out.transpose(1, 2)


def attention(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None, causal: bool = False
) -> Tensor:
    """Compute softmax attention, with flash-attn where it applies.

    Args:
        q: queries [B, heads, T, D].
        k: keys [B, heads, S, D].
        v: values [B, heads, S, D].
        mask: bool, broadcast to [B, heads, T, S], True where a key is visible; None = all.
        causal: True if the mask is exactly the causal one and T = S.

    Returns:
        [B, heads, T, D].

    """
    flash = flash_for(q, q.shape[-1]) if mask is None or causal else None
    if flash is not None:
        return in_flash_layout(flash, q, k, v, causal)
    return F.scaled_dot_product_attention(
        q, k, v, attn_mask=mask, is_causal=causal and mask is None
    )


class Attention(nn.Module):
    """Softmax(q k' / sqrt(d)) v as a module without weights.

    Attributes:
        causal: hide later keys from each query.
        math: compute matrix products and a softmax instead of one fused operation; needed for
            TensorRT before 10.8, which computes the fused operation wrongly.

    """

    def __init__(self, *, causal: bool = False) -> None:
        super().__init__()
        self.causal = causal
        self.math = False

    def forward(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
        """Attend from queries to keys; consecutive query heads share one group.

        Args:
            q: queries [B, heads, T, d].
            k: keys [B, groups, S, d].
            v: values [B, groups, S, d].
            mask: bool [T, S], True where a key is visible; None = all.

        Returns:
            [B, T, heads * d].

        """
        if k.shape[1] != q.shape[1]:
            k, v = (_repeat_heads(x, q.shape[1] // k.shape[1]) for x in (k, v))
        if self.math:
            out = self._math(q, k, v, mask)
        else:
            out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=self.causal)
        return out.transpose(1, 2).flatten(2)

    def _math(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
        if self.causal:
            mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=q.device).tril()
        if mask is not None:
            scores = scores.masked_fill(~mask, float("-inf"))
        return scores.softmax(-1) @ v


def _repeat_heads(x: Tensor, times: int) -> Tensor:
    """Repeat every head of [B, heads, T, d] `times` times in a row."""
    batch, heads, length, width = x.shape
    wide = x[:, :, None].expand(batch, heads, times, length, width)
    return wide.reshape(batch, heads * times, length, width)
