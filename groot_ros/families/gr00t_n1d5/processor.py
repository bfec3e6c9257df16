# SPDX-License-Identifier: Apache-2.0
"""Processor of GR00T N1.5: observations to model inputs, and model outputs to actions."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from groot_ros.core import Groups, Observation, Prefix
from groot_ros.families.gr00t_n1d5.codec import StateActionCodec
from groot_ros.families.gr00t_n1d5.images import ImagePreparation
from groot_ros.families.gr00t_n1d5.metadata import Layout
from groot_ros.processing.tokenizer import IMAGE_END, IMAGE_START, IMAGE_TOKEN, TextTokenizer

_SYSTEM = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
#: Instructions that replace an empty one.
_NO_INSTRUCTION = "Perform the default behavior."
_NO_LEROBOT_TASK = "Perform the task."
#: Frozen steps of random committed motion, and the following steps over which guidance decays.
_FROZEN, _GUIDED = 2, 5
#: Squares per side of a random image; they give edges and flat areas, as in real scenes.
_SQUARES = 12


def build_prompt(text: str, images: int, tokens_per_image: int) -> str:
    """Return the prompt: each image as a numbered run of image tokens, then the text."""
    shown = "".join(
        f"<image {number}>{IMAGE_START}{IMAGE_TOKEN * tokens_per_image}{IMAGE_END}"
        for number in range(1, images + 1)
    )
    return f"{_SYSTEM}<|im_start|>user\n{shown}{text}<|im_end|>\n<|im_start|>assistant\n"


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


@dataclass(frozen=True)
class EncodedSample:
    """Model inputs of one sample, before padding to a batch.

    Attributes:
        input_ids: token ids.
        tiles: uint8 [n, 3, S, S], views in order.
        state: float32 [T, max_state_dim].
        embodiment_id: row of the category-specific weights.
        action, action_mask: [horizon, max_action_dim], None at inference.

    """

    input_ids: list[int]
    tiles: NDArray[np.uint8]
    state: NDArray[np.float32]
    embodiment_id: int
    action: NDArray[np.float32] | None = None
    action_mask: NDArray[np.bool_] | None = None


class Processor:
    """See `families.family.Processor`; for one embodiment.

    Attributes:
        layout: views, groups and statistics.
        codec: codec of state and action columns.
        images: image preparation.
        tokenizer: tokenizer of the language tower.
        tile_tokens: image tokens of one tile.
        chunk_shape: steps and columns that the model denoises.

    """

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
        self.layout = layout
        self.tokenizer = tokenizer
        self.codec = StateActionCodec(layout, chunk_shape[0], max_state_dim, chunk_shape[1])
        self.images = ImagePreparation(tile_size, layout.crop, layout.lerobot)
        self.tile_tokens = tile_tokens
        self.chunk_shape = chunk_shape
        self._prompts: dict[tuple[str, int], list[int]] = {}

    @property
    def views(self) -> tuple[str, ...]:
        """Return the cameras in the model's order."""
        return self.layout.views

    def new_session(self) -> None:
        """Return None, as inferences do not depend on each other."""
        return

    def encode(self, observation: Observation, session: Any = None) -> dict[str, NDArray[Any]]:
        """See `families.family.Processor.encode`."""
        sample = self.encode_sample(observation.images, observation.state, observation.instruction)
        return collate([sample], self.tokenizer.pad_id)

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
        tiles = np.stack([self.images(frame, at) for frame in self._frames(images)])
        values, mask = (None, None) if action is None else self.codec.encode_action(action)
        return EncodedSample(
            input_ids=self.tokens(prompt_text(instruction, self.layout, action is not None)),
            tiles=tiles,
            state=self.codec.encode_state(state),
            embodiment_id=self.layout.row,
            action=values,
            action_mask=mask,
        )

    def tokens(self, text: str) -> list[int]:
        """Return the token ids of the whole prompt; the ids of the last prompt are cached."""
        key = (text, len(self.views))
        if key not in self._prompts:
            prompt = build_prompt(text, len(self.views), self.tile_tokens)
            self._prompts = {key: self.tokenizer.encode(prompt)}
        return self._prompts[key]

    def draw(self, seed: int) -> dict[str, NDArray[Any]]:
        """Return the noise that denoising starts from, float32 [1, H, A]."""
        # Imported here, so that the processor can be imported without torch.
        from groot_ros.layers.flow_matching import draw_noise

        return {"noise": draw_noise((1, *self.chunk_shape), seed).numpy()}

    def condition(self, prefix: Prefix, state: Groups) -> dict[str, NDArray[np.float32]]:
        """See `families.family.Processor.condition`; returns the fields of `Conditioning`."""
        action, known = self.codec.encode_prefix(prefix.values)
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
        used = self.codec.used_columns
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
        return outputs["next_actions"][0, :, : self.codec.used_columns]

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

    def example(
        self,
        sizes: Mapping[str, tuple[int, int]],
        instruction: str = "",
        rng: np.random.Generator | None = None,
    ) -> Observation:
        """See `families.family.Processor.example`."""
        state = {
            group.name: self.codec.rest(group, 1)
            if rng is None
            else self.codec.drawn(group, 1, rng)
            for group in self.codec.state
        }
        images = {
            view: np.zeros((1, *sizes[view], 3), dtype=np.uint8)
            if rng is None
            else _squares(rng, sizes[view])
            for view in self.views
        }
        return Observation(0, images, state, instruction)

    def _frames(self, images: Mapping[str, NDArray[np.uint8]]) -> list[NDArray[np.uint8]]:
        for view in self.views:
            if view not in images:
                given = ", ".join(images) or "none"
                raise ValueError(f"camera '{view}' is missing; given: {given}")
            if len(images[view]) != 1:
                raise ValueError(
                    f"camera '{view}' has {len(images[view])} frames, the checkpoint takes 1"
                )
        return [images[view][0] for view in self.views]


