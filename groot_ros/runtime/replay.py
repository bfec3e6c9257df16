"""Functions of tensors that are recorded once per shape, and replayed from then on."""

import logging
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from groot_ros.runtime.errors import TensorRtError
from groot_ros.runtime.graph_recorder import GraphRecorder, GraphRecording
from groot_ros.runtime.static_tensors import StaticTensors

_LOG = logging.getLogger(__name__)

#: Runs before the first recording: libraries load kernels and take their scratch memory in them.
#: Later shapes need one, in which kernels are chosen and a TensorRT context takes its shapes.
_WARM_UP_RUNS = 3
#: A replay must give what the work itself gave, within this many units of the last place.
_PROBE_ULPS = 8.0

#: Takes the constants and the inputs, returns one tensor.
Function = Callable[[Sequence[Tensor], Sequence[Tensor]], Tensor]


@dataclass
class _Recorded:
    recording: GraphRecording
    constants: StaticTensors
    inputs: StaticTensors
    output: Tensor
    filled_with: tuple[Tensor, ...]


class Replays:
    """Recordings by shape; plain execution where recording fails.

    Attributes:
        reason: why nothing is replayed, in words; None as long as replaying works.

    """

    def __init__(self, name: str, recorder: GraphRecorder, capacity: int = 4) -> None:
        self.reason: str | None = None
        self._name, self._recorder, self._capacity = name, recorder, capacity
        self._recorded: OrderedDict[Hashable, _Recorded] = OrderedDict()
        self._cold = True

    @torch.inference_mode()
    def __call__(
        self,
        function: Function,
        constants: Sequence[Tensor],
        inputs: Sequence[Tensor],
        key: Hashable = (),
    ) -> Tensor:
        """`function(constants, inputs)`; the result is overwritten by the next call.

        Args:
            function: only looked at where the shapes are new; must do the same for the same
                shapes and `key`.
            constants: tensors that nobody writes to; copied only when they are other objects.
            inputs: copied at every call, from the host through pinned memory.
            key: what besides the shapes decides what `function` does.

        """
        if self.reason is not None:
            return self._plainly(function, constants, inputs)
        signature = (key, _shapes(constants), _shapes(inputs))
        found = self._recorded.get(signature)
        if found is None:
            return self._record(signature, function, constants, inputs)
        self._recorded.move_to_end(signature)
        return self._recorder.run(lambda: _replay(found, constants, inputs))

    def release(self) -> None:
        """Give all recordings back, each before the tensors that it works on."""
        while self._recorded:
            self._drop()

    def _record(
        self,
        signature: Hashable,
        function: Function,
        constants: Sequence[Tensor],
        inputs: Sequence[Tensor],
    ) -> Tensor:
        while len(self._recorded) >= self._capacity:
            self._drop()
        device = self._recorder.device
        fixed = StaticTensors(constants, device)
        moving = StaticTensors(inputs, device)

        def work() -> Tensor:
            return function(fixed.tensors, moving.tensors)

        def warm_up() -> Tensor:
            fixed.fill(constants)
            moving.fill(inputs)
            for _ in range(_WARM_UP_RUNS - 1 if self._cold else 0):
                work()
            return work().clone()

        expected = self._recorder.run(warm_up)
        self._cold = False
        try:
            recording, output = self._recorder.record(work)
        except (RuntimeError, TensorRtError) as error:
            self._give_up(f"recording failed: {_one_line(error)}")
            return expected
        recorded = _Recorded(recording, fixed, moving, output, tuple(constants))
        replayed = self._recorder.run(lambda: _replay(recorded, constants, inputs))
        if not _alike(replayed, expected):
            recording.release()
            self._give_up("a replay gave other numbers than the work itself")
            return expected
        self._recorded[signature] = recorded
        return replayed

    def _plainly(
        self, function: Function, constants: Sequence[Tensor], inputs: Sequence[Tensor]
    ) -> Tensor:
        device = self._recorder.device

        def work() -> Tensor:
            here = [t.to(device, non_blocking=True) for t in inputs]
            return function(constants, here)

        return self._recorder.run(work)

    def _give_up(self, reason: str) -> None:
        self.release()
        self.reason = reason
        _LOG.warning("%s runs without a CUDA graph: %s", self._name, reason)

    def _drop(self) -> None:
        _, oldest = self._recorded.popitem(last=False)
        oldest.recording.release()


def _replay(recorded: _Recorded, constants: Sequence[Tensor], inputs: Sequence[Tensor]) -> Tensor:
    if any(a is not b for a, b in zip(constants, recorded.filled_with, strict=True)):
        recorded.constants.fill(constants)
        recorded.filled_with = tuple(constants)
    recorded.inputs.fill(inputs)
    recorded.recording.replay()
    return recorded.output


def _shapes(tensors: Sequence[Tensor]) -> tuple[tuple[torch.Size, torch.dtype], ...]:
    return tuple((t.shape, t.dtype) for t in tensors)


def _alike(a: Tensor, b: Tensor) -> bool:
    tolerance = _PROBE_ULPS * torch.finfo(a.dtype).eps * max(float(b.abs().max()), 1.0)
    return bool((a - b).abs().max() <= tolerance)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
