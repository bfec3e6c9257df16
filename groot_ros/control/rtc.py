"""Real-time chunking: how strongly each step of a new chunk is held to committed motion.

In steps of the chunk: `frozen` of them will have been executed when the chunk arrives (the
delay d), those up to `overlap` (H - s) are likely to be, and the rest is free.
"""

from dataclasses import dataclass

import numpy as np

from groot_ros.control.curve import Array
from groot_ros.core import RtcMode

#: How fast the velocity returns beyond the frozen steps; GR00T's own figure for native chunking.
_RAMP_RATE = 6.0


@dataclass(frozen=True)
class Schedule:
    """The figures of a `Prefix`, float64 [K] each."""

    start: Array
    weight: Array
    strength: Array
    clean: Array


def guidance_weights(steps: int, frozen: int, overlap: int) -> Array:
    """Soft mask W, [steps]: 1 while frozen, a smooth step down until `overlap`, then 0.

    Kevin Black et al. (Real-Time Execution of Action Chunking Flow Policies, 2025) let c be the
    share of the overlap that is left and take c (e^c - 1) / (e - 1), which drops by a third at
    once. Where the network does not smooth that out it is a corner inside the chunk, beyond the
    reach of the executor's blend: `benchmarks.continuity` has three times the acceleration of
    c^2 (3 - 2 c), used here.
    """
    left = np.clip((overlap - np.arange(steps)) / (overlap - frozen + 1), 0.0, 1.0)
    return left**2 * (3.0 - 2.0 * left)


def ramp(steps: int, frozen: int, overlap: int) -> Array:
    """Factor on the velocity, [steps]: 0 while frozen, rising until `overlap`, then 1.

    The rise is (1 - e^-rt) / (1 - e^-r), as in NVIDIA's GR00T.
    """
    t = np.clip((np.arange(steps) - frozen + 1) / (overlap - frozen + 1), 0.0, 1.0)
    return np.expm1(-_RAMP_RATE * t) / np.expm1(-_RAMP_RATE)


def schedule(mode: RtcMode, steps: int, frozen: int, overlap: int) -> Schedule:
    """How `steps` known steps condition a chunk; 0 <= frozen <= overlap <= steps.

    guided: the prediction is pulled towards the prefix at every denoising step.
    native: sampling starts from the prefix, the velocity of frozen steps is 0 and returns.
    trained: frozen steps are shown to the network as finished. Only for a checkpoint that was
        trained with action prefixes; nothing in a GR00T checkpoint says so, hence no parameter
        of a node asks for it.
    """
    zeros, ones = np.zeros(steps), np.ones(steps)
    held = (np.arange(steps) < frozen).astype(np.float64)
    overlapping = (np.arange(steps) < overlap).astype(np.float64)
    if mode == RtcMode.GUIDED:
        return Schedule(zeros, guidance_weights(steps, frozen, overlap), ones, zeros)
    if mode == RtcMode.NATIVE:
        return Schedule(overlapping, zeros, ramp(steps, frozen, overlap), zeros)
    if mode == RtcMode.TRAINED:
        return Schedule(held, zeros, 1.0 - held, held)
    return Schedule(zeros, zeros, ones, zeros)