def collate(samples: Sequence[EncodedSample], pad_id: int) -> dict[str, NDArray[Any]]:
    """Stack samples into a batch, with token ids padded on the left.

    Returns:
        input_ids, attention_mask: int64 [B, S]; tiles: uint8 [n, 3, S, S], sample by sample;
        state: float32 [B, T, max_state_dim]; embodiment_id: int64 [B]; with actions also action
        and action_mask, [B, horizon, max_action_dim].

    Raises:
        ValueError: some samples have actions and others have none.

    """
    length = max(len(sample.input_ids) for sample in samples)
    ids = np.full((len(samples), length), pad_id, dtype=np.int64)
    mask = np.zeros((len(samples), length), dtype=np.int64)
    for row, sample in enumerate(samples):
        ids[row, length - len(sample.input_ids) :] = sample.input_ids
        mask[row, length - len(sample.input_ids) :] = 1
    batch: dict[str, NDArray[Any]] = {
        "input_ids": ids,
        "attention_mask": mask,
        "tiles": np.concatenate([sample.tiles for sample in samples]),
        "state": np.stack([sample.state for sample in samples]),
        "embodiment_id": np.array([sample.embodiment_id for sample in samples], dtype=np.int64),
    }
    actions = [sample.action for sample in samples if sample.action is not None]
    masks = [sample.action_mask for sample in samples if sample.action_mask is not None]
    if len(actions) not in (0, len(samples)):
        raise ValueError("all samples of a batch must have actions, or none")
    if actions:
        batch |= {"action": np.stack(actions), "action_mask": np.stack(masks)}
    return batch


def _squares(rng: np.random.Generator, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Draw one image [1, H, W, 3] of coloured squares."""
    squares = rng.integers(0, 256, (1, _SQUARES, _SQUARES, 3), dtype=np.uint8)
    rows, columns = (np.arange(side) * _SQUARES // side for side in size)
    return squares[:, rows][:, :, columns]
