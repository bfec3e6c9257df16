"""The model as it is written, in eager PyTorch: slow, and the measure of all others."""

import time
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from groot_ros.models.gr00t_n1d6 import Gr00tN1d6
from groot_ros.processing import ModelInputs
from groot_ros.runtime.engine import EngineResult, PrefixInput
from groot_ros.runtime.placement import in_words
from groot_ros.runtime.tensors import TensorInputs, to_conditioning


class ReferenceEngine:
    """Engine "plain"; the model was loaded for one embodiment (row 0)."""

    name = "plain"

    def __init__(self, model: Gr00tN1d6) -> None:
        self._model: Any = model.eval()
        self._device = model.device
        self.device = in_words(model.device)

    @property
    def memory_bytes(self) -> int:
        """Weights; on a GPU everything that torch has allocated there."""
        if self._model is None:
            return 0
        if self._device.type == "cuda":
            return torch.cuda.memory_allocated(self._device)
        return sum(p.nbytes for p in self._model.parameters())

    def prepare(self, inputs: ModelInputs, steps: int | None = None) -> None:
        """One run of one step, so that the first real one finds everything allocated."""
        config = self._model.config
        shape = (len(inputs.input_ids), config.action_horizon, config.max_action_dim)
        self.run(inputs, np.zeros(shape, dtype=np.float32), 1)

    @torch.inference_mode()
    def run(
        self,
        inputs: ModelInputs,
        noise: NDArray[np.float32],
        steps: int,
        prefix: PrefixInput | None = None,
    ) -> EngineResult:
        """See `Engine.run`; raises RuntimeError after `close`."""
        if self._model is None:
            raise RuntimeError("the engine is closed")
        started = time.perf_counter()
        tensors = TensorInputs.of(inputs, self._device)
        images = [image.to(self._model.action_head.dtype) for image in tensors.images]
        backbone = self._model.backbone(tensors.input_ids, tensors.attention_mask, images)
        self._wait()
        between = time.perf_counter()
        head = self._model.action_head
        embodiment = torch.zeros_like(tensors.embodiment)
        context = head.context(backbone, tensors.state, embodiment)
        given = None if prefix is None else to_conditioning(prefix, self._device)
        actions = head.denoise(context, torch.from_numpy(noise).to(self._device), steps, given)
        result = actions.cpu().numpy()
        done = time.perf_counter()
        return EngineResult(result, between - started, done - between)

    def close(self) -> None:
        """Drop the weights."""
        self._model = None
        if self._device.type == "cuda":
            torch.cuda.empty_cache()

    def _wait(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
