# SPDX-License-Identifier: Apache-2.0
"""Sizes of the free dimensions against the token counts of real observations."""

from collections.abc import Sequence

import numpy as np
import pytest
from support.tiny_checkpoint import TAG, write_tiny_checkpoint

from groot_ros.cli.engine.export import require_inside
from groot_ros.core import Observation
from groot_ros.core.program import ModelInputs
from groot_ros.families.gr00t_n1d6.checkpoint import Gr00tN1d6Checkpoint, open_checkpoint

Size = tuple[int, int]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Gr00tN1d6Checkpoint:
    return open_checkpoint(write_tiny_checkpoint(tmp_path_factory.mktemp("checkpoint")), TAG)


def encoded(
    checkpoint: Gr00tN1d6Checkpoint, instruction: str, sizes: Sequence[Size]
) -> ModelInputs:
    views = dict(zip(checkpoint.spec.views, sizes, strict=True))
    images = {view: np.zeros((1, *size, 3), dtype=np.uint8) for view, size in views.items()}
    state = {g: np.zeros((1, w)) for g, w in checkpoint.spec.state_groups.items()}
    return checkpoint.processor.encode(Observation(0, images, state, instruction))


@pytest.mark.parametrize("sizes", [[(48, 64), (48, 64)], [(48, 64), (64, 160)]])
def test_every_instruction_up_to_the_longest_fits(
    checkpoint: Gr00tN1d6Checkpoint, sizes: list[Size]
) -> None:
    profile = checkpoint.profile(sizes, instruction_tokens=20)
    image_id = checkpoint.config.eagle.image_token_index
    # The tiny checkpoint's tokenizer makes a token of every byte.
    for instruction in ("", "a" * 20):
        inputs = encoded(checkpoint, instruction, sizes)
        tokens = inputs["input_ids"].size
        image_tokens = int((inputs["input_ids"] == image_id).sum())
        for name, size in (
            ("tokens", tokens),
            ("all_tokens", tokens),
            ("text_tokens", tokens - image_tokens),
            ("image_tokens", image_tokens),
        ):
            assert profile[name].low <= size <= profile[name].high
        for name in ("image.0", "image.1"):
            patches = inputs[name].shape[1] * inputs[name].shape[2] // 14**2
            assert profile["patches"].low <= patches <= profile["patches"].high
            assert profile["cells"].low <= patches // 4 <= profile["cells"].high
    longest, shortest = (encoded(checkpoint, "a" * n, sizes)["input_ids"].size for n in (20, 0))
    assert (profile["tokens"].low, profile["tokens"].high) == (shortest, longest)
    assert profile["views"].high == (2 if sizes[0] == sizes[1] else 1)


def test_every_free_dimension_of_the_program_has_a_size(checkpoint: Gr00tN1d6Checkpoint) -> None:
    profile = checkpoint.profile([(48, 64)], instruction_tokens=20)
    assert set(profile) == set(checkpoint.program.free_dims)
    assert all(1 <= span.low <= span.usual <= span.high for span in profile.values())


def test_one_size_stands_for_all_views(checkpoint: Gr00tN1d6Checkpoint) -> None:
    assert checkpoint.profile([(48, 64)], 20) == checkpoint.profile([(48, 64)] * 2, 20)


def test_the_number_of_sizes_must_fit_the_views(checkpoint: Gr00tN1d6Checkpoint) -> None:
    with pytest.raises(ValueError, match="give one, or one for each of front, wrist, not 3"):
        checkpoint.profile([(48, 64)] * 3, 20)


@pytest.mark.parametrize(
    ("seen", "words", "problem"),
    [
        ([(48, 64), (64, 160)], 20, ""),
        ([(48, 64), (48, 64)], 4, "'views' is 2, engines would be built for 1 to 1: give --image"),
        ([(48, 64), (480, 64)], 4, "'cells' is "),
        ([(64, 160), (48, 64)], 21, "'text_tokens' is "),
    ],
)
def test_observations_outside_the_profile_are_rejected(
    checkpoint: Gr00tN1d6Checkpoint, seen: list[Size], words: int, problem: str
) -> None:
    profile = checkpoint.profile([(48, 64), (64, 160)], instruction_tokens=20)
    inputs = encoded(checkpoint, "a" * words, seen)
    if not problem:
        require_inside(profile, inputs, checkpoint)
        return
    with pytest.raises(ValueError, match=f"^{problem}"):
        require_inside(profile, inputs, checkpoint)
