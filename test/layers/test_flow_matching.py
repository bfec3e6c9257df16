# SPDX-License-Identifier: Apache-2.0
"""Flow matching: noise from a seed, and the time steps."""

import torch

from groot_ros.layers.flow_matching import bucket, draw_noise, step_times


def test_the_same_seed_draws_the_same_noise() -> None:
    assert torch.equal(draw_noise((1, 4, 3), 9), draw_noise((1, 4, 3), 9))
    assert not torch.equal(draw_noise((1, 4, 3), 9), draw_noise((1, 4, 3), 10))


def test_time_buckets_are_truncated_as_in_the_reference() -> None:
    assert [bucket(t, 1000) for t in step_times(3)] == [0, 333, 666]
    assert [bucket(t, 1000) for t in step_times(4)] == [0, 250, 500, 750]
