# SPDX-License-Identifier: Apache-2.0
"""CUDA graphs: run work on a separate stream, record it, replay it."""

import contextlib
from collections.abc import Callable
from typing import Protocol, TypeVar

import torch

R = TypeVar("R")

#: Graphs whose capture failed; see `CudaGraphRecorder._abandon`.
_ABANDONED: list[torch.cuda.CUDAGraph] = []


class GraphRecording(Protocol):
    """Recorded work that can be repeated without launching each kernel from the host."""

    def replay(self) -> None:
        """Run the work again on the tensors with which it was recorded."""

    def release(self) -> None:
        """Release its memory; it cannot be replayed afterwards."""


class GraphRecorder(Protocol):
    """Runs and records work on one device."""

    device: torch.device

    def run(self, work: Callable[[], R]) -> R:
        """Run work now, ordered with the caller's stream: after earlier and before later work."""

    def record(self, work: Callable[[], R]) -> tuple[GraphRecording, R]:
        """Record work without running it; return the recording and what `work` returned.

        Every replay writes its results into the returned tensors.

        Raises:
            RuntimeError: an operation of the work cannot be recorded.
            TensorRtError: an operation of TensorRT cannot be recorded.

        """


class CudaGraphRecorder:
    """Records on a separate stream, as TensorRT synchronises when it runs on the default one."""

    def __init__(self, device: torch.device) -> None:
        if device.type != "cuda":
            raise ValueError(f"CUDA graphs need a CUDA device, not {device}")
        self.device = device
        self._stream = torch.cuda.Stream(device)
        self._pool = torch.cuda.graph_pool_handle()

    def run(self, work: Callable[[], R]) -> R:
        """Run work on the recorder's stream; see `GraphRecorder.run`."""
        caller = torch.cuda.current_stream(self.device)
        self._stream.wait_stream(caller)
        with torch.cuda.stream(self._stream):
            result = work()
        caller.wait_stream(self._stream)
        return result

    def record(self, work: Callable[[], R]) -> tuple[GraphRecording, R]:
        """Record work as a CUDA graph; see `GraphRecorder.record`.

        The graphs of one recorder share a memory pool. This is safe because they run one after the
        other, and because the outputs of each graph stay referenced, so that no other graph
        reuses their memory.
        """
        graph = torch.cuda.CUDAGraph()
        caller = torch.cuda.current_stream(self.device)
        torch.cuda.synchronize(self.device)
        try:
            with torch.cuda.graph(
                graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"
            ):
                result = work()
        except Exception:
            torch.cuda.set_stream(caller)
            self._abandon(graph)
            raise
        return CudaGraphRecording(graph, self._stream.synchronize), result

    def _abandon(self, graph: torch.cuda.CUDAGraph) -> None:
        """Clean up after a capture that failed to end.

        `CUDAGraph.capture_end` raises before it detaches the graph's pool from the allocators.
        Without this cleanup no memory could be returned to the device and no capture could begin
        in this pool for the rest of the process. The allocators also keep a pointer to the graph,
        so the graph is kept alive and a new pool is used.
        """
        _ABANDONED.append(graph)
        abandoned, self._pool = self._pool, torch.cuda.graph_pool_handle()
        end = getattr(torch._C, "_cuda_endAllocateToPool", None) or getattr(
            torch._C, "_cuda_endAllocateCurrentStreamToPool", None
        )
        if end is not None:
            # Raises if the capture had already detached the pool.
            with contextlib.suppress(RuntimeError):
                end(self.device.index or 0, abandoned)


class CudaGraphRecording:
    """A CUDA graph."""

    def __init__(self, graph: torch.cuda.CUDAGraph, finish: Callable[[], None]) -> None:
        self._graph: torch.cuda.CUDAGraph | None = graph
        self._finish = finish

    def replay(self) -> None:
        """Launch the graph on the current stream; raises RuntimeError after `release`."""
        if self._graph is None:
            raise RuntimeError("the graph was released")
        self._graph.replay()

    def release(self) -> None:
        """Release the graph.

        Call this before the tensors and TensorRT contexts that the graph uses are released.
        """
        if self._graph is not None:
            self._finish()
            self._graph.reset()
            self._graph = None
