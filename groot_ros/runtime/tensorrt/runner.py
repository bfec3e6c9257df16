"""Stages from engine files, the others from PyTorch."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from groot_ros.runtime.contract import stage_specs
from groot_ros.runtime.gr00t_n1d6 import StagedModel, StageRunner, Stages
from groot_ros.runtime.names import STAGES
from groot_ros.runtime.tensorrt.buffers import Buffers
from groot_ros.runtime.tensorrt.session import Session
from groot_ros.runtime.tensorrt.stage import TensorRtStage


class TensorRtRunner(StageRunner):
    """Runs on the current stream, which must not be the default one.

    Buffers are shared by name: what one engine writes, the next reads where it lies.
    """

    def __init__(self, plans: Mapping[str, Path], fast: StagedModel) -> None:
        """Load the engine files.

        Args:
            plans: stage to file; the largest is loaded first, while memory is whole.
            fast: host part, and the modules of the stages that have no file.

        Raises:
            TensorRtError: TensorRT cannot run here, or a file does not fit.
            ValueError: a stage has neither file nor module.

        """
        missing = [name for name in STAGES if name not in plans and name not in fast.modules]
        if missing:
            raise ValueError(f"stage '{missing[0]}' has neither an engine file nor weights")
        self._fast: StagedModel | None = fast
        self._buffers = Buffers(fast.host.device)
        specs = stage_specs(fast.host.config)
        by_size = sorted(plans, key=lambda name: plans[name].stat().st_size, reverse=True)
        self._sessions: dict[str, Session] = {}
        with torch.cuda.device(fast.host.device):
            for name in by_size:
                self._sessions[name] = Session(plans[name], specs[name], fast.host.dtype)
        for session in self._sessions.values():
            session.reserve(self._buffers)
        for session in self._sessions.values():
            session.bind(self._buffers)
        super().__init__(Stages(**{name: self._stage(name, fast) for name in STAGES}))

    @property
    def memory_bytes(self) -> int:
        """Engines, buffers, and the weights of the stages in PyTorch."""
        if self._fast is None:
            return 0
        engines = sum(session.nbytes for session in self._sessions.values())
        return engines + self._buffers.nbytes + self._fast.nbytes

    def close(self) -> None:
        """Contexts and engines before the buffers; the graphs around them are gone by now."""
        if self._fast is None:
            return
        del self.stages
        for session in self._sessions.values():
            session.close()
        self._sessions = {}
        self._buffers = Buffers(self._buffers.device)
        self._fast = None

    def _stage(self, name: str, fast: StagedModel) -> Callable[..., Any]:
        session = self._sessions.get(name)
        if session is None:
            return fast.modules[name]
        stage = TensorRtStage(session, self._buffers)
        # Runs once per image size, and the result of the first must outlive the second.
        return _copied(stage) if name == "vision" else stage


def _copied(stage: Callable[..., Tensor]) -> Callable[..., Tensor]:
    return lambda *inputs: stage(*inputs).clone()
