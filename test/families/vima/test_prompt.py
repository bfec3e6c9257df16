# SPDX-License-Identifier: Apache-2.0
"""Prompts become words and pictures in order; what cannot be resolved is rejected."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from support.tiny_vima import TEXT, WORDS, objects, prompt, tiny_tokenizer
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from groot_ros.core.config_reader import CheckpointError
from groot_ros.families.vima.prompt import (
    PICTURE,
    PLACEHOLDERS,
    WORD,
    MultimodalPrompt,
    PromptTokenizer,
)
from groot_ros.families.vima.prompt_encoder import interleave

GOLDEN = Path(__file__).resolve().parents[2] / "data" / "golden" / "vima" / "reference"
ONE = {"dragged_obj": objects(3)}


def test_the_placeholders_are_those_of_the_public_models() -> None:
    tokens = json.loads((GOLDEN / "config.json").read_text())["placeholder_tokens"]
    assert len(tokens) == 42
    assert sorted(tokens) == sorted(f"{{{name}}}" for name in PLACEHOLDERS)


def test_words_and_pictures_are_in_the_order_of_the_text() -> None:
    tokens = tiny_tokenizer().tokenise(prompt())
    assert tokens.items == (0, 0, 1, 0, 0, 1, 0, 0)
    # Ids 0 and 1 are <unk> and </s>.
    ids = {word: number for number, word in enumerate(WORDS, start=2)}
    expected = [ids[word] for word in ("put", "the", "into", "the", ".")]
    assert tokens.words.tolist() == [*expected, 1]
    assert tokens.pictures is not None
    assert tokens.pictures.ids == (3, 5)
    assert tokens.pictures.crops["front"].shape == (2, 1, 3, 32, 32)


def test_a_picture_may_be_named_twice_and_by_any_word() -> None:
    picture = objects(3)
    tokens = tiny_tokenizer().tokenise(
        MultimodalPrompt("rotate {0} into {0} {my_scene2}", {"0": picture, "my_scene2": picture})
    )
    assert tokens.items == (0, 1, 0, 1, 1, 0)
    assert tokens.pictures is not None
    assert tokens.pictures.ids == (3, 3, 3)


def test_pictures_are_padded_to_the_largest_number_of_objects_of_each_view() -> None:
    scene = objects(1, 2, 4)
    tokens = tiny_tokenizer().tokenise(
        MultimodalPrompt("rotate {scene} into {ring}", {"scene": scene, "ring": objects(6)})
    )
    assert tokens.pictures is not None
    assert tokens.pictures.mask["top"].tolist() == [[True] * 3, [True, False, False]]


def test_a_prompt_without_pictures_has_only_words() -> None:
    tokens = tiny_tokenizer().tokenise(MultimodalPrompt("rotate this", {}))
    assert tokens.items == (0, 0, 0)
    assert tokens.pictures is None


def test_prompts_of_a_batch_are_interleaved_and_padded_to_the_longest() -> None:
    words, pictures = torch.tensor([[1.0], [2.0], [3.0]]), torch.tensor([[[10.0], [11.0]]])
    shown = torch.tensor([[True, False]])
    tokens, mask = interleave([[WORD, PICTURE, WORD], [WORD]], words, pictures, shown)
    assert tokens[..., 0].tolist() == [[1.0, 10.0, 11.0, 2.0], [3.0, 0.0, 0.0, 0.0]]
    assert mask.tolist() == [[True, True, False, True], [True, False, False, False]]


@pytest.mark.parametrize(
    ("items", "problem"),
    [
        ([[WORD, PICTURE]], "contain 1 words, but 3 were given"),
        ([[WORD, WORD, WORD]], "contain 0 pictures, but 1 were given"),
    ],
)
def test_items_that_do_not_match_words_and_pictures_are_rejected(
    items: list[list[int]], problem: str
) -> None:
    with pytest.raises(ValueError, match=problem):
        interleave(items, torch.zeros(3, 1), torch.zeros(1, 2, 1), torch.ones(1, 2, dtype=bool))


def test_equal_prompts_have_equal_keys_and_different_ones_do_not() -> None:
    tokenizer = tiny_tokenizer()
    key = tokenizer.tokenise(prompt()).key
    assert tokenizer.tokenise(prompt()).key == key
    others = [prompt(seed=4), prompt(text="put {dragged_obj} into {base_obj}")]
    moved = replace(objects(3), boxes={v: b + 1 for v, b in objects(3).boxes.items()})
    others.append(MultimodalPrompt(TEXT, {**prompt().pictures, "dragged_obj": moved}))
    assert len({key, *(tokenizer.tokenise(other).key for other in others)}) == 4


@pytest.mark.parametrize(
    ("text", "pictures", "problem"),
    [
        ("put {dragged_obj} into {base_obj}", ONE, r"placeholder \{base_obj\} has no picture"),
        ("put this", ONE, r"'dragged_obj' is given, but the text has no placeholder"),
        ("put {dragged_obj} into {", ONE, "a brace belongs to no placeholder"),
        ("put {dragged obj}", {}, "a brace belongs to no placeholder"),
        ("put {}", {}, "a brace belongs to no placeholder"),
        ("put x{dragged_obj}", ONE, "a placeholder touches a word"),
        ("put {dragged_obj}1", ONE, "a placeholder touches a word"),
        ("put {dragged_obj}{dragged_obj}", ONE, "a placeholder touches a word"),
    ],
)
def test_text_and_pictures_that_do_not_fit_are_rejected(
    text: str, pictures: dict, problem: str
) -> None:
    with pytest.raises(ValueError, match=problem):
        MultimodalPrompt(text, pictures)


def test_pictures_of_different_views_are_rejected() -> None:
    picture = objects(3)
    only_top = replace(
        picture,
        crops={"top": picture.crops["top"]},
        boxes={"top": picture.boxes["top"]},
        mask={"top": picture.mask["top"]},
    )
    with pytest.raises(ValueError, match="pictures are of different views"):
        MultimodalPrompt(TEXT, {"dragged_obj": picture, "base_obj": only_top})


def test_a_word_that_is_not_in_the_vocabulary_is_rejected_with_the_word() -> None:
    with pytest.raises(ValueError, match="'throw' is not in the vocabulary of the word list"):
        tiny_tokenizer().tokenise(MultimodalPrompt("throw {dragged_obj}", ONE))


def test_a_written_tokenizer_is_read_back_as_a_file_and_from_its_directory(tmp_path: Path) -> None:
    expected = tiny_tokenizer().tokenise(prompt())
    tiny_tokenizer().write(tmp_path / "tokenizer.json")
    for path in (tmp_path, tmp_path / "tokenizer.json"):
        read = PromptTokenizer.load(path)
        assert read.tokenise(prompt()).key == expected.key
        assert read.rows == tiny_tokenizer().rows == 2 + len(WORDS)


def test_a_file_that_is_not_a_tokenizer_is_rejected_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"tokenizer.json: no such file"):
        PromptTokenizer.load(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"tokenizer.json: is not a tokenizer"):
        PromptTokenizer.load(tmp_path)
    (tmp_path / "spiece.model").write_bytes(b"\0")
    with pytest.raises(CheckpointError, match=r"spiece.model: must be a tokenizer.json"):
        PromptTokenizer.load(tmp_path / "spiece.model")


def test_a_tokenizer_of_word_pieces_as_t5s_keeps_placeholders_whole(tmp_path: Path) -> None:
    pieces = ["<pad>", "</s>", "<unk>", "\u2581", "\u2581Put", "\u2581the", "\u2581in", "to", "."]
    tokenizer = Tokenizer(models.Unigram([(piece, -1.0) for piece in pieces], unk_id=2))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", 1)]
    )
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    tokens = PromptTokenizer.load(tmp_path).tokenise(
        prompt(text="Put the {dragged_obj} into the {base_obj}.")
    )
    # As in T5, the space before a placeholder is a separate token (3).
    assert tokens.words.tolist() == [4, 5, 3, 6, 7, 5, 3, 3, 8, 1]
    assert tokens.items == (0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0)


def test_the_tokenizer_of_t5_gives_its_words_and_ends_with_its_end_token() -> None:
    """Set GROOT_ROS_T5_TOKENIZER to tokenizer.json of t5-base to run this test."""
    path = os.environ.get("GROOT_ROS_T5_TOKENIZER", "")
    if not path:
        pytest.skip("needs GROOT_ROS_T5_TOKENIZER, the path of t5-base's tokenizer.json")
    tokenizer = PromptTokenizer.load(Path(path))
    assert tokenizer.rows <= 32128
    tokens = tokenizer.tokenise(prompt(text="Put the {dragged_obj} into the {base_obj}."))
    assert sum(tokens.items) == 2
    assert tokens.words[-1] == 1
    words = Tokenizer.from_file(path).decode(tokens.words.tolist())
    assert words.split() == ["Put", "the", "into", "the", "."]
