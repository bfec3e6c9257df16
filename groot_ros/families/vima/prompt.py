# SPDX-License-Identifier: Apache-2.0
"""Prompts of words and pictures, and their tokens.

A placeholder in the text, such as {dragged_obj}, stands for a picture: one object, or all objects
of a scene.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from groot_ros.core.config_reader import CheckpointError
from groot_ros.core.prompt import PLACEHOLDER, placeholder_problem
from groot_ros.vision.objects import Objects, stack

# Imported where it is used, as tests of other parts run without it.
if TYPE_CHECKING:
    from tokenizers import Tokenizer

#: Items of a prompt: a word, or a picture, which becomes all its objects.
WORD, PICTURE = 0, 1
#: Placeholders of the public models, which were added to T5's tokens.
PLACEHOLDERS = (
    *("base_obj", "base_obj_1", "base_obj_2"),
    *("dragged_obj", *(f"dragged_obj_{n}" for n in range(1, 6))),
    *("swept_obj", "bounds", "constraint", "scene"),
    *(f"demo_{kind}_obj_{n}" for n in range(1, 4) for kind in ("blicker", "less_blicker")),
    *("start_scene", "end_scene"),
    *(f"{when}_twist_{n}" for n in range(1, 4) for when in ("before", "after")),
    *(f"frame_{n}" for n in range(7)),
    *("ring", "hanoi_stand"),
    *(f"{which}_scene_{n}" for n in range(1, 4) for which in ("start", "end")),
)
_END, _UNKNOWN = "</s>", "<unk>"


@dataclass(frozen=True)
class MultimodalPrompt:
    """Text with placeholders, and the picture of each placeholder.

    Attributes:
        text: words and placeholders {name}.
        pictures: name of a placeholder -> objects of its picture.

    """

    text: str
    pictures: Mapping[str, Objects]

    def __post_init__(self) -> None:
        """Check that text and pictures belong together.

        Raises:
            ValueError: a placeholder has no picture, a picture has no placeholder, a brace belongs
                to no placeholder, a placeholder touches a word, or pictures are of
                different views.

        """
        if problem := placeholder_problem(self.text, self.pictures):
            raise ValueError(problem)
        views = {name: picture.views for name, picture in self.pictures.items()}
        if len(set(views.values())) > 1:
            raise ValueError(f"prompt '{self.text}': pictures are of different views: {views}")


@dataclass(frozen=True)
class PromptTokens:
    """Tokens of one prompt.

    Attributes:
        items: WORD or PICTURE, in the order of the text.
        words: token ids of the words [W].
        pictures: pictures in order [P, N, ...], padded to equal slots; None without pictures.

    """

    items: tuple[int, ...]
    words: NDArray[np.int64]
    pictures: Objects | None

    @property
    def key(self) -> bytes:
        """Return bytes that are equal for prompts of equal content only."""
        parts = [bytes(self.items), self.words.tobytes()]
        if self.pictures is not None:
            for arrays in (self.pictures.crops, self.pictures.boxes, self.pictures.mask):
                for view in self.pictures.views:
                    parts += [str(arrays[view].shape).encode(), arrays[view].tobytes()]
        return b"\0".join(parts)


class PromptTokenizer:
    """Tokenizer of prompts, from a tokenizer.json such as T5's.

    Attributes:
        rows: rows of the word table that its words need; placeholders need none.

    """

    def __init__(self, tokenizer: "Tokenizer", where: str) -> None:
        self._tokenizer, self._where = tokenizer, where
        ids = tokenizer.get_vocab(with_added_tokens=True)
        words = [number for word, number in ids.items() if not PLACEHOLDER.fullmatch(word)]
        self.rows = max(words, default=-1) + 1
        self._unknown = tokenizer.token_to_id(_UNKNOWN)
        self._add(PLACEHOLDERS)

    @classmethod
    def load(cls, path: Path) -> "PromptTokenizer":
        """Load tokenizer.json, given as a file or as its directory.

        Raises:
            CheckpointError: the file is missing or is not a tokenizer.

        """
        from tokenizers import Tokenizer

        file = path / "tokenizer.json" if path.is_dir() else path
        if not file.is_file():
            raise CheckpointError(f"{file}: no such file; it must be a tokenizer.json")
        if file.suffix != ".json":
            raise CheckpointError(
                f"{file}: must be a tokenizer.json; T5 publishes one next to its other files"
            )
        try:
            return cls(Tokenizer.from_file(str(file)), str(file))
        except Exception as error:  # the library raises bare Exceptions
            raise CheckpointError(f"{file}: is not a tokenizer: {error}") from error

    def tokenise(self, prompt: MultimodalPrompt) -> PromptTokens:
        """Return the tokens of a prompt.

        Raises:
            ValueError: a word is not in the vocabulary.

        """
        self._add(prompt.pictures)
        encoded = self._tokenizer.encode(prompt.text, add_special_tokens=True)
        items, words, pictures = [], [], []
        for number, token, (begin, end) in zip(
            encoded.ids, encoded.tokens, encoded.offsets, strict=True
        ):
            name = token[1:-1]
            if token == f"{{{name}}}" and name in prompt.pictures:
                items.append(PICTURE)
                pictures.append(prompt.pictures[name])
                continue
            if number == self._unknown or "{" in token or "}" in token:
                raise ValueError(
                    f"prompt '{prompt.text}': '{prompt.text[begin:end] or token}' is not in the "
                    f"vocabulary of {self._where}"
                )
            items.append(WORD)
            words.append(number)
        return PromptTokens(tuple(items), np.array(words, np.int64), _stacked(pictures))

    def write(self, path: Path) -> None:
        """Write tokenizer.json."""
        self._tokenizer.save(str(path))

    def _add(self, names: Iterable[str]) -> None:
        from tokenizers import AddedToken

        self._tokenizer.add_tokens(
            [AddedToken(f"{{{name}}}", single_word=True, normalized=True) for name in names]
        )


def word_tokenizer(words: Iterable[str]) -> PromptTokenizer:
    """Return a tokenizer with one token per word; the text ends with </s> as T5's does."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    vocabulary = {word: number for number, word in enumerate((_UNKNOWN, _END, *words))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=_UNKNOWN))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"$A {_END}", special_tokens=[(_END, vocabulary[_END])]
    )
    return PromptTokenizer(tokenizer, "the word list")


def _stacked(pictures: list[Objects]) -> Objects | None:
    """Stack pictures, each view padded to the largest number of objects."""
    if not pictures:
        return None
    slots = {view: max(len(p.mask[view]) for p in pictures) for view in pictures[0].views}
    return stack([picture.padded(slots) for picture in pictures])
