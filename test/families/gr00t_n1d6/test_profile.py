"""Sizes of the free dimensions, by the golden rule: count the tokens of real observations."""

import numpy as np
import pytest
from support.tiny_checkpoint import TAG, write_tiny_checkpoint

from groot_ros.processing import Sample, collate
from groot_ros.runtime.checkpoint_parts import CheckpointParts, open_checkpoint
from groot_ros.runtime.profile import derive_profile, require_inside


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> CheckpointParts:
    return open_checkpoint(write_tiny_checkpoint(tmp_path_factory.mktemp("checkpoint")), TAG)


def encoded(parts: CheckpointParts, instruction: str, sizes: list[tuple[int, int]]):
    images = {
        view: np.zeros((1, *size, 3), dtype=np.uint8)
        for view, size in zip(parts.processor.views, sizes, strict=True)
    }
    state = {g: np.zeros((1, w)) for g, w in parts.processor.codec.state_widths.items()}
    return parts.processor.encode(Sample(images, state, instruction))


@pytest.mark.parametrize("sizes", [[(48, 64), (48, 64)], [(48, 64), (64, 160)]])
def test_every_instruction_up_to_the_longest_fits(
    parts: CheckpointParts, sizes: list[tuple[int, int]]
) -> None:
    profile = derive_profile(parts.processor, parts.config, sizes, instruction_tokens=20)
    image_id = parts.config.eagle.image_token_index
    # The tiny checkpoint's tokenizer makes a token of every byte.
    for instruction in ("", "a" * 20):
        sample = encoded(parts, instruction, sizes)
        tokens = len(sample.input_ids)
        images = sample.input_ids.count(image_id)
        for name, size in (
            ("tokens", tokens),
            ("all_tokens", tokens),
            ("text_tokens", tokens - images),
            ("image_tokens", images),
        ):
            assert profile[name].low <= size <= profile[name].high
        for image in sample.images:
            patches = image.shape[1] * image.shape[2] // 14**2
            assert profile["patches"].low <= patches <= profile["patches"].high
            assert profile["cells"].low <= patches // 4 <= profile["cells"].high
    longest, shortest = (len(encoded(parts, "a" * n, sizes).input_ids) for n in (20, 0))
    assert (profile["tokens"].low, profile["tokens"].high) == (shortest, longest)
    assert profile["views"].high == (2 if sizes[0] == sizes[1] else 1)


def test_the_number_of_sizes_must_fit_the_views(parts: CheckpointParts) -> None:
    with pytest.raises(ValueError, match="give one, or one for each of front, wrist, not 3"):
        derive_profile(parts.processor, parts.config, [(48, 64)] * 3)


@pytest.mark.parametrize(
    ("seen", "words", "problem"),
    [
        ([(48, 64), (64, 160)], 20, ""),
        ([(48, 64), (48, 64)], 4, "'views' is 2, engines would be built for 1 to 1: give --image"),
        ([(48, 64), (480, 64)], 4, "'cells' is "),
        ([(64, 160), (48, 64)], 21, "'text_tokens' is "),
    ],
)
def test_observations_outside_of_the_profile_are_rejected(
    parts: CheckpointParts, seen: list[tuple[int, int]], words: int, problem: str
) -> None:
    sizes = [(48, 64), (64, 160)]
    profile = derive_profile(parts.processor, parts.config, sizes, instruction_tokens=20)
    sample = encoded(parts, "a" * words, seen)
    inputs = collate([sample], parts.processor.tokenizer.pad_id)
    given = profile, inputs, parts.processor, parts.config.eagle.image_token_index
    if not problem:
        require_inside(*given)
        return
    with pytest.raises(ValueError, match=f"^{problem}"):
        require_inside(*given)
