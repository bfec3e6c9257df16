# SPDX-License-Identifier: Apache-2.0
"""Processor of GR00T N1.5: observations to model inputs, and model outputs to actions."""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from groot_ros.core import Groups, Observation
from groot_ros.families.gr00t.processor import PROMPT_START, Gr00tProcessor, image_text
from groot_ros.families.gr00t.samples import EncodedSample, collate
from groot_ros.families.gr00t_n1d5.codec import StateActionCodec
from groot_ros.families.gr00t_n1d5.images import ImagePreparation
from groot_ros.families.gr00t_n1d5.metadata import Layout
from groot_ros.processing.tokenizer import TextTokenizer

#: Instructions that replace an empty one.
_NO_INSTRUCTION = "Perform the default behavior."
_NO_LEROBOT_TASK = "Perform the task."


def build_prompt(text: str, images: int, tokens_per_image: int) -> str:
    """Return the prompt: each image as a numbered run of image tokens, then the text."""
    shown = image_text([tokens_per_image] * images)
    return f"{PROMPT_START}{shown}{text}<|im_end|>\n<|im_start|>assistant\n"


def prompt_text(instruction: str, layout: Layout, training: bool = False) -> str:
    """Return an instruction as the reference writes it into the prompt.

    The reference prints a one-element array (NVIDIA's inference) or list (LeRobot) with its
    brackets and quotes; NVIDIA's training uses the text itself.
    """
    if layout.lerobot:
        text = instruction or _NO_LEROBOT_TASK
        return str([re.sub(r"[^\w\s]", "", text.lower()) if layout.formalise else text])
    if not instruction:
        return _NO_INSTRUCTION
    return instruction if training else str(np.array([instruction]))


class Processor(Gr00tProcessor):
    """See `families.family.Processor`; for one embodiment.

    Attributes:
        layout: views, groups and statistics.
        images: image preparation.
        tile_tokens: image tokens of one tile.

    """

    codec: StateActionCodec

    def __init__(
        self,
        layout: Layout,
        tokenizer: TextTokenizer,
        *,
        tile_size: int,
        tile_tokens: int,
        max_state_dim: int,
        chunk_shape: tuple[int, int],
    ) -> None:
        super().__init__(tokenizer, chunk_shape)
        self.layout, self.embodiment_id = layout, layout.row
        self.codec = StateActionCodec(layout, chunk_shape[0], max_state_dim, chunk_shape[1])
        self.images = ImagePreparation(tile_size, layout.crop, layout.lerobot)
        self.tile_tokens = tile_tokens

    @property
    def views(self) -> tuple[str, ...]:
        """Return the cameras in the model's order."""
        return self.layout.views

    def encode(self, observation: Observation, session: Any = None) -> dict[str, NDArray[Any]]:
        """See `families.family.Processor.encode`; "tiles" are uint8 [views, 3, S, S]."""
        sample = self.encode_sample(observation.images, observation.state, observation.instruction)
        batch = collate([sample], self.tokenizer.pad_id)
        return {**batch.arrays(), "tiles": np.stack(batch.images)}

    def encode_sample(
        self,
        images: Mapping[str, NDArray[np.uint8]],
        state: Groups,
        instruction: str,
        action: Groups | None = None,
        rng: np.random.Generator | None = None,
    ) -> EncodedSample:
        """Encode one sample, before padding.

        Args:
            images: view -> uint8 RGB [1, H, W, 3]; views that the checkpoint does not use are
                ignored.
            state: group -> [1, D].
            instruction: text.
            action: group -> [T, D] absolute actions; None = inference.
            rng: draws one crop position for all views (training); None crops the centre.

        Raises:
            ValueError: a view or group is missing, has the wrong number of frames, or is not
                finite.

        """
        at = None if rng is None else (float(rng.random()), float(rng.random()))
        tiles = [self.images(frame, at) for _, frame in self.frames(images)]
        values, mask = (None, None) if action is None else self.codec.encode_action(action)
        return EncodedSample(
            input_ids=self.tokens(prompt_text(instruction, self.layout, action is not None)),
            images=tiles,
            state=self.codec.encode_state(state),
            embodiment_id=self.embodiment_id,
            action=values,
            action_mask=mask,
        )

    def tokens(self, text: str) -> list[int]:
        """Return the token ids of the whole prompt."""
        return self.prompt_ids(build_prompt(text, len(self.views), self.tile_tokens))

    def decode(
        self,
        outputs: Mapping[str, NDArray[Any]],
        state: Groups,
        *,
        frozen_steps: int = 0,
        session: Any = None,
    ) -> dict[str, NDArray[np.float32]]:
        """See `families.family.Processor.decode`; nothing is clamped, so frozen steps are exact."""
        return self.codec.decode_action(outputs["next_actions"][0])
