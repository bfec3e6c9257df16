"""One embodiment's way from an observation to model input and from model output to actions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from groot_ros.processing.images import ImagePipeline
from groot_ros.processing.modality import ProcessorConfig
from groot_ros.processing.prompt import build_prompt, formalise
from groot_ros.processing.state_action import StateActionCodec
from groot_ros.processing.statistics import Statistics
from groot_ros.processing.tokenizer import TextTokenizer


@dataclass(frozen=True)
class Sample:
    """One observation in the checkpoint's units, with the actions that followed when training.

    Attributes:
        images: view -> uint8 RGB [T, H, W, 3], oldest frame first; views may differ in size.
        state: group -> [T, D].
        instruction: in words.
        action: group -> [T, D] absolute actions, or None at inference.

    """

    images: Mapping[str, NDArray[np.uint8]]
    state: Mapping[str, NDArray[np.floating]]
    instruction: str
    action: Mapping[str, NDArray[np.floating]] | None = None


@dataclass(frozen=True)
class EncodedSample:
    """A sample as the model reads it, before padding to a batch.

    Attributes:
        input_ids: token ids.
        images: uint8 [3, h, w] each, frame by frame, views in order.
        state: float32 [T, max_state_dim].
        embodiment_id: row of the category-specific weights.
        action, action_mask: float32 [max_action_horizon, max_action_dim], None at inference.

    """

    input_ids: list[int]
    images: list[NDArray[np.uint8]]
    state: NDArray[np.float32]
    embodiment_id: int
    action: NDArray[np.float32] | None = None
    action_mask: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class ModelInputs:
    """A batch, still numpy.

    Attributes:
        input_ids, attention_mask: int64 [B, S], left padded.
        images: uint8 [3, h, w] each, sample by sample.
        state: float32 [B, T, max_state_dim].
        embodiment_id: int64 [B].
        action, action_mask: float32 [B, H, max_action_dim], None at inference.

    """

    input_ids: NDArray[np.int64]
    attention_mask: NDArray[np.int64]
    images: list[NDArray[np.uint8]]
    state: NDArray[np.float32]
    embodiment_id: NDArray[np.int64]
    action: NDArray[np.float32] | None = None
    action_mask: NDArray[np.float32] | None = None


class Processor:
    """Images, state and instruction of one embodiment to model input; model output to actions."""

    def __init__(
        self,
        config: ProcessorConfig,
        statistics: Statistics,
        tag: str,
        tokenizer: TextTokenizer,
        cell: int = 28,
    ) -> None:
        self.config = config
        self.tag = tag
        self.tokenizer = tokenizer
        self.embodiment = config.embodiment(tag)
        self.embodiment_id = config.embodiment_id(tag)
        self.codec = StateActionCodec(config, self.embodiment, statistics)
        self.images = ImagePipeline.of(config, cell)
        self._prompts: dict[tuple[str, tuple[int, ...]], list[int]] = {}

    @classmethod
    def load(
        cls, directory: Path, tag: str, tokenizer: TextTokenizer, cell: int = 28
    ) -> "Processor":
        """From processor_config.json, statistics.json and embodiment_id.json of a checkpoint.

        `cell` is the side in pixels of one image token (patch size times pixel shuffle).
        """
        config = ProcessorConfig.read(directory)
        config.embodiment(tag)
        statistics = Statistics.read(directory / "statistics.json", tag)
        return cls(config, statistics, tag, tokenizer, cell)

    @property
    def views(self) -> tuple[str, ...]:
        """Cameras, in the model's order."""
        return self.embodiment.video.modality_keys

    def encode(self, sample: Sample, rng: np.random.Generator | None = None) -> EncodedSample:
        """One sample as the model reads it.

        Args:
            sample: see there; views beyond the checkpoint's are ignored.
            rng: draws the crop, one draw for all frames and views (training); None crops the
                centre (evaluation).

        Raises:
            ValueError: a view or group is missing, has the wrong number of frames, or is not
                finite; a view is over 200 times as long as wide.

        """
        at = (0.5, 0.5) if rng is None else (float(rng.random()), float(rng.random()))
        images = [self._image(view, frame, at) for view, frame in self._frames(sample.images)]
        action, mask = None, None
        if sample.action is not None:
            action, mask = self.codec.encode_action(sample.action, sample.state)
        return EncodedSample(
            input_ids=self.tokens(sample.instruction, [self.images.tokens(i) for i in images]),
            images=images,
            state=self.codec.encode_state(sample.state),
            embodiment_id=self.embodiment_id,
            action=action,
            action_mask=mask,
        )

    def decode(
        self,
        action: NDArray[np.floating],
        state: Mapping[str, NDArray[np.floating]],
        frozen_steps: int = 0,
    ) -> dict[str, NDArray[np.float32]]:
        """Model output [..., H, max_action_dim] and raw state to group -> [..., horizon, D]."""
        return self.codec.decode_action(action, state, frozen_steps)

    def tokens(self, instruction: str, image_tokens: Sequence[int]) -> list[int]:
        """Token ids of the whole prompt; the last instruction is remembered."""
        text = formalise(instruction) if self.config.formalize_language else instruction
        key = (text, tuple(image_tokens))
        if key not in self._prompts:
            self._prompts = {key: self.tokenizer.encode(build_prompt(text, image_tokens))}
        return self._prompts[key]

    def _image(
        self, view: str, frame: NDArray[np.uint8], at: tuple[float, float]
    ) -> NDArray[np.uint8]:
        try:
            return self.images(frame, at)
        except ValueError as error:
            raise ValueError(f"camera '{view}': {error}") from error

    def _frames(
        self, images: Mapping[str, NDArray[np.uint8]]
    ) -> list[tuple[str, NDArray[np.uint8]]]:
        """Frame by frame, views in order."""
        count = len(self.embodiment.video.delta_indices)
        for view in self.views:
            if view not in images:
                given = ", ".join(images) or "none"
                raise ValueError(f"camera '{view}' is missing; given: {given}")
            if len(images[view]) != count:
                raise ValueError(
                    f"camera '{view}' has {len(images[view])} frames, the checkpoint takes {count}"
                )
        return [(view, images[view][t]) for t in range(count) for view in self.views]


def collate(samples: Sequence[EncodedSample], pad_id: int) -> ModelInputs:
    """Stack samples to a batch, token ids padded on the left."""
    length = max(len(sample.input_ids) for sample in samples)
    ids = np.full((len(samples), length), pad_id, dtype=np.int64)
    mask = np.zeros((len(samples), length), dtype=np.int64)
    for row, sample in enumerate(samples):
        ids[row, length - len(sample.input_ids) :] = sample.input_ids
        mask[row, length - len(sample.input_ids) :] = 1
    actions = [sample.action for sample in samples if sample.action is not None]
    masks = [sample.action_mask for sample in samples if sample.action_mask is not None]
    if len(actions) not in (0, len(samples)):
        raise ValueError("some samples of the batch have actions and some have not")
    return ModelInputs(
        input_ids=ids,
        attention_mask=mask,
        images=[image for sample in samples for image in sample.images],
        state=np.stack([sample.state for sample in samples]),
        embodiment_id=np.array([sample.embodiment_id for sample in samples], dtype=np.int64),
        action=np.stack(actions) if actions else None,
        action_mask=np.stack(masks) if masks else None,
    )
