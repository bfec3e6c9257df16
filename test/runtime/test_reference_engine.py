"""The model as written: the measure of all other engines."""

from pathlib import Path

import numpy as np
import pytest
import torch
from support.tiny_checkpoint import HORIZON, tiny_config, write_tiny_checkpoint

from groot_ros.models.gr00t_n1d6 import draw_noise, load_model
from groot_ros.processing import IMAGE_TOKEN_INDEX, ModelInputs
from groot_ros.runtime.engine import PrefixInput
from groot_ros.runtime.engines.reference import ReferenceEngine
from groot_ros.runtime.tensors import TensorInputs

EMBODIMENT = 10


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_checkpoint(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture
def engine(checkpoint: Path) -> ReferenceEngine:
    return ReferenceEngine(load_model(checkpoint, tiny_config(), embodiment=EMBODIMENT))


def inputs() -> ModelInputs:
    rng = np.random.default_rng(0)
    ids = np.array([[1, *[IMAGE_TOKEN_INDEX] * 4, 2]])
    return ModelInputs(
        input_ids=ids,
        attention_mask=np.ones_like(ids),
        images=[rng.integers(0, 256, (3, 56, 56), dtype=np.uint8)],
        state=rng.normal(size=(1, 1, 8)).astype(np.float32),
        embodiment_id=np.array([EMBODIMENT]),
    )


def noise() -> np.ndarray:
    return draw_noise((1, HORIZON, 8), 1).numpy()


def test_it_runs_the_embodiment_it_was_loaded_for(
    engine: ReferenceEngine, checkpoint: Path
) -> None:
    tensors = TensorInputs.of(inputs())
    whole = load_model(checkpoint, tiny_config())
    with torch.no_grad():
        expected = whole(
            tensors.input_ids,
            tensors.attention_mask,
            tensors.images,
            tensors.state,
            tensors.embodiment,
            torch.from_numpy(noise()),
            steps=3,
        )
    result = engine.run(inputs(), noise(), 3)
    np.testing.assert_allclose(result.actions, expected.numpy(), atol=1e-6)
    assert result.backbone_seconds > 0
    assert result.head_seconds > 0


def test_preparing_changes_no_result(checkpoint: Path) -> None:
    def fresh() -> ReferenceEngine:
        return ReferenceEngine(load_model(checkpoint, tiny_config(), embodiment=EMBODIMENT))

    prepared = fresh()
    prepared.prepare(inputs())
    again = prepared.run(inputs(), noise(), 4).actions
    np.testing.assert_array_equal(again, fresh().run(inputs(), noise(), 4).actions)


def test_a_frozen_prefix_comes_out_unchanged(engine: ReferenceEngine) -> None:
    full = np.zeros((1, HORIZON, 8), dtype=np.float32)
    frozen = full.copy()
    frozen[:, :2] = 1.0
    prefix = PrefixInput(full + 0.25, frozen, full, 1.0 - frozen, full[..., 0])
    actions = engine.run(inputs(), noise(), 4, prefix).actions
    assert (actions[:, :2] == 0.25).all()
    assert not (actions[:, 2:] == 0.25).any()


def test_memory_is_that_of_the_weights_and_goes_with_them(engine: ReferenceEngine) -> None:
    count = sum(p.numel() for p in engine._model.parameters())
    assert engine.memory_bytes == 4 * count
    assert engine.device == "cpu"
    engine.close()
    assert engine.memory_bytes == 0
    with pytest.raises(RuntimeError, match="closed"):
        engine.run(inputs(), noise(), 1)


def test_pixels_are_scaled_exactly_to_minus_one_and_one() -> None:
    image = np.arange(256, dtype=np.uint8).reshape(1, 16, 16).repeat(3, axis=0)
    batch = inputs()
    batch.images[0] = image
    (scaled,) = TensorInputs.of(batch).images
    assert scaled.shape == (1, 3, 16, 16)
    assert scaled.min() == -1.0
    assert scaled.max() == 1.0
    expected = (np.arange(256, dtype=np.float32) - np.float32(127.5)) / np.float32(127.5)
    np.testing.assert_array_equal(scaled[0, 0].flatten().numpy(), expected)


def test_inference_inputs_cannot_be_trained_on() -> None:
    with pytest.raises(ValueError, match="no actions"):
        TensorInputs.of(inputs()).for_loss()
