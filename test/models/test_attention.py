"""Which attention kernel runs, and that the flash layout changes no result."""

import sys
from collections.abc import Iterator
from types import ModuleType

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from groot_ros.layers.attention import (
    attention,
    fits_flash,
    flash_function,
    in_flash_layout,
)
from groot_ros.models.gr00t_n1d6 import attention as module

HEADS = 3


@pytest.fixture(autouse=True)
def forget_the_package() -> Iterator[None]:
    flash_function.cache_clear()
    yield
    flash_function.cache_clear()


def tensors(length: int = 5, keys: int = 5, width: int = 16) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return tuple(torch.randn(2, HEADS, n, width, generator=generator) for n in (length, keys, keys))


def flash_by_torch(q: Tensor, k: Tensor, v: Tensor, causal: bool = False) -> Tensor:
    """What the package computes, in its layout [B, T, heads, D]."""
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
def test_the_package_is_asked_only_for_what_it_has(
    device: str, dtype: torch.dtype, head_dim: int, fits: bool
) -> None:
    assert fits_flash(device, dtype, head_dim) is fits


@pytest.mark.parametrize("causal", [False, True])
def test_the_layout_of_the_package_gives_the_same_numbers(causal: bool) -> None:
    q, k, v = tensors()
    torch.testing.assert_close(
        in_flash_layout(flash_by_torch, q, k, v, causal),
        F.scaled_dot_product_attention(q, k, v, is_causal=causal),
        atol=0,
        rtol=0,
    )


def test_other_lengths_of_keys_are_allowed() -> None:
    q, k, v = tensors(4, 7)
    assert in_flash_layout(flash_by_torch, q, k, v, False).shape == q.shape


def with_flash_everywhere(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Pretend that the package takes every tensor; returns the calls, each its `causal`."""
    calls: list[bool] = []

    def flash(q: Tensor, k: Tensor, v: Tensor, causal: bool = False) -> Tensor:
        calls.append(causal)
        return flash_by_torch(q, k, v, causal)

    monkeypatch.setattr(module, "flash_for", lambda x, head_dim: flash)
    return calls


def test_a_mask_that_is_not_causal_never_goes_to_the_package(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls = with_flash_everywhere(monkeypatch)
    q, k, v = tensors()
    mask = torch.ones(5, 5, dtype=torch.bool)
    mask[:, 1] = False
    expected = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    torch.testing.assert_close(attention(q, k, v, mask), expected, atol=0, rtol=0)
    assert calls == []


def test_no_mask_and_the_causal_mask_do(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = with_flash_everywhere(monkeypatch)
    q, k, v = tensors()
    causal = torch.ones(5, 5, dtype=torch.bool).tril()
    everywhere = F.scaled_dot_product_attention(q, k, v)
    past = F.scaled_dot_product_attention(q, k, v, attn_mask=causal)
    torch.testing.assert_close(attention(q, k, v), everywhere)
    torch.testing.assert_close(attention(q, k, v, causal, causal=True), past)
    assert calls == [False, True]


def test_without_the_package_causal_means_the_same() -> None:
    q, k, v = tensors()
    causal = torch.ones(5, 5, dtype=torch.bool).tril()
    expected = F.scaled_dot_product_attention(q, k, v, attn_mask=causal)
    torch.testing.assert_close(attention(q, k, v, causal, causal=True), expected, atol=0, rtol=0)
    torch.testing.assert_close(attention(q, k, v, causal=True), expected)


def test_an_installed_package_is_found_but_not_used_on_the_cpu(
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


def test_an_absent_package_is_no_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "flash_attn", None)
    assert flash_function() is None


def test_a_package_that_does_not_load_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "flash_attn", ModuleType("flash_attn"))
    with pytest.warns(UserWarning, match="flash-attn is installed but does not load"):
        assert flash_function() is None
