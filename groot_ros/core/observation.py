# SPDX-License-Identifier: Apache-2.0
"""Input of the policy: images and state at one instant, and the instruction."""

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from groot_ros.core.invariants import frozen_float_array, require
from groot_ros.core.prompt import Pictures

#: Characters of an instruction; a limit because each token adds to the cost of every chunk.
MAX_INSTRUCTION_LENGTH = 2000
#: Categories of characters that are drawn on other characters or not at all, such as U+200B.
_INVISIBLE_CATEGORIES = {"Cf", "Mn", "Me"}
#: Letters and symbols without a glyph: fillers of Hangul, the blank of Braille.
_FILLERS = set("\u115f\u1160\u2800\u3164\uffa0")

#: State or actions by group, [T, D] each.
Groups = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class StampedInput:
    """Name and stamp (ns) of one frame or joint state that is part of an observation."""

    name: str
    stamp_ns: int


@dataclass(frozen=True)
class Observation:
    """Images, state and instruction at t_obs.

    Attributes:
        stamp_ns: t_obs, the stamp of the oldest image at delta 0.
        images: view (video modality key of the checkpoint) -> uint8 RGB [T, H, W, 3], oldest
            frame first. Views may differ in size.
        state: state modality group -> float64 [T, D]. rad and m where a robot contract maps
            the units, else the checkpoint's own units.
        instruction: the task, as text.
        inputs: every frame and joint state used, so that the observation can be rebuilt offline.
        labels: view -> object of each pixel [T, H, W], 0 = background; empty unless the policy
            needs them.
        pictures: pictures of the placeholders in `instruction`.
        instruction_id: number of the instruction; equal numbers are the same task.

    """

    stamp_ns: int
    images: Mapping[str, NDArray[np.uint8]]
    state: Mapping[str, NDArray[np.float64]]
    instruction: str
    inputs: tuple[StampedInput, ...] = field(default=())
    labels: Mapping[str, NDArray[np.integer]] = field(default_factory=dict)
    pictures: Pictures = field(default_factory=dict)
    instruction_id: int = 0

    def __post_init__(self) -> None:
        for view, frames in self.images.items():
            require(
                frames.dtype == np.uint8 and frames.ndim == 4 and frames.shape[3] == 3,
                "bad_image",
                f"image '{view}' must be uint8 [T, H, W, 3], "
                f"not {frames.dtype} {list(frames.shape)}",
            )
            require(frames.size > 0, "bad_image", f"image '{view}' is empty: {list(frames.shape)}")
        for view, labels in self.labels.items():
            size = self.images[view].shape[:3] if view in self.images else ()
            require(
                labels.dtype.kind in "iu" and labels.shape == size,
                "bad_labels",
                f"labels of '{view}' must be whole numbers {list(size)} as its image, not "
                f"{labels.dtype} {list(labels.shape)}",
            )
        state = {}
        for group, values in self.state.items():
            state[group] = frozen_float_array(values, f"state '{group}'")
            require(
                state[group].ndim == 2,
                "bad_state",
                f"state '{group}' must be [T, D], not {list(state[group].shape)}",
            )
        object.__setattr__(self, "state", state)


def is_blank(text: str) -> bool:
    """Return whether nothing of the text is visible; such an instruction is an empty one."""
    return all(
        letter.isspace()
        or letter in _FILLERS
        or unicodedata.category(letter) in _INVISIBLE_CATEGORIES
        for letter in text
    )


def instruction_problem(text: str) -> str:
    """Return why the text cannot be used as an instruction, or an empty string."""
    if len(text) > MAX_INSTRUCTION_LENGTH:
        return f"the instruction has {len(text)} characters, at most {MAX_INSTRUCTION_LENGTH}"
    surrogate = next((i for i, letter in enumerate(text) if "\ud800" <= letter <= "\udfff"), None)
    if surrogate is not None:
        return (
            f"the instruction is not valid text: its character {surrogate} is half of a "
            f"surrogate pair (U+{ord(text[surrogate]):04X})"
        )
    control = next((c for c in text.strip() if unicodedata.category(c) == "Cc"), "")
    if control:
        return f"the instruction contains the control character {control!r}; use one plain line"
    return ""
