# SPDX-License-Identifier: Apache-2.0
"""The tokenizer: a byte vocabulary, the reference vocabulary, malformed files, transformers."""

import json
import unicodedata
from pathlib import Path

import pytest
from golden.comparison import TOKENIZER
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from groot_ros.checkpoint.locate import has_tokenizer
from groot_ros.core.config_reader import CheckpointError
from groot_ros.processing.tokenizer import (
    IMAGE_TOKEN_INDEX,
    SPECIAL_TOKENS,
    VOCAB_SIZE,
    TextTokenizer,
    write_byte_tokenizer,
    write_word_tokenizer,
)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tokenizer")
    write_byte_tokenizer(path)
    return path


@pytest.fixture(scope="module")
def tokenizer(directory: Path) -> TextTokenizer:
    return TextTokenizer.load(directory)


def test_bytes_and_special_tokens_have_the_documented_ids(tokenizer: TextTokenizer) -> None:
    assert (tokenizer.size, tokenizer.image_id) == (VOCAB_SIZE, IMAGE_TOKEN_INDEX)
    assert tokenizer.pad_id == 256
    ids = tokenizer.encode("ab<img><IMG_CONTEXT><IMG_CONTEXT></img>")
    assert len(ids) == 6
    assert ids[3] == ids[4] == IMAGE_TOKEN_INDEX


def test_decoding_restores_any_text(tokenizer: TextTokenizer) -> None:
    @given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="<"), max_size=40))
    def check(text: str) -> None:
        normal = unicodedata.normalize("NFC", text)
        ids = tokenizer.encode(text)
        assert tokenizer.decode(ids) == normal
        assert len(ids) == len(normal.encode())

    check()


