"""CUDA graphs: run work on a stream that nothing else uses, record it, replay it."""

import contextlib
from collections.abc import Callable
from typing import Protocol, TypeVar

import torch

R = TypeVar("R")

#: Graphs whose capture failed; see `CudaGraphRecorder._abandon`.
_ABANDONED: list[torch.cuda.CUDAGraph] = []


class GraphRecording(Protocol):
    """Work that can be repeated without the host launching its parts."""

    def replay(self) -> None:
        """Repeat the work on the tensors that it was recorded with."""

    def release(self) -> None:
        """Release its memory; it cannot be replayed any more."""


class GraphRecorder(Protocol):
    """Runs and records work on one device."""

    device: torch.device

    def run(self, work: Callable[[], R]) -> R:
        """Run work now, in order with the work before and after it on the caller's stream."""

    def record(self, work: Callable[[], R]) -> tuple[GraphRecording, R]:
        """Record work without running it; every replay fills what it returned.

        Raises:
            RuntimeError: something in it cannot be recorded.
            TensorRtError: TensorRT reports the same.

        """


class CudaGraphRecorder:
    """Records on one stream, never the default one, which TensorRT would synchronise."""

    def __init__(self, device: torch.device) -> None:
        if device.type != "cuda":
            raise ValueError(f"CUDA graphs need a CUDA device, not {device}")
        self.device = device
        self._stream = torch.cuda.Stream(device)
        self._pool = torch.cuda.graph_pool_handle()

    def run(self, work: Callable[[], R]) -> R:
        """See `GraphRecorder.run`."""
        caller = torch.cuda.current_stream(self.device)
        self._stream.wait_stream(caller)
        with torch.cuda.stream(self._stream):
            result = work()
        caller.wait_stream(self._stream)
        return result

    def record(self, work: Callable[[], R]) -> tuple[GraphRecording, R]:
        """See `GraphRecorder.record`; the graphs of one recorder share a memory pool.

        They run one after the other, and what a graph returns stays referenced, so no other graph
        reuses its memory.
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
        """Undo what torch leaves behind when ending a capture fails.

        `CUDAGraph.capture_end` then raises before it takes the graph's pool away from the
        allocators: for the rest of the process no memory could be returned to the device and no
        capture could begin in this pool. The allocators also keep a pointer to the graph.
        """
        _ABANDONED.append(graph)
        abandoned, self._pool = self._pool, torch.cuda.graph_pool_handle()
        end = getattr(torch._C, "_cuda_endAllocateToPool", None) or getattr(
            torch._C, "_cuda_endAllocateCurrentStreamToPool", None
        )
        if end is not None:
            # Raises where the capture had already done it.
            with contextlib.suppress(RuntimeError):
                end(self.device.index or 0, abandoned)


class CudaGraphRecording:
    """A CUDA graph."""

    def __init__(self, graph: torch.cuda.CUDAGraph, finish: Callable[[], None]) -> None:
        self._graph: torch.cuda.CUDAGraph | None = graph
        self._finish = finish

    def replay(self) -> None:
        """See `GraphRecording.replay`; raises RuntimeError after `release`."""
        if self._graph is None:
            raise RuntimeError("the graph was released")
        self._graph.replay()

    def release(self) -> None:
        """Release it; before the memory that it works on and any TensorRT context inside it."""
        if self._graph is not None:
            self._finish()
            self._graph.reset()
            self._graph = None
