"""Prompts and tokens, with a byte tokenizer of our own read by the same code as a real one."""

import json
from pathlib import Path

import pytest
from golden.comparison import TOKENIZER
from hypothesis import given
from hypothesis import strategies as st

from groot_ros.core.config_reader import CheckpointError
from groot_ros.models.gr00t_n1d6 import EagleConfig, TextConfig
from groot_ros.processing import (
    IMAGE_TOKEN_INDEX,
    VOCAB_SIZE,
    TextTokenizer,
    write_byte_tokenizer,
)
from groot_ros.processing.prompt import build_prompt, formalise
from groot_ros.processing.tokenizer import has_tokenizer
from groot_ros.runtime.checkpoint_parts import require_same_tokens


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tokenizer")
    write_byte_tokenizer(path)
    return path


@pytest.fixture(scope="module")
def tokenizer(directory: Path) -> TextTokenizer:
    return TextTokenizer.load(directory)


def test_bytes_and_special_tokens_have_the_promised_ids(tokenizer: TextTokenizer) -> None:
    assert (tokenizer.size, tokenizer.image_id) == (VOCAB_SIZE, IMAGE_TOKEN_INDEX)
    assert tokenizer.pad_id == 256
    ids = tokenizer.encode("ab<img><IMG_CONTEXT><IMG_CONTEXT></img>")
    assert len(ids) == 6
    assert ids[3] == ids[4] == IMAGE_TOKEN_INDEX


def test_any_text_comes_back_from_its_bytes(tokenizer: TextTokenizer) -> None:
    @given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="<"), max_size=40))
    def check(text: str) -> None:
        import unicodedata

        normal = unicodedata.normalize("NFC", text)
        ids = tokenizer.encode(text)
        assert tokenizer.decode(ids) == normal
        assert len(ids) == len(normal.encode())

    check()


def test_a_tokenizer_json_is_read_where_there_is_one(directory: Path, tmp_path: Path) -> None:
    TextTokenizer.load(directory)._tokenizer.save(str(tmp_path / "tokenizer.json"))
    assert has_tokenizer(tmp_path)
    text = "pick up<img><IMG_CONTEXT></img>"
    assert TextTokenizer.load(tmp_path).encode(text) == TextTokenizer.load(directory).encode(text)


def test_added_tokens_with_a_gap_are_rejected(tmp_path: Path) -> None:
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
def test_broken_files_are_named(tmp_path: Path, name: str) -> None:
    write_byte_tokenizer(tmp_path)
    (tmp_path / name).write_text("neither\tjson nor merges at all")
    with pytest.raises(CheckpointError, match=name):
        TextTokenizer.load(tmp_path)


def test_the_instruction_keeps_word_characters_and_spaces_only() -> None:
    assert formalise("Open  the drawer's  top_handle...") == "open  the drawers  top_handle"
    assert formalise("café 日本 — 2x") == "café 日本  2x"
    assert formalise("sweet-potato") == "sweetpotato"


def test_the_prompt_has_the_text_first_then_numbered_images() -> None:
    assert build_prompt("go", [2, 1]) == (
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\ngo"
        "<image 1><img><IMG_CONTEXT><IMG_CONTEXT></img>"
        "<image 2><img><IMG_CONTEXT></img><|im_end|>\n"
    )


@pytest.mark.parametrize("complete", [False, True])
def test_the_real_vocabulary_gives_the_reference_s_ids(
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
        (lambda number: number + 100_000, "has id 100000: 256 tokens have ids from 0 on, no gaps"),
        (lambda number: -number, "must be a whole number >= 0"),
        (float, "must be a whole number"),
    ],
)
def test_ids_that_are_no_rows_of_the_embeddings_are_rejected(
    tmp_path: Path, edit, problem: str
) -> None:
    path = change_ids(tmp_path, edit)
    with pytest.raises(CheckpointError, match=problem) as caught:
        TextTokenizer.load(tmp_path)
    assert str(caught.value).startswith(f"{path}: ")


def test_a_tokenizer_needs_as_many_rows_as_its_largest_id(
    directory: Path, tmp_path: Path, tokenizer: TextTokenizer
) -> None:
    assert tokenizer.rows == VOCAB_SIZE
    tokenizer._tokenizer.save(str(tmp_path / "tokenizer.json"))
    ready = json.loads((tmp_path / "tokenizer.json").read_text())
    ready["model"]["vocab"] = {t: n + 1000 for t, n in ready["model"]["vocab"].items()}
    (tmp_path / "tokenizer.json").write_text(json.dumps(ready))
    far = TextTokenizer.load(tmp_path)
    assert far.rows == 1256
    with pytest.raises(CheckpointError, match="'vocab_size' is 262, the tokenizer has ids up to 1"):
        require_same_tokens(
            far, EagleConfig(text=TextConfig(vocab_size=VOCAB_SIZE), image_token_index=259), Path()
        )
