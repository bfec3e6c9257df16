# SPDX-License-Identifier: Apache-2.0
"""Processor of GR00T N1.6: observations to model inputs, and model outputs to actions."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from groot_ros.core import Groups, Observation, Prefix
from groot_ros.families.gr00t_n1d6.image_pipeline import ImagePipeline
from groot_ros.families.gr00t_n1d6.processor_config import ProcessorConfig
from groot_ros.processing.state_action import StateActionCodec
from groot_ros.processing.statistics import Statistics
from groot_ros.processing.tokenizer import IMAGE_END, IMAGE_START, IMAGE_TOKEN, TextTokenizer

_SYSTEM = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"


def formalise(instruction: str) -> str:
    """Return the instruction in lower case, with only word characters and white space (Unicode)."""
    return re.sub(r"[^\w\s]", "", instruction.lower())


def build_prompt(instruction: str, image_tokens: Sequence[int]) -> str:
    """Return the prompt: the instruction, then each image as a numbered run of image tokens.

    Args:
        instruction: text, after `formalise` if the checkpoint has `formalize_language`.
        image_tokens: number of tokens of each image, frame by frame, views in order.

    """
    images = "".join(
        f"<image {number}>{IMAGE_START}{IMAGE_TOKEN * count}{IMAGE_END}"
        for number, count in enumerate(image_tokens, start=1)
    )
    return f"{_SYSTEM}<|im_start|>user\n{instruction}{images}<|im_end|>\n"


@dataclass(frozen=True)
class Sample:
    """Observation in the checkpoint's units; for training with the actions that followed.

    Attributes:
        images: view -> uint8 RGB [T, H, W, 3], oldest frame first; views may differ in size.
        state: group -> [T, D].
        instruction: text.
        action: group -> [T, D] absolute actions, or None at inference.

    """

    images: Mapping[str, NDArray[np.uint8]]
    state: Mapping[str, NDArray[np.floating]]
    instruction: str
    action: Mapping[str, NDArray[np.floating]] | None = None


@dataclass(frozen=True)
class EncodedSample:
    """Model inputs of one sample, before padding to a batch.

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
class Batch:
    """Batch of padded samples as numpy arrays.

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

    def inputs(self, row: int = 0) -> dict[str, NDArray[Any]]:
        """Return one sample as model inputs: batch dimensions are 1, images are "image.<i>"."""
        each = len(self.images) // len(self.input_ids)
        images = self.images[row * each : (row + 1) * each]
        one = slice(row, row + 1)
        return {
            "input_ids": self.input_ids[one],
            "attention_mask": self.attention_mask[one],
            "state": self.state[one],
            "embodiment_id": self.embodiment_id[one],
            **{f"image.{i}": image for i, image in enumerate(images)},
        }


class Processor:
    """See `families.family.Processor`; for one embodiment.

    Attributes:
        config: processor configuration of the checkpoint.
        tag: tag of the embodiment.
        embodiment: modalities of the embodiment.
        embodiment_id: row of the category-specific weights.
        statistics: statistics of the training data.
        codec: codec of state and action columns.
        images: image pipeline.
        tokenizer: tokenizer of the language tower.
        chunk_shape: steps and columns that the model denoises.

    """

    def __init__(
        self,
        config: ProcessorConfig,
        statistics: Statistics,
        tag: str,
        tokenizer: TextTokenizer,
        cell: int = 28,
        chunk_shape: tuple[int, int] = (0, 0),
    ) -> None:
        self.config = config
        self.tag = tag
        self.tokenizer = tokenizer
        self.embodiment = config.embodiment(tag)
        self.embodiment_id = config.embodiment_id(tag)
        self.statistics = statistics
        self.codec = StateActionCodec(config.codec(), self.embodiment, statistics)
        self.images = ImagePipeline.of(config, cell)
        self.chunk_shape = chunk_shape
        self._prompts: dict[tuple[str, tuple[int, ...]], list[int]] = {}

    @classmethod
    def load(
        cls,
        directory: Path,
        tag: str,
        tokenizer: TextTokenizer,
        cell: int = 28,
        chunk_shape: tuple[int, int] = (0, 0),
    ) -> "Processor":
        """Read processor_config.json, statistics.json and embodiment_id.json of a checkpoint.

        Args:
            directory: directory of the checkpoint.
            tag: tag of the embodiment.
            tokenizer: tokenizer of the language tower.
            cell: side of one image token in pixels (patch size times pixel shuffle).
            chunk_shape: steps and columns that the model denoises.

        """
        config = ProcessorConfig.read(directory)
        config.embodiment(tag)
        statistics = Statistics.read(Path(config.path("statistics.json")), tag)
        return cls(config, statistics, tag, tokenizer, cell, chunk_shape)

    @property
    def views(self) -> tuple[str, ...]:
        """Return the cameras in the model's order."""
        return self.embodiment.video.modality_keys

    def new_session(self) -> None:
        """Return None, as inferences do not depend on each other."""
        return

    def encode(self, observation: Observation, session: Any = None) -> dict[str, NDArray[Any]]:
        """See `families.family.Processor.encode`."""
        sample = Sample(observation.images, observation.state, observation.instruction)
        return collate([self.encode_sample(sample)], self.tokenizer.pad_id).inputs()

    def encode_sample(
        self, sample: Sample, rng: np.random.Generator | None = None
    ) -> EncodedSample:
        """Encode one sample, before padding.

        Args:
            sample: observation; views that the checkpoint does not use are ignored.
            rng: draws one crop position for all frames and views (training); None crops the
                centre (evaluation).

        Raises:
            ValueError: a view or group is missing, has the wrong number of frames, or is not
                finite; or one side of an image is more than 200 times as long as the other.

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

    def draw(self, seed: int) -> dict[str, NDArray[Any]]:
        """Return the noise that denoising starts from, float32 [1, H, A]."""
        # Imported here, so that the processor can be imported without torch.
        from groot_ros.layers.flow_matching import draw_noise

        return {"noise": draw_noise((1, *self.chunk_shape), seed).numpy()}

    def condition(self, prefix: Prefix, state: Groups) -> dict[str, NDArray[np.float32]]:
        """See `families.family.Processor.condition`; returns the fields of `Conditioning`."""
        action, known = self.codec.encode_prefix(prefix.values, state)
        steps, columns = len(prefix.start), np.flatnonzero(known)
        shape = (1, *self.chunk_shape)

        def spread(given: NDArray[np.floating], beyond: float) -> NDArray[np.float32]:
            """Expand [K] to [1, H, A]; other columns and later steps are `beyond`."""
            array = np.full(shape, beyond, dtype=np.float32)
            array[0, :steps, columns] = given
            return array

        clean = np.zeros(shape[:2], dtype=np.float32)
        clean[0, :steps] = prefix.clean
        padded = np.zeros(shape, dtype=np.float32)
        padded[0, :steps, : len(known)] = action
        return {
            "prefix": padded,
            "start": spread(prefix.start, 0.0),
            "weight": spread(prefix.weight, 0.0),
            "strength": spread(prefix.strength, 1.0),
            "clean": clean,
        }

    def draw_prefix(self, seed: int) -> dict[str, NDArray[np.float32]]:
        """Return the inputs of `condition` for small sinusoidal motion.

        The first steps are frozen and marked as clean; on the next ones guidance fades out.
        """
        total, width = self.chunk_shape
        used = sum(self.codec.action_widths.values())
        rng = np.random.default_rng(seed)
        prefix = np.zeros((1, total, width), dtype=np.float32)
        phase = rng.uniform(0.0, 2.0 * np.pi, used)
        prefix[0, :, :used] = 0.5 * np.sin(phase + 0.2 * np.arange(total)[:, None])
        start, weight = np.zeros_like(prefix), np.zeros_like(prefix)
        start[:, :_FROZEN, :used] = 1.0
        fading = np.linspace(1.0, 0.0, _GUIDED + 1, dtype=np.float32)[:-1]
        guided = slice(_FROZEN, min(_FROZEN + _GUIDED, total))
        weight[0, guided, :used] = fading[: guided.stop - guided.start, None]
        return {
            "prefix": prefix,
            "start": start,
            "weight": weight,
            "strength": 1.0 - start,
            "clean": start[..., 0].copy(),
        }

    def used(self, outputs: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        """Return the normalised actions [horizon, columns in use]."""
        columns = sum(self.codec.action_widths.values())
        return outputs["next_actions"][0, : self.codec.horizon, :columns]

    def decode(
        self,
        outputs: Mapping[str, NDArray[Any]],
        state: Groups,
        *,
        frozen_steps: int = 0,
        session: Any = None,
    ) -> dict[str, NDArray[np.float32]]:
        """See `families.family.Processor.decode`."""
        return self.codec.decode_action(outputs["next_actions"][0], state, frozen_steps)

    def example(
        self,
        sizes: Mapping[str, tuple[int, int]],
        instruction: str = "",
        rng: np.random.Generator | None = None,
    ) -> Observation:
        """See `families.family.Processor.example`."""
        frames = len(self.embodiment.video.delta_indices)
        steps = len(self.embodiment.state.delta_indices)
        state = {
            group: self.codec.rest(group, steps)
            if rng is None
            else self.codec.drawn(group, steps, rng)
            for group in self.codec.state_widths
        }
        images = {
            view: np.zeros((frames, *sizes[view], 3), dtype=np.uint8)
            if rng is None
            else _squares(rng, frames, sizes[view])
            for view in self.views
        }
        return Observation(0, images, state, instruction)

    def tokens(self, instruction: str, image_tokens: Sequence[int]) -> list[int]:
        """Return the token ids of the whole prompt; the ids of the last prompt are cached."""
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
        """Return (view, frame) pairs, frame by frame, views in order."""
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


def collate(samples: Sequence[EncodedSample], pad_id: int) -> Batch:
    """Stack samples into a batch, with token ids padded on the left.

    Raises:
        ValueError: some samples have actions and others have none.

    """
    length = max(len(sample.input_ids) for sample in samples)
    ids = np.full((len(samples), length), pad_id, dtype=np.int64)
    mask = np.zeros((len(samples), length), dtype=np.int64)
    for row, sample in enumerate(samples):
        ids[row, length - len(sample.input_ids) :] = sample.input_ids
        mask[row, length - len(sample.input_ids) :] = 1
    actions = [sample.action for sample in samples if sample.action is not None]
    masks = [sample.action_mask for sample in samples if sample.action_mask is not None]
    if len(actions) not in (0, len(samples)):
        raise ValueError("all samples of a batch must have actions, or none")
    return Batch(
        input_ids=ids,
        attention_mask=mask,
        images=[image for sample in samples for image in sample.images],
        state=np.stack([sample.state for sample in samples]),
        embodiment_id=np.array([sample.embodiment_id for sample in samples], dtype=np.int64),
        action=np.stack(actions) if actions else None,
        action_mask=np.stack(masks) if masks else None,
    )


#: Frozen steps of random committed motion, and the following steps over which guidance decays.
_FROZEN, _GUIDED = 2, 5
#: Squares per side of a random image; they give edges and flat areas, as in real scenes.
_SQUARES = 12


def _squares(rng: np.random.Generator, frames: int, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Draw images [T, H, W, 3] of coloured squares."""
    squares = rng.integers(0, 256, (frames, _SQUARES, _SQUARES, 3), dtype=np.uint8)
    rows, columns = (np.arange(side) * _SQUARES // side for side in size)
    return squares[:, rows][:, :, columns]
