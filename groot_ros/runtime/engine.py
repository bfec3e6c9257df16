"""What every way of running the model offers."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from groot_ros.processing import ModelInputs


@dataclass(frozen=True)
class PrefixInput:
    """Committed motion in the model's own terms; see `models.gr00t_n1d6.Conditioning`.

    Attributes:
        prefix: float32 [B, H, A], normalised.
        start, weight, strength: float32 [B, H, A].
        clean: float32 [B, H].

    """

    prefix: NDArray[np.float32]
    start: NDArray[np.float32]
    weight: NDArray[np.float32]
    strength: NDArray[np.float32]
    clean: NDArray[np.float32]


@dataclass(frozen=True)
class EngineResult:
    """Normalised actions, float32 [B, H, A], and the seconds that the two stages took."""

    actions: NDArray[np.float32]
    backbone_seconds: float
    head_seconds: float


class Engine(Protocol):
    """Runs one checkpoint for one embodiment.

    Attributes:
        name: as in `load_policy(engine=...)` and in every chunk.
        device: in words, such as "cpu" or "cuda:0 (name of the GPU)".

    """

    name: str
    device: str

    @property
    def memory_bytes(self) -> int:
        """Memory held on the device."""

    def prepare(self, inputs: ModelInputs, steps: int | None = None) -> None:
        """Allocate and warm up for inputs of this shape; later shapes still work.

        Args:
            inputs: like those to come.
            steps: denoising steps to come, the checkpoint's own number if None.

        """

    def run(
        self,
        inputs: ModelInputs,
        noise: NDArray[np.float32],
        steps: int,
        prefix: PrefixInput | None = None,
    ) -> EngineResult:
        """Denoise `noise` [B, H, A] in `steps` steps."""

    def close(self) -> None:
        """Give the device's memory back; the engine cannot run any more."""
