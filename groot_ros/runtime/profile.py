"""Which sizes the free dimensions of the stages can have, for one checkpoint and one robot."""

from collections.abc import Sequence

import numpy as np

from groot_ros.models.gr00t_n1d6 import Gr00tN1d6Config
from groot_ros.processing import Processor
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
    views, frames = processor.views, len(processor.embodiment.video.delta_indices)
    if len(image_sizes) not in (1, len(views)):
        raise ValueError(
            f"image sizes: give one, or one for each of {', '.join(views)}, not {len(image_sizes)}"
        )
    sizes = list(image_sizes) if len(image_sizes) > 1 else list(image_sizes) * len(views)
    cells = [_cells(processor, size) for size in sizes]
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


def _cells(processor: Processor, size: tuple[int, int]) -> int:
    """Image tokens of one view, by sending an empty image through the pipeline."""
    return processor.images.tokens(processor.images(np.zeros((*size, 3), dtype=np.uint8)))
