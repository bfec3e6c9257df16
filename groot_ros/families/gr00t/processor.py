# SPDX-License-Identifier: Apache-2.0
"""Processor of the GR00T families: prompts, frames, noise and committed motion."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from groot_ros.core import Groups, Observation, Prefix
from groot_ros.processing.tokenizer import IMAGE_END, IMAGE_START, IMAGE_TOKEN, TextTokenizer

#: System part of every prompt, and the beginning of the user's.
PROMPT_START = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n"
#: Frozen steps of random committed motion, and the following steps over which guidance decays.
_FROZEN, _GUIDED = 2, 5
#: Squares per side of a random image; they give edges and flat areas, as in real scenes.
_SQUARES = 12


def image_text(tokens: Sequence[int]) -> str:
    """Return each image as a numbered run of image tokens; `tokens` has their numbers."""
    return "".join(
        f"<image {number}>{IMAGE_START}{IMAGE_TOKEN * count}{IMAGE_END}"
        for number, count in enumerate(tokens, start=1)
    )


class Codec(Protocol):
    """Codec of a family; `processing.group_codec.GroupCodec` has most of it."""

    @property
    def state_widths(self) -> Mapping[str, int]:
        """Return group -> columns of the state."""

    @property
    def horizon(self) -> int:
        """Return the steps of an action chunk."""

    @property
    def used_columns(self) -> int:
        """Return the number of action columns that are decoded."""

    def encode_prefix(
        self, action: Groups, state: Groups | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """See `GroupCodec.encode_prefix`."""

    def rest(self, group: str, steps: int) -> NDArray[np.float64]:
        """Return a state [steps, D] in the middle of the training data."""

    def drawn(self, group: str, steps: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """Draw a constant state [steps, D] within the training data."""


class Gr00tProcessor:
    """Common part of the families' processors; see `families.family.Processor`.

    Attributes:
        codec: codec of state and action columns.
        tokenizer: tokenizer of the language tower.
        chunk_shape: steps and columns that the model denoises.
        embodiment_id: row of the category-specific weights.
        history: number of frames per view, and of states.

    """

    codec: Codec
    embodiment_id: int

    def __init__(self, tokenizer: TextTokenizer, chunk_shape: tuple[int, int]) -> None:
        self.tokenizer = tokenizer
        self.chunk_shape = chunk_shape
        self.history = 1, 1
        self._prompts: dict[str, list[int]] = {}

    @property
    def views(self) -> tuple[str, ...]:
        """Return the cameras in the model's order."""
        raise NotImplementedError

    def new_session(self) -> None:
        """Return None, as inferences do not depend on each other."""
        return

    def prompt_ids(self, prompt: str) -> list[int]:
        """Return the token ids of a whole prompt; the ids of the last prompt are cached."""
        if prompt not in self._prompts:
            self._prompts = {prompt: self.tokenizer.encode(prompt)}
        return self._prompts[prompt]

    def frames(
        self, images: Mapping[str, NDArray[np.uint8]]
    ) -> list[tuple[str, NDArray[np.uint8]]]:
        """Return (view, frame) pairs, frame by frame, views in order.

        Raises:
            ValueError: a view is missing or has the wrong number of frames.

        """
        count = self.history[0]
        for view in self.views:
            if view not in images:
                given = ", ".join(images) or "none"
                raise ValueError(f"camera '{view}' is missing; given: {given}")
            if len(images[view]) != count:
                raise ValueError(
                    f"camera '{view}' has {len(images[view])} frames, the checkpoint takes {count}"
                )
        return [(view, images[view][t]) for t in range(count) for view in self.views]

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
        return outputs["next_actions"][0, : self.codec.horizon, : self.codec.used_columns]

    def example(
        self,
        sizes: Mapping[str, tuple[int, int]],
        instruction: str = "",
        rng: np.random.Generator | None = None,
    ) -> Observation:
        """See `families.family.Processor.example`."""
        frames, steps = self.history
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


def _squares(rng: np.random.Generator, frames: int, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Draw images [T, H, W, 3] of coloured squares."""
    squares = rng.integers(0, 256, (frames, _SQUARES, _SQUARES, 3), dtype=np.uint8)
    rows, columns = (np.arange(side) * _SQUARES // side for side in size)
    return squares[:, rows][:, :, columns]
