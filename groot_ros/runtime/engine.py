# SPDX-License-Identifier: Apache-2.0
"""The interface of engines, and their exceptions."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from numpy.typing import NDArray

from groot_ros.core.program import ModelInputs


@dataclass(frozen=True)
class EngineResult:
    """Results of a program by name, and the time of each stage, s."""

    outputs: Mapping[str, NDArray[Any]]
    seconds: Mapping[str, float]


class Engine(Protocol):
    """Runs one checkpoint for one embodiment.

    Attributes:
        name: value of the parameter `engine`; also written into every chunk.
        device: description such as "cpu" or "cuda:0 (name of the GPU)".

    """

    name: str
    device: str

    @property
    def memory_bytes(self) -> int:
        """Return the memory held on the device."""

    def prepare(self, inputs: ModelInputs, steps: int) -> None:
        """Allocate memory and warm up for inputs of this shape.

        Inputs of other shapes can still be run afterwards.

        Args:
            inputs: example with the expected shapes.
            steps: expected number of denoising steps.

        """

    def run(self, inputs: ModelInputs, steps: int) -> EngineResult:
        """Run one observation with this number of denoising steps.

        Raises:
            RuntimeError: the engine is closed.

        """

    def close(self) -> None:
        """Release the device's memory; the engine cannot run afterwards."""


class EngineFilesError(ValueError):
    """Engine files cannot be used. The one-line message says what, where and how to fix it."""


class StepsNotStoredError(EngineFilesError):
    """No reference outputs are stored for this number of denoising steps."""


class TensorRtError(EngineFilesError):
    """TensorRT cannot do what was requested."""


class EngineFailedError(ValueError):
    """An engine failed while it was loaded or validated, for example because memory ran out."""


def one_line(error: Exception) -> str:
    """Return the message of an exception on one line; torch's messages have several."""
    return " ".join(str(error).split())
