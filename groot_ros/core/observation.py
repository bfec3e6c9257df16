"""What the policy sees: images and state at one instant, and the instruction."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from groot_ros.core.invariants import frozen_float_array, require


@dataclass(frozen=True)
class StampedInput:
    """One frame or state that went into an observation, by name and stamp (ns)."""

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
        instruction: what to do, in words.
        inputs: every frame and state used, so that the observation can be rebuilt offline.

    """

    stamp_ns: int
    images: Mapping[str, NDArray[np.uint8]]
    state: Mapping[str, NDArray[np.float64]]
    instruction: str
    inputs: tuple[StampedInput, ...] = field(default=())

    def __post_init__(self) -> None:
        for view, frames in self.images.items():
            require(
                frames.dtype == np.uint8 and frames.ndim == 4 and frames.shape[3] == 3,
                "bad_image",
                f"image '{view}' must be uint8 [T, H, W, 3], "
                f"not {frames.dtype} {list(frames.shape)}",
            )
            require(frames.size > 0, "bad_image", f"image '{view}' is empty: {list(frames.shape)}")
        state = {}
        for group, values in self.state.items():
            state[group] = frozen_float_array(values, f"state '{group}'")
            require(
                state[group].ndim == 2,
                "bad_state",
                f"state '{group}' must be [T, D], not {list(state[group].shape)}",
            )
        object.__setattr__(self, "state", state)
