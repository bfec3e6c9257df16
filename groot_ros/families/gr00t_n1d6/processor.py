# SPDX-License-Identifier: Apache-2.0
"""Processor of GR00T N1.6: observations to model inputs, and model outputs to actions."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from groot_ros.core import Groups, Observation
from groot_ros.families.gr00t.processor import PROMPT_START, Gr00tProcessor, image_text
from groot_ros.families.gr00t.samples import EncodedSample, collate
from groot_ros.families.gr00t_n1d6.image_pipeline import ImagePipeline
from groot_ros.families.gr00t_n1d6.processor_config import ProcessorConfig
from groot_ros.processing.state_action import StateActionCodec
from groot_ros.processing.statistics import Statistics
from groot_ros.processing.tokenizer import TextTokenizer


def formalise(instruction: str) -> str:
    """Return the instruction in lower case, with only word characters and white space (Unicode)."""
    return re.sub(r"[^\w\s]", "", instruction.lower())


def build_prompt(instruction: str, image_tokens: Sequence[int]) -> str:
    """Return the prompt: the instruction, then each image as a numbered run of image tokens.

    Args:
        instruction: text, after `formalise` if the checkpoint has `formalize_language`.
        image_tokens: number of tokens of each image, frame by frame, views in order.

    """
    return f"{PROMPT_START}{instruction}{image_text(image_tokens)}<|im_end|>\n"


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


class Processor(Gr00tProcessor):
    """See `families.family.Processor`; for one embodiment.

    Attributes:
        config: processor configuration of the checkpoint.
        tag: tag of the embodiment.
        embodiment: modalities of the embodiment.
        statistics: statistics of the training data.
        images: image pipeline.

    """

    codec: StateActionCodec

    def __init__(
        self,
        config: ProcessorConfig,
        statistics: Statistics,
        tag: str,
        tokenizer: TextTokenizer,
        cell: int = 28,
        chunk_shape: tuple[int, int] = (0, 0),
    ) -> None:
        super().__init__(tokenizer, chunk_shape)
        self.config = config
        self.tag = tag
        self.embodiment = config.embodiment(tag)
        self.embodiment_id = config.embodiment_id(tag)
        self.statistics = statistics
        self.codec = StateActionCodec(config.codec(), self.embodiment, statistics)
        self.images = ImagePipeline.of(config, cell)
        modalities = self.embodiment.video, self.embodiment.state
        frames, states = (len(modality.delta_indices) for modality in modalities)
        self.history = frames, states

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
        images = [self._image(view, frame, at) for view, frame in self.frames(sample.images)]
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
        outputs: Mapping[str, NDArray[Any]],
        state: Groups,
        *,
        frozen_steps: int = 0,
        session: Any = None,
    ) -> dict[str, NDArray[np.float32]]:
        """See `families.family.Processor.decode`."""
        return self.codec.decode_action(outputs["next_actions"][0], state, frozen_steps)

    def tokens(self, instruction: str, image_tokens: Sequence[int]) -> list[int]:
        """Return the token ids of the whole prompt."""
        text = formalise(instruction) if self.config.formalize_language else instruction
        return self.prompt_ids(build_prompt(text, image_tokens))

    def _image(
        self, view: str, frame: NDArray[np.uint8], at: tuple[float, float]
    ) -> NDArray[np.uint8]:
        try:
            return self.images(frame, at)
        except ValueError as error:
            raise ValueError(f"camera '{view}': {error}") from error
