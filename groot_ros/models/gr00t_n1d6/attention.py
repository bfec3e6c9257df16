"""Softmax attention: torch's own, or the flash-attn package where it is installed and fits."""

import warnings
from collections.abc import Callable
from functools import cache

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

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
