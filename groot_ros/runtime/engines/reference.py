# SPDX-License-Identifier: Apache-2.0
"""Engine "reference": the unmodified model in eager PyTorch; other engines are compared with it."""

import time

import torch

from groot_ros.core.program import ModelInputs, ReferenceModel
from groot_ros.runtime.device import describe_device
from groot_ros.runtime.engine import EngineResult
from groot_ros.runtime.engines import EngineKind, LoadRequest


class ReferenceEngine:
    """Engine that runs a family's reference model."""

    name = "reference"

    def __init__(self, model: ReferenceModel) -> None:
        self._model: ReferenceModel | None = model
        self._device = model.device
        self.device = describe_device(model.device)

    @property
    def model(self) -> ReferenceModel:
        """Return the model; raises RuntimeError after `close`."""
        if self._model is None:
            raise RuntimeError("the engine is closed")
        return self._model

    @property
    def memory_bytes(self) -> int:
        """Return the size of the weights; on a GPU all memory that torch has allocated there."""
        if self._model is None:
            return 0
        if self._device.type == "cuda":
            return torch.cuda.memory_allocated(self._device)
        return self._model.nbytes

    def prepare(self, inputs: ModelInputs, steps: int) -> None:
        """Run a single denoising step, so that memory is allocated before the first inference."""
        self.run(inputs, 1)

    @torch.inference_mode()
    def run(self, inputs: ModelInputs, steps: int) -> EngineResult:
        """Run the reference model; see `Engine.run`."""
        seconds: dict[str, float] = {}
        started = time.perf_counter()

        def mark(stage: str) -> None:
            nonlocal started
            if self._device.type == "cuda":
                torch.cuda.synchronize(self._device)
            now = time.perf_counter()
            seconds[stage], started = now - started, now

        results = self.model.run(inputs, steps, mark)
        return EngineResult({n: t.float().cpu().numpy() for n, t in results.items()}, seconds)

    def close(self) -> None:
        """Release the weights."""
        self._model = None
        if self._device.type == "cuda":
            torch.cuda.empty_cache()


def load(request: LoadRequest) -> ReferenceEngine:
    """Load the reference model."""
    return ReferenceEngine(
        request.source.load_reference(
            device=request.device, dtype=request.dtype, progress=request.progress
        )
    )


ENGINE = EngineKind("reference", rank=None, needs_files=False, load=load)
