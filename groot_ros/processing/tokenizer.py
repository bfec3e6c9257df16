# SPDX-License-Identifier: Apache-2.0
"""Qwen2 byte-level BPE tokenizer, built from the files in a directory.

`write_byte_tokenizer` writes the same files for a small tokenizer with one token per byte, and
`write_word_tokenizer` for one that also has the words of some texts.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from groot_ros.core.config_reader import CheckpointError, Fields

# Imported where it is used, as `ros2 launch` looks for checkpoints in a Python without tokenizers.
if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from tokenizers.models import Model

#: Special tokens of the vision-language models that GR00T builds on.
IMAGE_START, IMAGE_TOKEN, IMAGE_END = "<img>", "<IMG_CONTEXT>", "</img>"
PAD_TOKEN = "<|endoftext|>"
SPECIAL_TOKENS = (PAD_TOKEN, "<|im_start|>", "<|im_end|>", IMAGE_TOKEN, IMAGE_START, IMAGE_END)
#: Number of ids of the byte tokenizer.
VOCAB_SIZE = 256 + len(SPECIAL_TOKENS)
#: `image_token_index` of a model that uses the byte tokenizer.
IMAGE_TOKEN_INDEX = 256 + SPECIAL_TOKENS.index(IMAGE_TOKEN)

#: Merges that `write_word_tokenizer` learns at most.
_MERGES = 768
#: Expression that splits text before the merges, from Qwen2.
_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


class TextTokenizer:
    """Tokenizer that adds no beginning or end tokens.

    Attributes:
        pad_id: id of <|endoftext|>, used for padding on the left.
        image_id: id of <IMG_CONTEXT>.
        rows: embedding rows that the ids need, which is the largest id + 1.

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
        """Load tokenizer.json if it exists, else vocab.json, merges.txt and added_tokens.json.

        Raises:
            CheckpointError: a file or a required token is missing, or a file is malformed.

        """
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
        """Return the token ids of a text; added tokens are recognised anywhere in it."""
        return self._tokenizer.encode(text, add_special_tokens=False).ids

    def decode(self, ids: list[int]) -> str:
        """Convert token ids back to text, added tokens included."""
        return self._tokenizer.decode(ids, skip_special_tokens=False)

    @property
    def size(self) -> int:
        """Return the number of ids, added tokens included."""
        return self._tokenizer.get_vocab_size(with_added_tokens=True)

    def _required(self, token: str, where: Path) -> int:
        number = self._tokenizer.token_to_id(token)
        if number is None:
            raise CheckpointError(f"{where}: has no token '{token}'")
        return number


def _from_vocabulary(directory: Path) -> "Tokenizer":
    from tokenizers import AddedToken, models

    vocab = Fields.read(directory / "vocab.json")
    _require_numbered(vocab)
    added = Fields.read(directory / "added_tokens.json")
    try:
        model = models.BPE.from_file(str(directory / "vocab.json"), str(directory / "merges.txt"))
    except Exception as error:  # the library raises bare Exceptions
        raise CheckpointError(
            f"{directory / 'merges.txt'}: does not fit vocab.json: {error}"
        ) from error
    tokenizer = _with_qwen2_splits(model)
    ordered = sorted(added.value, key=lambda token: added.integer(token))
    tokenizer.add_special_tokens(
        [AddedToken(token, normalized=False, special=True) for token in ordered]
    )
    for token in ordered:
        if tokenizer.token_to_id(token) != added.value[token]:
            raise added.error(
                token,
                f"must have id {tokenizer.token_to_id(token)}: added ids must continue the "
                f"{len(vocab.value)} ids of vocab.json without a gap",
            )
    return tokenizer


def _with_qwen2_splits(model: "Model") -> "Tokenizer":
    from tokenizers import Regex, Tokenizer, decoders, normalizers, pre_tokenizers

    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _require_numbered(vocab: Fields) -> None:
    """Raise CheckpointError unless the ids are 0, 1, 2, ... without gaps or duplicates.

    They are used as rows of the embeddings.
    """
    _require_distinct({token: vocab.integer(token) for token in vocab.value}, Path(vocab.where))
    for token, number in vocab.value.items():
        if number >= len(vocab.value):
            raise vocab.error(
                token,
                f"has id {number}, but {len(vocab.value)} tokens must have the ids 0 to "
                f"{len(vocab.value) - 1}",
            )


def _require_distinct(ids: Mapping[str, int], where: Path) -> None:
    first: dict[int, str] = {}
    for token, number in ids.items():
        if first.setdefault(number, token) != token:
            raise CheckpointError(f"{where}: '{first[number]}' and '{token}' both have id {number}")


def write_byte_tokenizer(directory: Path) -> None:
    """Write vocab.json with the 256 byte tokens, an empty merges.txt, and the special tokens."""
    write_word_tokenizer(directory, ())


def write_word_tokenizer(directory: Path, texts: Iterable[str]) -> None:
    """Write a tokenizer that has a token for each byte and for each word of the texts.

    A word is what Qwen2 splits a text into, such as " cube". At most 768 merges are learned: of a
    larger vocabulary, rare words remain in parts.
    """
    from tokenizers import models, pre_tokenizers, trainers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = _with_qwen2_splits(models.BPE())
    trainer = trainers.BpeTrainer(
        vocab_size=len(alphabet) + _MERGES,
        min_frequency=1,
        initial_alphabet=alphabet,
        show_progress=False,
    )
    tokenizer.train_from_iterator(sorted(set(texts)), trainer)
    directory.mkdir(parents=True, exist_ok=True)
    tokenizer.model.save(str(directory))
    # The library writes the vocabulary in one line.
    vocab = json.loads((directory / "vocab.json").read_text(encoding="utf-8"))
    added = {token: len(vocab) + number for number, token in enumerate(SPECIAL_TOKENS)}
    for name, value in (("vocab.json", vocab), ("added_tokens.json", added)):
        text = json.dumps(value, ensure_ascii=False, indent=1)
        (directory / name).write_text(text + "\n", encoding="utf-8")
