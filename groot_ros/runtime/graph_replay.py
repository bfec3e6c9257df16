# SPDX-License-Identifier: Apache-2.0
"""Record each stage of a program as a graph, once per input shape, and replay it."""

import logging
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from groot_ros.core.program import Binding, Stage, select_tensors
from groot_ros.runtime.engine import TensorRtError, one_line
from groot_ros.runtime.graph_recorder import GraphRecorder, GraphRecording
from groot_ros.runtime.program_engine import SegmentRunner

_LOG = logging.getLogger(__name__)

#: Runs before the first recording, in which libraries load kernels and allocate scratch memory.
#: Later shapes need one run, in which kernels are chosen and a TensorRT context gets its shapes.
_WARM_UP_RUNS = 3
#: Permitted difference of a replay from the work itself, in units of the last place.
_PROBE_ULPS = 8.0

#: Takes the constants and the inputs, returns tensors.
Function = Callable[[Sequence[Tensor], Sequence[Tensor]], tuple[Tensor, ...]]


class GraphRunner:
    """Executes each stage as one graph, recorded once per shape of the observation.

    A stage with denoising steps is one graph with all of them. Prefix, guidance weights and time
    tables are its inputs, so every mode of real-time chunking replays the same graph.
    """

    def __init__(
        self,
        inner: SegmentRunner,
        recorder: GraphRecorder,
        *,
        capacity: int = 4,
        repeats: bool = True,
    ) -> None:
        """Wrap a runner.

        Args:
            inner: runner whose stages are recorded; closed together with this one.
            recorder: runs and records the work.
            capacity: graphs kept per stage. Must be 1 for TensorRT, whose contexts have one shape
                at a time.
            repeats: whether to record a stage that runs a segment several times (for views of
                several sizes). Must be False for TensorRT, whose context would change its shapes
                inside the graph.

        """
        self._inner: SegmentRunner | None = inner
        self._recorder, self._capacity, self._repeats = recorder, capacity, repeats
        self._replays: dict[str, Replays] = {}

    @property
    def inner(self) -> SegmentRunner:
        """Return the wrapped runner, for use without graphs.

        Releases the graphs, because the runner may then be used with other shapes.

        Raises:
            RuntimeError: the runner is closed.

        """
        self._release()
        return self._open()

    @property
    def failures(self) -> dict[str, str]:
        """Return stage -> reason, of the stages that run without a graph."""
        return {name: r.failure for name, r in self._replays.items() if r.failure is not None}

    @property
    def memory_bytes(self) -> int:
        """Return the memory of the wrapped runner; the graphs' memory is not included."""
        return 0 if self._inner is None else self._inner.memory_bytes

    def run(self, stage: Stage, binding: Binding, carried: Mapping[str, Tensor]) -> dict[str, Any]:
        """Replay the graph of a stage, recording it first for a new shape; see `StageRunner.run`.

        Raises:
            RuntimeError: the runner is closed.

        """
        inner = self._open()
        replays = self._replays.get(stage.name)
        if replays is None:
            replays = Replays(stage.name, self._recorder, self._capacity)
            self._replays[stage.name] = replays
        repeated = any(s.lists_outputs and binding.count(s) > 1 for s in stage.segments)
        if repeated and not self._repeats:
            replays.release()
            return self._recorder.run(lambda: inner.run(stage, binding, carried))
        constants = select_tensors(binding.constants, stage.constants)
        inputs = {**select_tensors(binding.observed, stage.observed), **carried}

        def work(fixed: Sequence[Tensor], moving: Sequence[Tensor]) -> tuple[Tensor, ...]:
            tensors = {
                **dict(zip(constants, fixed, strict=True)),
                **dict(zip(inputs, moving, strict=True)),
            }
            results = inner.execute(stage, binding, tensors)
            return tuple(results[name] for name in stage.results)

        counts = tuple(binding.count(segment) for segment in stage.segments)
        key = (binding.structure, counts, tuple(constants), tuple(inputs))
        results = replays(work, tuple(constants.values()), tuple(inputs.values()), key)
        # The next observation overwrites the outputs of the graph.
        return {n: t.clone() for n, t in zip(stage.results, results, strict=True)}

    def close(self) -> None:
        """Release the graphs, then the runner whose memory they use."""
        self._release()
        if self._inner is not None:
            self._inner.close()
        self._inner = None

    def _release(self) -> None:
        for replays in self._replays.values():
            replays.release()

    def _open(self) -> SegmentRunner:
        if self._inner is None:
            raise RuntimeError("the runner is closed")
        return self._inner


@dataclass
class _Recorded:
    recording: GraphRecording
    constants: "StaticTensors"
    inputs: "StaticTensors"
    outputs: tuple[Tensor, ...]
    filled_with: tuple[Tensor, ...]


