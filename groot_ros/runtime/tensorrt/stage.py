"""A TensorRT engine in the place of a stage's PyTorch module."""

from typing import Any

import torch
from torch import Tensor

from groot_ros.runtime.contract import sizes_of
from groot_ros.runtime.tensorrt.buffers import Buffers
from groot_ros.runtime.tensorrt.session import Session


class TensorRtStage:
    """Takes and returns tensors in the order of the contract, on the current stream.

    What it returns lies in the engine's buffers until the stage runs again; what comes in from
    another engine's buffer of the same name is not copied.
    """

    def __init__(self, session: Session, buffers: Buffers) -> None:
        self._session, self._buffers = session, buffers
        self._names = [spec.name for spec in session.stage.inputs]

    def __call__(self, *inputs: Tensor) -> Any:
        """One run; one output comes bare, several as a tuple."""
        given = dict(zip(self._names, inputs, strict=True))
        shapes = {name: tuple(tensor.shape) for name, tensor in given.items()}
        sizes_of(self._session.stage, shapes)
        outputs = self._session.set_shapes(shapes)
        for name, tensor in given.items():
            if tensor.data_ptr() != self._buffers.address(name):
                self._buffers.tensor(name, shapes[name]).copy_(tensor, non_blocking=True)
        self._session.enqueue(torch.cuda.current_stream(self._buffers.device).cuda_stream)
        result = tuple(self._buffers.tensor(name, shape) for name, shape in outputs.items())
        return result[0] if len(result) == 1 else result
