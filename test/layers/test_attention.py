# SPDX-License-Identifier: Apache-2.0
"""Attention: when flash-attn is used, its tensor layout, and fallbacks without it."""

import sys
from collections.abc import Iterator
from types import ModuleType

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from groot_ros.layers import attention as module
from groot_ros.layers.attention import attention, fits_flash, flash_function, in_flash_layout

HEADS = 3


@pytest.fixture(autouse=True)
def fresh_import() -> Iterator[None]:
    flash_function.cache_clear()
    yield
    flash_function.cache_clear()


def tensors(length: int = 5, keys: int = 5, width: int = 16) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return tuple(torch.randn(2, HEADS, n, width, generator=generator) for n in (length, keys, keys))


def flash_by_torch(q: Tensor, k: Tensor, v: Tensor, causal: bool = False) -> Tensor:
    """Compute the same attention as flash-attn, in its layout [B, T, heads, D]."""
    assert q.shape[2] == k.shape[2] == v.shape[2] == HEADS
    q, k, v = (t.transpose(1, 2) for t in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v, is_causal=causal).transpose(1, 2)


@pytest.mark.parametrize(
    ("device", "dtype", "head_dim", "fits"),
    [
        ("cuda", torch.bfloat16, 48, True),
        ("cuda", torch.float16, 72, True),
        ("cuda", torch.bfloat16, 128, True),
        ("cuda", torch.bfloat16, 256, True),
        ("cuda", torch.bfloat16, 264, False),
        ("cuda", torch.bfloat16, 12, False),
        ("cuda", torch.float32, 48, False),
        ("cpu", torch.bfloat16, 48, False),
        ("meta", torch.float16, 48, False),
    ],
)
def test_flash_attn_is_used_only_for_supported_tensors(
    device: str, dtype: torch.dtype, head_dim: int, fits: bool
) -> None:
    assert fits_flash(device, dtype, head_dim) is fits


@pytest.mark.parametrize("causal", [False, True])
def test_the_flash_attn_layout_gives_the_same_numbers(causal: bool) -> None:
    q, k, v = tensors()
    torch.testing.assert_close(
        in_flash_layout(flash_by_torch, q, k, v, causal),
        F.scaled_dot_product_attention(q, k, v, is_causal=causal),
        atol=0,
        rtol=0,
    )


def test_keys_may_have_another_length_than_queries() -> None:
    q, k, v = tensors(4, 7)
    assert in_flash_layout(flash_by_torch, q, k, v, False).shape == q.shape


def with_flash_everywhere(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Use a flash-attn substitute for every tensor; return the list of its `causal` arguments."""
    calls: list[bool] = []

    def flash(q: Tensor, k: Tensor, v: Tensor, causal: bool = False) -> Tensor:
        calls.append(causal)
        return flash_by_torch(q, k, v, causal)

    monkeypatch.setattr(module, "flash_for", lambda x, head_dim: flash)
    return calls


def test_flash_attn_is_not_used_with_a_mask_that_is_not_causal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls = with_flash_everywhere(monkeypatch)
    q, k, v = tensors()
    mask = torch.ones(5, 5, dtype=torch.bool)
    mask[:, 1] = False
    expected = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    torch.testing.assert_close(attention(q, k, v, mask), expected, atol=0, rtol=0)
    assert calls == []


def test_flash_attn_is_used_without_a_mask_and_with_the_causal_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls = with_flash_everywhere(monkeypatch)
    q, k, v = tensors()
    causal = torch.ones(5, 5, dtype=torch.bool).tril()
    everywhere = F.scaled_dot_product_attention(q, k, v)
    past = F.scaled_dot_product_attention(q, k, v, attn_mask=causal)
    torch.testing.assert_close(attention(q, k, v), everywhere)
    torch.testing.assert_close(attention(q, k, v, causal, causal=True), past)
    assert calls == [False, True]


def test_causal_gives_the_same_without_flash_attn() -> None:
    q, k, v = tensors()
    causal = torch.ones(5, 5, dtype=torch.bool).tril()
    expected = F.scaled_dot_product_attention(q, k, v, attn_mask=causal)
    torch.testing.assert_close(attention(q, k, v, causal, causal=True), expected, atol=0, rtol=0)
    torch.testing.assert_close(attention(q, k, v, causal=True), expected)


def test_an_installed_flash_attn_is_not_used_on_the_cpu(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def reject(*_: object, **__: object) -> Tensor:
        raise AssertionError("called for a tensor on the CPU")

    package = ModuleType("flash_attn")
    package.flash_attn_func = reject  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "flash_attn", package)
    assert flash_function() is reject
    q, k, v = (t.bfloat16() for t in tensors())
    assert attention(q, k, v).isfinite().all()


def test_flash_attn_is_optional(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "flash_attn", None)
    assert flash_function() is None


def test_a_flash_attn_that_does_not_load_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "flash_attn", ModuleType("flash_attn"))
    with pytest.warns(UserWarning, match="flash-attn is installed but does not load"):
        assert flash_function() is None
