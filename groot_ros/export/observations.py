"""Observations to prove and calibrate with, where nobody gave any."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from groot_ros.core import Observation
from groot_ros.policy import Policy
from groot_ros.runtime.profile import IMAGE_SIZE

Size = tuple[int, int]

#: Of different lengths, so that more than one sequence length is proven.
_INSTRUCTIONS = ("pick up the cube", "put the red block into the box on the left", "stop")
#: Squares a side of a drawn image: edges and flat parts, as in a scene.
_SQUARES = 12


def synthetic(
    policy: Policy, count: int, *, size: Size | Mapping[str, Size] = IMAGE_SIZE, seed: int = 0
) -> list[Observation]:
    """Observations with states within the checkpoint's statistics and images of squares.

    They prove that an engine computes the same numbers; they are no scenes, so they say nothing
    of how well a quantised engine acts.

    Args:
        policy: gives views, history, groups and units.
        count: how many.
        size: (height, width) of the images, of all or view -> of its own.
        seed: of everything drawn.

    """
    rng = np.random.default_rng(seed)
    sizes = size if isinstance(size, Mapping) else dict.fromkeys(policy.views, size)
    return [_one(policy, rng, _INSTRUCTIONS[i % len(_INSTRUCTIONS)], sizes) for i in range(count)]


def in_words(count: int, source: str) -> str:
    """Such as "1 observation (bags/run1)"."""
    return f"{count} observation{'' if count == 1 else 's'} ({source})"


def _one(
    policy: Policy, rng: np.random.Generator, instruction: str, sizes: Mapping[str, Size]
) -> Observation:
    frames, steps = (len(policy.history[name]) for name in ("video", "state"))
    state = {}
    for group in policy.state_groups:
        values = policy.processor.codec.drawn(group, steps, rng)
        known = policy.robot is not None and group in policy.robot.groups
        state[group] = policy.robot.to_si(group, values) if known and policy.robot else values
    images = {view: _scene(rng, frames, sizes[view]) for view in policy.views}
    return Observation(0, images, state, instruction)


def _scene(rng: np.random.Generator, frames: int, size: Size) -> NDArray[np.uint8]:
    """[T, H, W, 3]"""
    squares = rng.integers(0, 256, (frames, _SQUARES, _SQUARES, 3), dtype=np.uint8)
    rows, columns = (np.arange(side) * _SQUARES // side for side in size)
    return squares[:, rows][:, :, columns]
