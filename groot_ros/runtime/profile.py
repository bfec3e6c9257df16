"""Which sizes the free dimensions of the stages can have, for one checkpoint and one robot."""

from collections.abc import Mapping, Sequence

import numpy as np

from groot_ros.models.gr00t_n1d6 import Gr00tN1d6Config
from groot_ros.processing import ModelInputs, Processor
from groot_ros.runtime.manifest import Range

#: Camera images where nothing else is said, (height, width).
IMAGE_SIZE = (480, 640)
#: Tokens of the longest instruction that an engine takes.
INSTRUCTION_TOKENS = 64


def derive_profile(
    processor: Processor,
    config: Gr00tN1d6Config,
    image_sizes: Sequence[tuple[int, int]] = (IMAGE_SIZE,),
    instruction_tokens: int = INSTRUCTION_TOKENS,
) -> dict[str, Range]:
    """Free dimension of `contract.stage_specs` -> its sizes.

    Args:
        processor: gives the views, their frames, the image pipeline and the prompt.
        config: of the same checkpoint.
        image_sizes: (height, width) of the cameras' images; one for all views, or one a view in
            the checkpoint's order.
        instruction_tokens: the longest instruction that must fit.

    Raises:
        ValueError: the number of sizes is neither 1 nor that of the views.

    """
    frames = len(processor.embodiment.video.delta_indices)
    sizes = sizes_by_view(processor.views, image_sizes)
    cells = [_cells(processor, size) for size in sizes.values()]
    group = max(sum(n == m for m in cells) for n in cells) * frames
    square = config.eagle.shuffle**2
    image_tokens = sum(cells) * frames
    bare = len(processor.tokens("", cells * frames)) - image_tokens
    usual = bare + min(16, instruction_tokens)
    text = Range(bare, usual, bare + instruction_tokens)
    states = len(processor.embodiment.state.delta_indices)
    whole = Range(*(n + image_tokens for n in (text.low, text.usual, text.high)))
    return {
        "views": Range(1, group, group),
        "patches": Range(square * min(cells), square * max(cells), square * max(cells)),
        "cells": Range(min(cells), max(cells), max(cells)),
        "tokens": whole,
        "text_tokens": text,
        "image_tokens": Range(image_tokens, image_tokens, image_tokens),
        "all_tokens": whole,
        "states": Range(states, states, states),
    }


def sizes_by_view(
    views: Sequence[str], image_sizes: Sequence[tuple[int, int]]
) -> dict[str, tuple[int, int]]:
    """View -> (height, width), out of one for all or one for each; else ValueError."""
    if len(image_sizes) not in (1, len(views)):
        raise ValueError(
            f"image sizes: give one, or one for each of {', '.join(views)}, not {len(image_sizes)}"
        )
    several = list(image_sizes) * (len(views) if len(image_sizes) == 1 else 1)
    return dict(zip(views, several, strict=True))


def require_inside(
    profile: Mapping[str, Range], inputs: ModelInputs, processor: Processor, image_id: int
) -> None:
    """A batch of one must have sizes that engines are built for; ValueError names the dimension.

    What is exported with stored answers outside of its own profile could never be proven.
    """
    cells = [processor.images.tokens(image) for image in inputs.images]
    shapes = [image.shape for image in inputs.images]
    tokens = int(inputs.attention_mask.sum())
    image_tokens = int((inputs.input_ids == image_id).sum())
    found = {
        "views": [max(map(shapes.count, shapes))],
        "cells": cells,
        "image_tokens": [image_tokens],
        "text_tokens": [tokens - image_tokens],
    }
    for name, sizes in found.items():
        low, _, high = profile[name]
        wrong = [size for size in sizes if not low <= size <= high]
        if wrong:
            raise ValueError(
                f"'{name}' is {wrong[0]}, engines would be built for {low} to {high}: give "
                "--image-size of the images and --instruction-tokens of the instruction"
            )


def _cells(processor: Processor, size: tuple[int, int]) -> int:
    """Image tokens of one view, by sending an empty image through the pipeline."""
    return processor.images.tokens(processor.images(np.zeros((*size, 3), dtype=np.uint8)))
