# SPDX-License-Identifier: Apache-2.0
"""The processor: samples to batches, prompts, and rejected samples."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.tiny_checkpoint import HORIZON, TAG, tiny_processor_config, tiny_statistics

from groot_ros.families.gr00t.samples import collate
from groot_ros.families.gr00t_n1d6.processor import (
    Processor,
    Sample,
    build_prompt,
    formalise,
)
from groot_ros.families.gr00t_n1d6.processor_config import save_processor
from groot_ros.processing.statistics import Statistics
from groot_ros.processing.tokenizer import TextTokenizer, write_byte_tokenizer

STATE = {"single_arm": np.zeros((1, 5)), "gripper": np.full((1, 1), 50.0)}
ACTION = {"single_arm": np.full((HORIZON, 5), 10.0), "gripper": np.full((HORIZON, 1), 100.0)}


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> TextTokenizer:
    directory = tmp_path_factory.mktemp("tokenizer")
    write_byte_tokenizer(directory)
    return TextTokenizer.load(directory)


@pytest.fixture
def processor(tokenizer: TextTokenizer, tmp_path: Path) -> Processor:
    save_processor(tiny_processor_config(), tiny_statistics(), tmp_path)
    return Processor.load(tmp_path, TAG, tokenizer)


def with_frames(tokenizer: TextTokenizer, deltas: tuple[int, ...]) -> Processor:
    config = tiny_processor_config()
    embodiment = config.embodiment(TAG)
    video = replace(embodiment.video, delta_indices=deltas)
    config = replace(config, embodiments={TAG: replace(embodiment, video=video)})
    raw = tiny_statistics()[TAG]
    statistics = Statistics(raw["state"], raw["action"], raw["relative_action"])
    return Processor(config, statistics, TAG, tokenizer)


def frames(value: int, count: int = 1, h: int = 56, w: int = 56) -> np.ndarray:
    return np.full((count, h, w, 3), value, dtype=np.uint8)


def sample(instruction: str = "go", **changes) -> Sample:
    views = {"front": frames(1), "wrist": frames(2)}
    return Sample(**{"images": views, "state": STATE, "instruction": instruction, **changes})


def test_views_may_differ_in_size(processor: Processor) -> None:
    views = {"front": frames(1, h=48, w=64), "wrist": frames(2, h=90, w=60)}
    encoded = processor.encode_sample(sample(images=views))
    assert [image.shape for image in encoded.images] == [(3, 56, 84), (3, 84, 56)]
    assert encoded.input_ids.count(processor.tokenizer.image_id) == 6 + 6


def test_frames_come_before_views(tokenizer: TextTokenizer) -> None:
    processor = with_frames(tokenizer, (-1, 0))
    views = {
        "wrist": np.concatenate([frames(3), frames(4)]),
        "front": np.concatenate([frames(1), frames(2)]),
    }
    encoded = processor.encode_sample(sample(images=views))
    assert [int(image[0, 0, 0]) for image in encoded.images] == [1, 3, 2, 4]


def test_shorter_prompts_are_padded_on_the_left(processor: Processor) -> None:
    encoded = [processor.encode_sample(sample(text)) for text in ("go", "go there")]
    batch = collate(encoded, processor.tokenizer.pad_id)
    assert batch.input_ids.shape == batch.attention_mask.shape
    assert batch.input_ids[0, :6].tolist() == [processor.tokenizer.pad_id] * 6
    assert batch.attention_mask[0].tolist() == [0] * 6 + [1] * (batch.input_ids.shape[1] - 6)
    assert batch.attention_mask[1].all()
    assert len(batch.images) == 4
    assert batch.state.shape == (2, 1, 8)
    assert batch.embodiment_id.tolist() == [10, 10]
    assert batch.action is None


def test_a_training_batch_contains_actions_and_their_mask(processor: Processor) -> None:
    batch = collate([processor.encode_sample(sample(action=ACTION))], 256)
    assert batch.action.shape == batch.action_mask.shape == (1, HORIZON, 8)
    assert batch.action[0, 0].tolist() == [0.5] * 5 + [1.0, 0.0, 0.0]
    assert batch.action_mask.sum() == HORIZON * 6


def test_a_batch_with_and_without_actions_is_rejected(processor: Processor) -> None:
    encoded = [processor.encode_sample(sample(action=ACTION)), processor.encode_sample(sample())]
    with pytest.raises(ValueError, match="all samples of a batch must have actions, or none"):
        collate(encoded, 256)


def test_training_draws_one_crop_position_for_all_views(processor: Processor) -> None:
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (1, 56, 56, 3), dtype=np.uint8)
    views = {"front": noise, "wrist": noise}
    centre = processor.encode_sample(sample(images=views))
    drawn = processor.encode_sample(sample(images=views), np.random.default_rng(1))
    assert np.array_equal(drawn.images[0], drawn.images[1])
    assert not np.array_equal(drawn.images[0], centre.images[0])


def test_the_checkpoint_decides_whether_language_is_formalised(processor: Processor) -> None:
    formal = processor.tokens("Go, NOW!", [1])
    assert formal == processor.tokens("go now", [1])
    processor.config = replace(processor.config, formalize_language=False)
    assert processor.tokens("Go, NOW!", [1]) != formal


def test_a_missing_camera_is_an_error_that_lists_the_given_ones(processor: Processor) -> None:
    with pytest.raises(ValueError, match="camera 'wrist' is missing; given: front, top"):
        processor.encode_sample(sample(images={"front": frames(1), "top": frames(1)}))


def test_a_wrong_number_of_frames_is_an_error_naming_the_camera(processor: Processor) -> None:
    with pytest.raises(ValueError, match="camera 'front' has 2 frames, the checkpoint takes 1"):
        processor.encode_sample(sample(images={"front": frames(1, 2), "wrist": frames(1)}))


def test_a_very_narrow_frame_is_an_error_naming_the_camera(processor: Processor) -> None:
    odd = sample(images={"front": frames(1, h=1, w=2000), "wrist": frames(2)})
    with pytest.raises(ValueError, match=r"camera 'front': .* 200 times as long as wide"):
        processor.encode_sample(odd)


def test_a_formalised_instruction_keeps_only_word_characters_and_spaces() -> None:
    assert formalise("Open  the drawer's  top_handle...") == "open  the drawers  top_handle"
    assert formalise("café 日本 — 2x") == "café 日本  2x"
    assert formalise("sweet-potato") == "sweetpotato"


def test_the_prompt_is_the_text_followed_by_numbered_images() -> None:
    assert build_prompt("go", [2, 1]) == (
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\ngo"
        "<image 1><img><IMG_CONTEXT><IMG_CONTEXT></img>"
        "<image 2><img><IMG_CONTEXT></img><|im_end|>\n"
    )


def test_one_row_of_a_batch_becomes_model_inputs_with_its_own_images(processor: Processor) -> None:
    other = {"front": frames(3), "wrist": frames(4)}
    samples = [sample("go"), sample("go there", images=other)]
    batch = collate([processor.encode_sample(s) for s in samples], processor.tokenizer.pad_id)
    inputs = batch.inputs(1)
    assert inputs.keys() == {
        "input_ids",
        "attention_mask",
        "state",
        "embodiment_id",
        "image.0",
        "image.1",
    }
    assert np.array_equal(inputs["input_ids"], batch.input_ids[1:])
    assert inputs["state"].shape == (1, 1, 8)
    assert [int(inputs[f"image.{i}"][0, 0, 0]) for i in range(2)] == [3, 4]
