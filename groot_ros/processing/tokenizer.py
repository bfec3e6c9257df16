"""The Qwen2 byte-level BPE tokenizer, built from the files in a directory.

`write_byte_tokenizer` writes a small one, one token per byte, in the same files.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from groot_ros.core.config_reader import CheckpointError, Fields

# Imported where it is used: `ros2 launch` looks for checkpoints under a Python without it.
if TYPE_CHECKING:
    from tokenizers import Tokenizer

#: Special tokens of the vision-language models that GR00T builds on.
IMAGE_START, IMAGE_TOKEN, IMAGE_END = "<img>", "<IMG_CONTEXT>", "</img>"
PAD_TOKEN = "<|endoftext|>"
SPECIAL_TOKENS = (PAD_TOKEN, "<|im_start|>", "<|im_end|>", IMAGE_TOKEN, IMAGE_START, IMAGE_END)
#: Ids of the byte tokenizer.
VOCAB_SIZE = 256 + len(SPECIAL_TOKENS)
#: `image_token_index` of a model that uses the byte tokenizer.
IMAGE_TOKEN_INDEX = 256 + SPECIAL_TOKENS.index(IMAGE_TOKEN)

#: How Qwen2 splits text before the merges.
_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


class TextTokenizer:
    """Text to token ids; no beginning or end tokens are added.

    Attributes:
        pad_id: of <|endoftext|>, which fills up on the left.
        image_id: of <IMG_CONTEXT>.
        rows: embedding rows that the ids need: the largest + 1.

    """

    def __init__(self, tokenizer: "Tokenizer", where: Path) -> None:
        self._tokenizer = tokenizer
        ids = tokenizer.get_vocab(with_added_tokens=True)
        _require_distinct(ids, where)
        self.rows = max(ids.values(), default=-1) + 1
        self.pad_id = self._required(PAD_TOKEN, where)
        self.image_id = self._required(IMAGE_TOKEN, where)

    @classmethod
    def load(cls, directory: Path) -> "TextTokenizer":
        """From tokenizer.json, else vocab.json, merges.txt and added_tokens.json."""
        from tokenizers import Tokenizer

        ready = directory / "tokenizer.json"
        if ready.exists():
            try:
                tokenizer = Tokenizer.from_file(str(ready))
            except Exception as error:  # the library raises bare Exceptions
                raise CheckpointError(f"{ready}: is not a tokenizer: {error}") from error
            return cls(tokenizer, ready)
        return cls(_from_vocabulary(directory), directory / "vocab.json")

    def encode(self, text: str) -> list[int]:
        """Token ids; added tokens are recognised wherever they stand in the text."""
        return self._tokenizer.encode(text, add_special_tokens=False).ids

    def decode(self, ids: list[int]) -> str:
        """Back to text, added tokens included."""
        return self._tokenizer.decode(ids, skip_special_tokens=False)

    @property
    def size(self) -> int:
        """Number of ids, added tokens included."""
        return self._tokenizer.get_vocab_size(with_added_tokens=True)

    def _required(self, token: str, where: Path) -> int:
        number = self._tokenizer.token_to_id(token)
        if number is None:
            raise CheckpointError(f"{where}: has no token '{token}'")
        return number


def _from_vocabulary(directory: Path) -> "Tokenizer":
    from tokenizers import (
        AddedToken,
        Regex,
        Tokenizer,
        decoders,
        models,
        normalizers,
        pre_tokenizers,
    )

    vocab = Fields.read(directory / "vocab.json")
    _require_numbered(vocab)
    added = Fields.read(directory / "added_tokens.json")
    try:
        model = models.BPE.from_file(str(directory / "vocab.json"), str(directory / "merges.txt"))
    except Exception as error:  # the library raises bare Exceptions
        raise CheckpointError(
            f"{directory / 'merges.txt'}: does not fit vocab.json: {error}"
        ) from error
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    ordered = sorted(added.value, key=lambda token: added.integer(token))
    tokenizer.add_special_tokens(
        [AddedToken(token, normalized=False, special=True) for token in ordered]
    )
    for token in ordered:
        if tokenizer.token_to_id(token) != added.value[token]:
            raise added.error(
                token,
                f"must have id {tokenizer.token_to_id(token)}: ids follow the {len(vocab.value)} "
                "of vocab.json without a gap",
            )
    return tokenizer


def _require_numbered(vocab: Fields) -> None:
    """Ids are rows of the embeddings: from 0 on without a gap, each once; else CheckpointError."""
    _require_distinct({token: vocab.integer(token) for token in vocab.value}, Path(vocab.where))
    for token, number in vocab.value.items():
        if number >= len(vocab.value):
            raise vocab.error(
                token, f"has id {number}: {len(vocab.value)} tokens have ids from 0 on, no gaps"
            )


def _require_distinct(ids: Mapping[str, int], where: Path) -> None:
    first: dict[int, str] = {}
    for token, number in ids.items():
        if first.setdefault(number, token) != token:
            raise CheckpointError(f"{where}: '{first[number]}' and '{token}' both have id {number}")


def write_byte_tokenizer(directory: Path) -> None:
    """Write vocab.json with the 256 byte letters, empty merges, and the special tokens."""
    from tokenizers import pre_tokenizers

    directory.mkdir(parents=True, exist_ok=True)
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {letter: number for number, letter in enumerate(letters)}
    added = {token: 256 + number for number, token in enumerate(SPECIAL_TOKENS)}
    for name, value in (("vocab.json", vocab), ("added_tokens.json", added)):
        text = json.dumps(value, ensure_ascii=False, indent=1)
        (directory / name).write_text(text + "\n", encoding="utf-8")
    (directory / "merges.txt").write_text("#version: 0.2\n", encoding="utf-8")
