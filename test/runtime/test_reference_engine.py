# SPDX-License-Identifier: Apache-2.0
"""The model as written: the reference of all other engines."""

from pathlib import Path

import numpy as np
import pytest
import torch
from support.tiny_checkpoint import HORIZON, tiny_config, write_tiny_checkpoint

from groot_ros.core.program import ModelInputs
from groot_ros.families.gr00t.checkpoint import ReferenceModel
from groot_ros.families.gr00t_n1d6.weights import load_model
from groot_ros.layers.flow_matching import draw_noise
from groot_ros.layers.patches import normalise_pixels
from groot_ros.processing.tokenizer import IMAGE_TOKEN_INDEX
from groot_ros.runtime.engines.reference import ReferenceEngine

EMBODIMENT = 10


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_checkpoint(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture
def model(checkpoint: Path) -> ReferenceModel:
    return ReferenceModel(load_model(checkpoint, tiny_config(), embodiment=EMBODIMENT))


@pytest.fixture
def engine(model: ReferenceModel) -> ReferenceEngine:
    return ReferenceEngine(model)


def inputs(views: int = 1) -> ModelInputs:
    """Return inputs with noise, and images of one token, or of four if there is only one."""
    rng = np.random.default_rng(0)
    side, tokens = (56, 4) if views == 1 else (28, views)
    ids = np.array([[1, *[IMAGE_TOKEN_INDEX] * tokens, 2]])
    return {
        "input_ids": ids,
        "attention_mask": np.ones_like(ids),
        "state": rng.normal(size=(1, 1, 8)).astype(np.float32),
        "embodiment_id": np.array([EMBODIMENT]),
        **{
            f"image.{i}": rng.integers(0, 256, (3, side, side), dtype=np.uint8)
            for i in range(views)
        },
        "noise": draw_noise((1, HORIZON, 8), 1).numpy(),
    }


def actions(engine: ReferenceEngine, given: ModelInputs, steps: int) -> np.ndarray:
    return engine.run(given, steps).outputs["next_actions"]


def test_it_runs_the_embodiment_it_was_loaded_for(
    engine: ReferenceEngine, checkpoint: Path
) -> None:
    given = inputs()
    all_embodiments = load_model(checkpoint, tiny_config())
    with torch.no_grad():
        expected = all_embodiments(
            torch.from_numpy(given["input_ids"]),
            torch.from_numpy(given["attention_mask"]),
            [normalise_pixels(torch.from_numpy(given["image.0"]))[None]],
            torch.from_numpy(given["state"]),
            torch.from_numpy(given["embodiment_id"]),
            torch.from_numpy(given["noise"]),
            steps=3,
        )
    result = engine.run(given, 3)
    np.testing.assert_allclose(result.outputs["next_actions"], expected.numpy(), atol=1e-6)
    assert list(result.seconds) == ["backbone", "head"]
    assert all(seconds > 0 for seconds in result.seconds.values())


def test_preparing_changes_no_result(checkpoint: Path) -> None:
    def fresh() -> ReferenceEngine:
        return ReferenceEngine(
            ReferenceModel(load_model(checkpoint, tiny_config(), embodiment=EMBODIMENT))
        )

    prepared = fresh()
    prepared.prepare(inputs(), 4)
    np.testing.assert_array_equal(actions(prepared, inputs(), 4), actions(fresh(), inputs(), 4))


def test_a_frozen_prefix_comes_out_unchanged(engine: ReferenceEngine) -> None:
    zeros = np.zeros((1, HORIZON, 8), dtype=np.float32)
    frozen = zeros.copy()
    frozen[:, :2] = 1.0
    prefix = {
        "prefix": zeros + 0.25,
        "start": frozen,
        "weight": zeros,
        "strength": 1.0 - frozen,
        "clean": zeros[..., 0],
    }
    given = actions(engine, {**inputs(), **prefix}, 4)
    assert (given[:, :2] == 0.25).all()
    assert not (given[:, 2:] == 0.25).any()


def test_images_are_taken_by_their_number_whatever_the_order_of_the_inputs(
    engine: ReferenceEngine,
) -> None:
    """A file of reference outputs gives them by name, "image.10" before "image.2"."""
    given = inputs(views=12)
    by_name = dict(sorted(given.items()))
    assert list(by_name) != list(given)
    np.testing.assert_array_equal(actions(engine, by_name, 2), actions(engine, given, 2))
    swapped = {**given, "image.2": given["image.10"], "image.10": given["image.2"]}
    assert np.abs(actions(engine, swapped, 2) - actions(engine, given, 2)).max() > 0


def test_memory_is_that_of_the_weights_until_the_engine_is_closed(
    engine: ReferenceEngine, model: ReferenceModel
) -> None:
    count = sum(p.numel() for p in model.model.parameters())
    assert engine.memory_bytes == 4 * count
    assert (engine.name, engine.device) == ("reference", "cpu")
    engine.close()
    assert engine.memory_bytes == 0
    with pytest.raises(RuntimeError, match="closed"):
        engine.run(inputs(), 1)


def test_pixels_are_scaled_exactly_to_minus_one_and_one() -> None:
    image = torch.arange(256, dtype=torch.uint8).reshape(1, 16, 16).expand(3, 16, 16)
    scaled = normalise_pixels(image)
    assert scaled.shape == (3, 16, 16)
    assert scaled.min() == -1.0
    assert scaled.max() == 1.0
    expected = (np.arange(256, dtype=np.float32) - np.float32(127.5)) / np.float32(127.5)
    np.testing.assert_array_equal(scaled[0].flatten().numpy(), expected)