class Replays:
    """Recordings of one function, one per shape; runs the function itself if recording fails.

    Attributes:
        failure: reason why nothing is replayed; None while replaying works.

    """

    def __init__(self, name: str, recorder: GraphRecorder, capacity: int = 4) -> None:
        self.failure: str | None = None
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
    ) -> tuple[Tensor, ...]:
        """Return `function(constants, inputs)`; the next call overwrites the result.

        Args:
            function: called only for new shapes; must do the same work for equal shapes and `key`.
            constants: tensors that are never written to; copied only if they are other objects
                than in the last call.
            inputs: copied in every call, from the host through pinned memory.
            key: everything except the shapes that determines what `function` does.

        """
        if self.failure is not None:
            return self._plainly(function, constants, inputs)
        signature = (key, _shapes(constants), _shapes(inputs))
        found = self._recorded.get(signature)
        if found is None:
            return self._record(signature, function, constants, inputs)
        self._recorded.move_to_end(signature)
        return self._recorder.run(lambda: _replay(found, constants, inputs))

    def release(self) -> None:
        """Release all recordings, each before the tensors that it uses."""
        while self._recorded:
            self._drop()

    def _record(
        self,
        signature: Hashable,
        function: Function,
        constants: Sequence[Tensor],
        inputs: Sequence[Tensor],
    ) -> tuple[Tensor, ...]:
        while len(self._recorded) >= self._capacity:
            self._drop()
        device = self._recorder.device
        fixed = StaticTensors(constants, device)
        moving = StaticTensors(inputs, device)

        def work() -> tuple[Tensor, ...]:
            return function(fixed.tensors, moving.tensors)

        def warm_up() -> tuple[Tensor, ...]:
            fixed.fill(constants)
            moving.fill(inputs)
            for _ in range(_WARM_UP_RUNS - 1 if self._cold else 0):
                work()
            return tuple(tensor.clone() for tensor in work())

        expected = self._recorder.run(warm_up)
        self._cold = False
        try:
            recording, outputs = self._recorder.record(work)
        except (RuntimeError, TensorRtError) as error:
            self._give_up(f"recording failed: {one_line(error)}")
            return expected
        recorded = _Recorded(recording, fixed, moving, outputs, tuple(constants))
        replayed = self._recorder.run(lambda: _replay(recorded, constants, inputs))
        if not all(map(_alike, replayed, expected)):
            recording.release()
            self._give_up("a replay gave other numbers than the work itself")
            return expected
        self._recorded[signature] = recorded
        return replayed

    def _plainly(
        self, function: Function, constants: Sequence[Tensor], inputs: Sequence[Tensor]
    ) -> tuple[Tensor, ...]:
        device = self._recorder.device

        def work() -> tuple[Tensor, ...]:
            here = [t.to(device, non_blocking=True) for t in inputs]
            return function(constants, here)

        return self._recorder.run(work)

    def _give_up(self, failure: str) -> None:
        self.release()
        self.failure = failure
        _LOG.warning("stage %s runs without a CUDA graph: %s", self._name, failure)

    def _drop(self) -> None:
        _, oldest = self._recorded.popitem(last=False)
        oldest.recording.release()


def _replay(
    recorded: _Recorded, constants: Sequence[Tensor], inputs: Sequence[Tensor]
) -> tuple[Tensor, ...]:
    if any(a is not b for a, b in zip(constants, recorded.filled_with, strict=True)):
        recorded.constants.fill(constants)
        recorded.filled_with = tuple(constants)
    recorded.inputs.fill(inputs)
    recorded.recording.replay()
    return recorded.outputs


def _shapes(tensors: Sequence[Tensor]) -> tuple[tuple[torch.Size, torch.dtype], ...]:
    return tuple((t.shape, t.dtype) for t in tensors)


def _alike(a: Tensor, b: Tensor) -> bool:
    if not a.is_floating_point() or not a.numel():
        return torch.equal(a, b)
    tolerance = _PROBE_ULPS * torch.finfo(a.dtype).eps * max(float(b.abs().max()), 1.0)
    return bool((a - b).abs().max() <= tolerance)


class StaticTensors:
    """Device tensors with fixed addresses, from which recorded graphs read their inputs.

    Values from the host are copied through pinned memory, so that the copy is asynchronous.
    """

    def __init__(self, like: Sequence[Tensor], device: torch.device) -> None:
        self.tensors = tuple(torch.empty_like(t, device=device) for t in like)
        self._pinned: list[Tensor | None] = [
            torch.empty_like(t, pin_memory=True) if _crosses(t, device) else None for t in like
        ]
        self._read: torch.cuda.Event | None = None

    def fill(self, values: Sequence[Tensor]) -> None:
        """Copy values of the same shapes into the tensors, on the current stream."""
        if self._read is not None:
            # Waits only if the caller never read the last result: the previous copy from the
            # pinned buffers may still be running.
            self._read.synchronize()
            self._read = None
        for static, pinned, value in zip(self.tensors, self._pinned, values, strict=True):
            if pinned is not None and value.device.type == "cpu":
                pinned.copy_(value)
                static.copy_(pinned, non_blocking=True)
            elif value.data_ptr() != static.data_ptr():
                static.copy_(value, non_blocking=True)
        if any(pinned is not None for pinned in self._pinned):
            self._read = torch.cuda.Event()
            self._read.record()


def _crosses(tensor: Tensor, device: torch.device) -> bool:
    return tensor.device.type == "cpu" and device.type == "cuda"
