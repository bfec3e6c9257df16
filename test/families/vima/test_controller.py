# SPDX-License-Identifier: Apache-2.0
"""The controller: a kept history equals a full recompute, and padding changes nothing."""

from collections.abc import Iterator

import pytest
import torch
from support.tiny_vima import tiny_config

from groot_ros.families.vima.controller import Controller, PromptMemory

BATCH, TOKENS, WORDS = 3, 17, 9
#: In double precision, where these weights do not amplify rounding to visible differences.
EXACT = {"atol": 1e-11, "rtol": 0.0}


@pytest.fixture(autouse=True)
def double_precision() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture
def controller() -> Controller:
    torch.manual_seed(0)
    controller = Controller(tiny_config()).eval()
    for parameter in controller.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return controller.requires_grad_(False)


@pytest.fixture
def prompt(controller: Controller) -> PromptMemory:
    mask = torch.rand(BATCH, WORDS) > 0.3
    mask[:, -1] = True
    return controller.remember(torch.randn(BATCH, WORDS, 24), mask)


def tokens_and_mask() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    mask = torch.rand(BATCH, TOKENS) > 0.35
    mask[:, 0] = True
    return torch.randn(BATCH, TOKENS, 24), mask


@pytest.mark.parametrize("pieces", [(1,) * TOKENS, (5, 7, 5), (16, 1), (1, 16)])
def test_tokens_in_pieces_give_the_outputs_of_all_tokens_together(
    controller: Controller, prompt: PromptMemory, pieces: tuple[int, ...]
) -> None:
    tokens, mask = tokens_and_mask()
    together, whole = controller(tokens, mask, prompt)
    history, apart = None, []
    for x, m in zip(tokens.split(pieces, 1), mask.split(pieces, 1), strict=True):
        out, history = controller(x, m, prompt, history)
        apart.append(out)
    assert history is not None
    assert torch.equal(history.mask, whole.mask)
    torch.testing.assert_close(torch.cat(apart, dim=1), together, **EXACT)


def test_a_later_token_changes_no_earlier_output(
    controller: Controller, prompt: PromptMemory
) -> None:
    tokens, mask = tokens_and_mask()
    before, _ = controller(tokens, mask, prompt)
    tokens[:, 10:] += 1.0
    after, _ = controller(tokens, mask, prompt)
    assert torch.equal(before[:, :10], after[:, :10])
    assert (before[:, 10:] - after[:, 10:]).abs().max() > 0.1


def test_the_contents_and_the_number_of_padded_slots_change_no_other_output(
    controller: Controller, prompt: PromptMemory
) -> None:
    tokens, mask = tokens_and_mask()
    before, _ = controller(tokens, mask, prompt)
    longer = torch.cat([tokens[:, :6], torch.randn(BATCH, 4, 24), tokens[:, 6:]], dim=1)
    shown = torch.cat([mask[:, :6], torch.zeros(BATCH, 4, dtype=torch.bool), mask[:, 6:]], dim=1)
    after, _ = controller(longer, shown, prompt)
    kept = torch.cat([after[:, :6], after[:, 10:]], dim=1)
    torch.testing.assert_close(kept[mask], before[mask], **EXACT)


def test_padding_of_a_prompt_changes_no_output(controller: Controller) -> None:
    tokens, mask = tokens_and_mask()
    words = torch.randn(BATCH, WORDS, 24)
    whole = controller.remember(words, torch.ones(BATCH, WORDS, dtype=torch.bool))
    padded = torch.cat([words[:, :4], torch.randn(BATCH, 2, 24), words[:, 4:]], dim=1)
    shown = torch.tensor([True] * 4 + [False] * 2 + [True] * 5).expand(BATCH, -1)
    before, _ = controller(tokens, mask, whole)
    after, _ = controller(tokens, mask, controller.remember(padded, shown))
    torch.testing.assert_close(after, before, **EXACT)


def test_a_layer_equals_its_definition_written_out(
    controller: Controller, prompt: PromptMemory
) -> None:
    """Compute cross-attention in additive form, head by head."""
    layer = controller.xattns[0]
    torch.manual_seed(2)
    x, words = torch.randn(1, 4, 24), torch.randn(1, WORDS, 24)
    shown = prompt.mask[:1]
    memory = layer.keys_and_values(words)
    q = layer.query(layer.layernorm(x))
    k, v = layer.key_value(words).chunk(2, dim=-1)
    heads = []
    for part in torch.arange(24).split(8):
        scores = q[..., part] @ k[..., part].transpose(1, 2) / 8**0.5
        scores = scores + (~shown[:, None]).float() * -1e30
        heads.append(scores.softmax(-1) @ v[..., part])
    attended = x + layer.attention_out(torch.cat(heads, dim=-1))
    hidden = torch.nn.functional.gelu(layer.linear1(layer.ln(attended)))
    expected = attended + layer.linear2(hidden * layer.gated_layer(attended))
    actual = layer(x, memory, shown[:, None, None])
    torch.testing.assert_close(actual, expected, **EXACT)


def test_a_history_longer_than_the_position_table_is_rejected(
    controller: Controller, prompt: PromptMemory
) -> None:
    _, history = controller(
        torch.randn(BATCH, 99, 24), torch.ones(BATCH, 99, dtype=torch.bool), prompt
    )
    one = torch.ones(BATCH, 1, dtype=torch.bool)
    _, full = controller(torch.randn(BATCH, 1, 24), one, prompt, history)
    with pytest.raises(ValueError, match=r"a history has 101 tokens, but .* has 100 positions"):
        controller(torch.randn(BATCH, 1, 24), one, prompt, full)
    # Padding needs no position.
    controller(torch.randn(BATCH, 1, 24), ~one, prompt, full)


def test_prompts_without_tokens_or_with_too_many_are_rejected(controller: Controller) -> None:
    words = torch.randn(2, 41, 24)
    with pytest.raises(ValueError, match=r"a prompt has 41 tokens, but .* has 40 positions"):
        controller.remember(words, torch.ones(2, 41, dtype=torch.bool))
    mask = torch.tensor([[True], [False]]).expand(2, 5)
    with pytest.raises(ValueError, match="a prompt has no token"):
        controller.remember(words[:, :5], mask)


def test_a_history_that_begins_with_padding_is_rejected(
    controller: Controller, prompt: PromptMemory
) -> None:
    tokens, mask = tokens_and_mask()
    mask[1, 0] = False
    with pytest.raises(ValueError, match="a history begins with padding"):
        controller(tokens, mask, prompt)
