"""A tokenizer of our own for small models: one token per byte, plus the special tokens.

It is written in the files of a real one (vocab.json, merges.txt, added_tokens.json), so that it
is read by the same code.
"""

import json
from pathlib import Path

from groot_ros.processing.prompt import IMAGE_END, IMAGE_START, IMAGE_TOKEN, PAD_TOKEN

SPECIAL_TOKENS = (PAD_TOKEN, "<|im_start|>", "<|im_end|>", IMAGE_TOKEN, IMAGE_START, IMAGE_END)
VOCAB_SIZE = 256 + len(SPECIAL_TOKENS)
#: What a model's `image_token_index` must be to go with this tokenizer.
IMAGE_TOKEN_INDEX = 256 + SPECIAL_TOKENS.index(IMAGE_TOKEN)


def write_byte_tokenizer(directory: Path) -> None:
    """vocab.json with the 256 byte letters, empty merges, the special tokens after them."""
    from tokenizers import pre_tokenizers

    directory.mkdir(parents=True, exist_ok=True)
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {letter: number for number, letter in enumerate(letters)}
    added = {token: 256 + number for number, token in enumerate(SPECIAL_TOKENS)}
    for name, value in (("vocab.json", vocab), ("added_tokens.json", added)):
        text = json.dumps(value, ensure_ascii=False, indent=1)
        (directory / name).write_text(text + "\n", encoding="utf-8")
    (directory / "merges.txt").write_text("#version: 0.2\n", encoding="utf-8")
