# SPDX-License-Identifier: Apache-2.0
"""Tables of the time against the layers of the network as written."""

import pytest
import torch
from support.random_models import random_model

from groot_ros.layers.flow_matching import bucket, step_times
from groot_ros.layers.time_tables import TimeEmbeddings, TimeTableCache

CPU = torch.device("cpu")


@pytest.mark.parametrize("steps", [1, 4, 7])
def test_modulations_are_those_of_the_network(steps: int) -> None:
    head = random_model().action_head
    tables = TimeEmbeddings(head, 0).tables(steps, CPU, torch.float32)
    buckets = torch.tensor([bucket(t, head.config.num_timestep_buckets) for t in step_times(steps)])
    temb = torch.nn.functional.silu(head.model.timestep_encoder(buckets))
    for layer, block in enumerate(head.model.transformer_blocks):
        scale, shift = block.norm1.linear(temb).chunk(2, dim=1)
        torch.testing.assert_close(tables.modulations[:, layer, 0], 1 + scale)
        torch.testing.assert_close(tables.modulations[:, layer, 1], shift)
    shift, scale = head.model.proj_out_1(temb).chunk(2, dim=1)
    torch.testing.assert_close(tables.output_modulation[:, 0], 1 + scale)
    torch.testing.assert_close(tables.output_modulation[:, 1], shift)


def test_token_bias_is_the_action_encoder_s_second_layer_on_no_actions() -> None:
    head = random_model().action_head
    encoder, row = head.action_encoder, 3
    tables = TimeEmbeddings(head, row).tables(4, CPU, torch.float32)
    seen = {}
    encoder.W3.register_forward_hook(lambda _, given, out: seen.update(x=given[0]))
    nothing = torch.zeros(1, 5, head.config.max_action_dim)
    buckets = torch.tensor([[0, 250, 500, 750, 1000]])
    encoder(nothing, buckets, torch.tensor([row]))
    ours = torch.cat([tables.token_bias[:, 0], tables.clean_bias])[:, 0]
    torch.testing.assert_close(torch.nn.functional.silu(ours), seen["x"][0], rtol=1e-5, atol=1e-5)


def test_steps_and_their_times_are_those_of_the_flow() -> None:
    tables = TimeEmbeddings(random_model().action_head, 0).tables(4, CPU, torch.float32)
    assert tables.steps == 4
    assert tables.times.flatten().tolist() == [0.0, 0.25, 0.5, 0.75]
    assert (tables.dt.item(), tables.gain.item()) == (0.25, 4.0)


def test_fewer_than_one_step_is_rejected() -> None:
    with pytest.raises(ValueError, match="at least 1, not 0"):
        TimeEmbeddings(random_model().action_head, 0).tables(0, CPU, torch.float32)


def test_the_embeddings_are_fetched_only_for_a_new_number_of_steps() -> None:
    head, fetched = random_model().action_head, []

    def embeddings() -> TimeEmbeddings:
        fetched.append(1)
        return TimeEmbeddings(head, 0)

    cache = TimeTableCache(embeddings, CPU, torch.float32)
    cache.compute((4, 2))
    assert len(fetched) == 1
    first = cache.of(4)
    assert cache.of(4) is first
    assert len(fetched) == 1
    assert cache.of(3).steps == 3
    assert len(fetched) == 2


def test_the_last_few_numbers_of_steps_are_kept() -> None:
    cache = TimeTableCache(
        lambda: TimeEmbeddings(random_model().action_head, 0), CPU, torch.float32
    )
    first = cache.of(4)
    size = cache.nbytes
    assert size == first.nbytes
    for steps in range(5, 12):
        cache.of(steps)
    assert cache.nbytes < 10 * size
    assert cache.of(4) is not first
