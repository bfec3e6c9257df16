"""What of the committed motion a new chunk continues."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from groot_ros.core.chunk import RtcMode


@dataclass(frozen=True)
class ChunkOrigin:
    """Of which observation and of which run a chunk is about to be.

    Attributes:
        t_obs_ns: stamp of its observation.
        session, episode: of the policy, as the chunk will say.
        new_instruction: whether the chunk before it followed another instruction.

    """

    t_obs_ns: int
    session: str
    episode: int
    new_instruction: bool


@dataclass(frozen=True)
class Prefix:
    """Committed motion that a new chunk continues.

    Attributes:
        values: action group -> [K, D] absolute targets in the units of the chunk; row i is due
            when step i of the new chunk is. K may be shorter than the horizon. Groups that
            nobody committed to may be missing.
        start: [K], 1 where sampling starts from the prefix instead of noise.
        weight: [K], pull of the prediction towards the prefix.
        strength: [K], factor on the velocity; 0 freezes a step at its start value.
        clean: [K], 1 where a step is shown to the network as finished.
        mode: written into the chunk.
        frozen_steps: steps that must come out as they are committed; written into the chunk.
        id: of the committed timeline, written into the chunk.

    """

    values: Mapping[str, NDArray[np.float64]]
    start: NDArray[np.floating]
    weight: NDArray[np.floating]
    strength: NDArray[np.floating]
    clean: NDArray[np.floating]
    mode: RtcMode = RtcMode.NATIVE
    frozen_steps: int = 0
    id: int = 0
