"""What every engine offers, and what can go wrong with one."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from numpy.typing import NDArray

from groot_ros.core.program import ModelInputs


@dataclass(frozen=True)
class EngineResult:
    """Results of a program by name, and the seconds that each stage took."""

    outputs: Mapping[str, NDArray[Any]]
    seconds: Mapping[str, float]


class Engine(Protocol):
    """Runs one checkpoint for one embodiment.

    Attributes:
        name: as in `load_policy(engine=...)` and in every chunk.
        device: for people, such as "cpu" or "cuda:0 (name of the GPU)".

    """

    name: str
    device: str

    @property
    def memory_bytes(self) -> int:
        """Memory held on the device."""

    def prepare(self, inputs: ModelInputs, steps: int) -> None:
        """Allocate and warm up for inputs of this shape; later shapes still work.

        Args:
            inputs: like those to come.
            steps: denoising steps to come.

        """

    def run(self, inputs: ModelInputs, steps: int) -> EngineResult:
        """Run one observation with this many denoising steps; RuntimeError after `close`."""

    def close(self) -> None:
        """Release the device's memory; the engine cannot run any more."""


class EngineFilesError(ValueError):
    """Engine files cannot be used. The message is one line: what, where, how to fix it."""


class StepsNotStoredError(EngineFilesError):
    """No reference outputs are stored for this number of denoising steps."""


class TensorRtError(EngineFilesError):
    """TensorRT cannot do what was requested."""


class EngineFailedError(ValueError):
    """An engine failed while it was loaded or validated, for lack of memory for example."""


def one_line(error: Exception) -> str:
    """Return the message of an exception on one line; torch's spread over several."""
    return " ".join(str(error).split())
