"""The text that the language tower reads: chat template, instruction, then the image tokens."""

import re
from collections.abc import Sequence

IMAGE_START, IMAGE_TOKEN, IMAGE_END = "<img>", "<IMG_CONTEXT>", "</img>"
PAD_TOKEN = "<|endoftext|>"

_SYSTEM = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"


def formalise(instruction: str) -> str:
    """Lower case, and only (Unicode) word characters and white space stay."""
    return re.sub(r"[^\w\s]", "", instruction.lower())


def build_prompt(instruction: str, image_tokens: Sequence[int]) -> str:
    """One user turn, text first, then every image as its numbered run of image tokens.

    Args:
        instruction: already formalised, where the checkpoint wants that.
        image_tokens: number of tokens of every image, frame by frame, views in order.

    """
    images = "".join(
        f"<image {number}>{IMAGE_START}{IMAGE_TOKEN * count}{IMAGE_END}"
        for number, count in enumerate(image_tokens, start=1)
    )
    return f"{_SYSTEM}<|im_start|>user\n{instruction}{images}<|im_end|>\n"
