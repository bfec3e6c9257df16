"""Softmax attention: torch's own, or the flash-attn package where it is installed and fits."""

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
    """`flash_attn_func` of the flash-attn package (2.x), None where it cannot be imported."""
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
    """Whether the package has a kernel: CUDA, half precision, heads of 8, 16, ... 256 channels."""
    return (
        device == "cuda"
        and dtype in (torch.float16, torch.bfloat16)
        and head_dim <= _MAX_HEAD_DIM
        and head_dim % _HEAD_DIM_STEP == 0
    )


def flash_for(x: Tensor, head_dim: int) -> FlashFunction | None:
    """The package's function, where there is one that takes tensors like `x`."""
    return flash_function() if fits_flash(x.device.type, x.dtype, head_dim) else None


def in_flash_layout(flash: FlashFunction, q: Tensor, k: Tensor, v: Tensor, causal: bool) -> Tensor:
    """Call a function that takes [B, T, heads, D] with [B, heads, T, D]."""
    out = flash(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), causal=causal)
    return out.transpose(1, 2)


def attention(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None, causal: bool = False
) -> Tensor:
    """[B, heads, T, D], twice [B, heads, S, D] to [B, heads, T, D].

    Args:
        q: queries.
        k: keys.
        v: values.
        mask: bool, broadcast to [B, heads, T, S], True where a key is seen; None = everywhere.
        causal: the mask is exactly the causal one, and T = S.

    """
    flash = flash_for(q, q.shape[-1]) if mask is None or causal else None
    if flash is not None:
        return in_flash_layout(flash, q, k, v, causal)
    return F.scaled_dot_product_attention(
        q, k, v, attn_mask=mask, is_causal=causal and mask is None
    )


class Attention(nn.Module):
    """Softmax(q k' / sqrt(d)) v, with no weights of its own.

    Attributes:
        math: spell it out in products and a softmax instead of one fused operation, for
            TensorRT before 10.8, which computes the fused one wrongly.

    """

    def __init__(self, *, causal: bool = False) -> None:
        super().__init__()
        self.causal = causal
        self.math = False

    def forward(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
        """[B, heads, T, d] and twice [B, groups, S, d] to [B, T, heads * d].

        Consecutive query heads share a group. `mask` is bool [T, S], True where a key is seen.
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
    """Every head `times` times in a row."""
    batch, heads, length, width = x.shape
    wide = x[:, :, None].expand(batch, heads, times, length, width)
    return wide.reshape(batch, heads * times, length, width)