def write_tokenizer_json(directory: Path, target: Path, first_id: int = 0) -> None:
    """Write the byte tokenizer as one file; the ids of the bytes start at `first_id`."""
    vocab = json.loads((directory / "vocab.json").read_text(encoding="utf-8"))
    shifted = {token: number + first_id for token, number in vocab.items()}
    tokenizer = Tokenizer(models.BPE(shifted, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    added = [AddedToken(token, normalized=False, special=True) for token in SPECIAL_TOKENS]
    tokenizer.add_special_tokens(added)
    tokenizer.save(str(target / "tokenizer.json"))


def test_a_tokenizer_json_is_read_if_present(directory: Path, tmp_path: Path) -> None:
    write_tokenizer_json(directory, tmp_path)
    assert has_tokenizer(tmp_path)
    text = "pick up<img><IMG_CONTEXT></img>"
    assert TextTokenizer.load(tmp_path).encode(text) == TextTokenizer.load(directory).encode(text)


def test_each_word_of_the_given_texts_is_one_token_and_other_words_are_still_read(
    tmp_path: Path,
) -> None:
    texts = ["put the red cube into the bowl", "push the red cube to the left"]
    write_word_tokenizer(tmp_path, [f"{text}<img></img>" for text in texts])
    tokenizer = TextTokenizer.load(tmp_path)
    assert [len(tokenizer.encode(text)) for text in texts] == [7, 7]
    assert tokenizer.encode(texts[0])[1:4] == tokenizer.encode(texts[1])[1:4]
    unseen = "müde 日本 <IMG_CONTEXT> cubes"
    assert tokenizer.decode(tokenizer.encode(unseen)) == unseen
    assert tokenizer.image_id in tokenizer.encode(unseen)
    assert (
        tokenizer.rows
        == tokenizer.size
        == len(json.loads((tmp_path / "vocab.json").read_text())) + 6
    )


def test_the_same_texts_give_the_same_tokenizer_in_any_order(tmp_path: Path) -> None:
    texts = ["touch the red cube", "touch the blue cube", "put the red cube into the bowl"]
    write_word_tokenizer(tmp_path / "one", texts)
    write_word_tokenizer(tmp_path / "other", [*reversed(texts), texts[0]])
    for name in ("vocab.json", "merges.txt", "added_tokens.json"):
        assert (tmp_path / "one" / name).read_text() == (tmp_path / "other" / name).read_text()


def test_ids_of_added_tokens_with_a_gap_are_rejected(tmp_path: Path) -> None:
    write_byte_tokenizer(tmp_path)
    path = tmp_path / "added_tokens.json"
    added = json.loads(path.read_text())
    added["<img>"] = 300
    path.write_text(json.dumps(added))
    with pytest.raises(CheckpointError, match=r"added_tokens.json: '</?img>' must have id"):
        TextTokenizer.load(tmp_path)


def test_a_tokenizer_without_image_tokens_is_rejected(tmp_path: Path) -> None:
    write_byte_tokenizer(tmp_path)
    (tmp_path / "added_tokens.json").write_text(json.dumps({"<|endoftext|>": 256}))
    with pytest.raises(CheckpointError, match="has no token '<IMG_CONTEXT>'"):
        TextTokenizer.load(tmp_path)


@pytest.mark.parametrize("name", ["merges.txt", "tokenizer.json"])
def test_a_malformed_file_is_named(tmp_path: Path, name: str) -> None:
    write_byte_tokenizer(tmp_path)
    (tmp_path / name).write_text("neither\tjson nor merges at all")
    with pytest.raises(CheckpointError, match=name):
        TextTokenizer.load(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("complete", [False, True])
def test_the_reference_vocabulary_gives_the_ids_of_the_reference(
    complete: bool, reference_tokenizer: Path
) -> None:
    if complete and not has_tokenizer(TOKENIZER):
        pytest.skip(f"needs {TOKENIZER}")
    real = TextTokenizer.load(TOKENIZER if complete else reference_tokenizer)
    assert real.encode("pick up the cube") == [29245, 705, 279, 23739]
    assert real.encode("café 日本語 🤖") == [924, 58858, 75402, 21894, 102819, 11162, 97, 244]
    assert (real.size, real.pad_id, real.image_id) == (151680, 151643, 151669)


def change_ids(directory: Path, edit) -> Path:
    write_byte_tokenizer(directory)
    path = directory / "vocab.json"
    path.write_text(json.dumps({t: edit(n) for t, n in json.loads(path.read_text()).items()}))
    return path


@pytest.mark.parametrize(
    ("edit", "problem"),
    [
        (lambda number: 1, "both have id 1"),
        (lambda number: max(number, 1), "both have id 1"),
        (
            lambda number: number + 100_000,
            "has id 100000, but 256 tokens must have the ids 0 to 255",
        ),
        (lambda number: -number, "must be a whole number >= 0"),
        (float, "must be a whole number"),
    ],
)
def test_ids_that_are_not_rows_of_the_embeddings_are_rejected(
    tmp_path: Path, edit, problem: str
) -> None:
    path = change_ids(tmp_path, edit)
    with pytest.raises(CheckpointError, match=problem) as caught:
        TextTokenizer.load(tmp_path)
    assert str(caught.value).startswith(f"{path}: ")


def test_rows_are_the_largest_id_plus_one(
    directory: Path, tmp_path: Path, tokenizer: TextTokenizer
) -> None:
    assert tokenizer.rows == VOCAB_SIZE
    write_tokenizer_json(directory, tmp_path, first_id=1000)
    assert TextTokenizer.load(tmp_path).rows == 1256


@pytest.fixture(scope="module")
def transformers():
    return pytest.importorskip("transformers", reason="transformers is not installed")


def assert_same_tokens(transformers, directory: Path) -> None:
    ours = TextTokenizer.load(directory)
    theirs = transformers.Qwen2TokenizerFast.from_pretrained(str(directory))
    pieces = st.one_of(
        st.text(max_size=12),
        st.sampled_from(
            ["<img>", "<IMG_CONTEXT>", "</img>", "<|im_start|>", "it's", "\n\n ", "42"]
        ),
    )

    @settings(max_examples=200, deadline=None)
    @given(st.lists(pieces, max_size=6).map("".join))
    def check(text: str) -> None:
        assert ours.encode(text) == theirs(text, add_special_tokens=False)["input_ids"]

    check()


def test_any_text_has_the_tokens_of_transformers_with_a_byte_vocabulary(
    transformers, directory: Path
) -> None:
    assert_same_tokens(transformers, directory)


def test_any_text_has_the_tokens_of_transformers_with_the_reference_vocabulary(
    transformers,
) -> None:
    if not has_tokenizer(TOKENIZER):
        pytest.skip(f"needs {TOKENIZER}")
    assert_same_tokens(transformers, TOKENIZER)


def test_a_tokenizer_that_transformers_saved_is_read(
    transformers, directory: Path, tmp_path: Path
) -> None:
    theirs = transformers.Qwen2TokenizerFast.from_pretrained(str(directory))
    theirs.save_pretrained(str(tmp_path))
    text = "pick up<img><IMG_CONTEXT></img> it's"
    found = TextTokenizer.load(tmp_path).encode(text)
    assert found == TextTokenizer.load(directory).encode(text)
