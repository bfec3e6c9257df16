# SPDX-License-Identifier: Apache-2.0
"""An engine that executes a program: the work on the host, with exchangeable segment executors."""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Protocol

import torch
from torch import Tensor

from groot_ros.core.program import (
    Binding,
    ModelInputs,
    Program,
    Segment,
    Stage,
    select_tensors,
)
from groot_ros.runtime.device import HostCopy, Stopwatch, describe_device, upload
from groot_ros.runtime.engine import EngineResult

#: Takes and returns the tensors of a segment in order; a single output is returned bare.
Executor = Callable[..., Any]

#: Number of prompts whose results are cached.
_PROMPTS_KEPT = 8


class StageRunner(Protocol):
    """Executes stages of a program: segment by segment, or as recorded graphs."""

    @property
    def memory_bytes(self) -> int:
        """Return the memory held on the device."""

    def run(self, stage: Stage, binding: Binding, carried: Mapping[str, Tensor]) -> dict[str, Any]:
        """Return the results of a stage by name.

        Args:
            stage: a stage of the program.
            binding: tensors of this observation.
            carried: results of earlier stages, by name.

        """

    def close(self) -> None:
        """Release the memory."""


class SegmentRunner:
    """Executes the segments of a stage one after the other."""

    def __init__(
        self,
        program: Program,
        executors: Mapping[str, Executor] | None = None,
        *,
        file_bytes: int = 0,
        release: Callable[[], None] = lambda: None,
    ) -> None:
        """Use a program, with executors in place of some of its modules.

        Args:
            program: binds observations and executes the segments that have no executor.
            executors: segment -> executor that replaces the program's module.
            file_bytes: memory that the executors hold.
            release: called by `close` before the weights are dropped.

        Raises:
            ValueError: a segment has neither an executor nor weights.

        """
        found: dict[str, Executor] = {**program.modules, **(executors or {})}
        missing = [name for name in program.spec.names if name not in found]
        if missing:
            raise ValueError(f"segment '{missing[0]}' has neither an engine file nor weights")
        self.executors = found
        self._program: Program | None = program
        self._file_bytes, self._release = file_bytes, release

    @property
    def memory_bytes(self) -> int:
        """Return the memory of the program and of the executors."""
        return 0 if self._program is None else self._program.nbytes + self._file_bytes

    def run(self, stage: Stage, binding: Binding, carried: Mapping[str, Tensor]) -> dict[str, Any]:
        """Upload the observed tensors and execute a stage; see `StageRunner.run`."""
        device = self._open().device
        observed = select_tensors(binding.observed, stage.observed)
        tensors = {
            **select_tensors(binding.constants, stage.constants),
            **{name: upload(tensor, device) for name, tensor in observed.items()},
            **carried,
        }
        return self.execute(stage, binding, tensors)

    def execute(
        self, stage: Stage, binding: Binding, tensors: Mapping[str, Tensor]
    ) -> dict[str, Any]:
        """Return the results of a stage whose tensors are all on the device."""
        program = self._open()
        known: dict[str, Any] = dict(tensors)
        for group in stage.loops():
            repeated = group[0].lists_outputs
            collected: list[dict[str, Any]] = []
            for index in range(binding.count(group[0])):
                for segment in group:
                    given = program.arguments(segment.name, index, known)
                    outputs = named_outputs(segment, self.executors[segment.name](*given))
                    if repeated:
                        collected.append(outputs)
                    else:
                        known |= outputs
            if repeated:
                known |= {t.name: [one[t.name] for one in collected] for t in group[0].outputs}
        return {name: known[name] for name in stage.results}

    @contextmanager
    def wrapped(self, wrap: Callable[[str, Executor], Executor]) -> Iterator[None]:
        """Replace every executor by `wrap(name, executor)` within the context."""
        original = self.executors
        self.executors = {name: wrap(name, executor) for name, executor in original.items()}
        try:
            yield
        finally:
            self.executors = original

    def close(self) -> None:
        """Drop executors and weights."""
        if self._program is not None:
            self.executors = {}
            self._release()
        self._program = None

    def _open(self) -> Program:
        if self._program is None:
            raise RuntimeError("the runner is closed")
        return self._program


class ProgramEngine:
    """Engine that runs one observation at a time, at its exact sequence length without padding."""

    def __init__(self, name: str, program: Program, runner: StageRunner) -> None:
        self.name = name
        self.device = describe_device(program.device)
        self._program = program
        self._stages = program.spec.stages
        self._runner: StageRunner | None = runner
        self._prompts: OrderedDict[tuple[str, Hashable], dict[str, Any]] = OrderedDict()
        self._copies = {name: HostCopy() for name in program.spec.results}
        self._stream: torch.cuda.Stream | None = None

    def without_graphs(self) -> "ProgramEngine":
        """Return an engine with the same weights that runs segment by segment, for inspection."""
        runner = self._open()
        return ProgramEngine(self.name, self._program, getattr(runner, "inner", runner))

    @property
    def segment_runner(self) -> SegmentRunner:
        """Return the runner whose executors can be wrapped.

        Raises:
            ValueError: the engine does not run segment by segment.

        """
        runner = self._open()
        if not isinstance(runner, SegmentRunner):
            raise ValueError(f"engine '{self.name}' does not run segment by segment")
        return runner

    @property
    def program(self) -> Program:
        """Return the program that is executed."""
        return self._program

    @property
    def graph_failures(self) -> dict[str, str]:
        """Return stage -> reason, of the stages whose recording or replay failed."""
        return getattr(self._runner, "failures", {})

    @property
    def memory_bytes(self) -> int:
        """Return the memory held on the device."""
        return 0 if self._runner is None else self._runner.memory_bytes

    def prepare(self, inputs: ModelInputs, steps: int) -> None:
        """Run once, so that memory is allocated before the first real inference."""
        self.run(inputs, steps)

    @torch.inference_mode()
    def run(self, inputs: ModelInputs, steps: int) -> EngineResult:
        """Run all stages of the program; see `Engine.run`."""
        with self._own_stream():
            runner = self._open()
            # `fetch` is the first call below that waits for the device.
            watch = Stopwatch(self._program.device)
            watch.mark()
            binding = self._program.bind(inputs, steps)
            carried: dict[str, Any] = {}
            for stage in self._stages:
                carried |= self._stage_results(runner, stage, binding, carried)
                watch.mark()
            outputs = {name: copy.fetch(carried[name]) for name, copy in self._copies.items()}
            seconds = watch.seconds()
            names = [stage.name for stage in self._stages]
            return EngineResult(outputs, dict(zip(names, seconds, strict=True)))

    def close(self) -> None:
        """Release the weights and the cached results of prompts."""
        if self._runner is not None:
            self._runner.close()
        self._runner = None
        self._prompts.clear()
        if self._program.device.type == "cuda":
            torch.cuda.empty_cache()

    def _stage_results(
        self, runner: StageRunner, stage: Stage, binding: Binding, carried: Mapping[str, Any]
    ) -> dict[str, Any]:
        read = {name: carried[name] for name in stage.carried}
        if not stage.per_prompt:
            return runner.run(stage, binding, read)
        key = (stage.name, binding.prompt)
        if key not in self._prompts:
            # An executor may return its own buffers, which its next run overwrites.
            results = runner.run(stage, binding, read)
            self._prompts[key] = {name: tensor.clone() for name, tensor in results.items()}
            while len(self._prompts) > _PROMPTS_KEPT:
                self._prompts.popitem(last=False)
        self._prompts.move_to_end(key)
        return self._prompts[key]

    def _own_stream(self) -> AbstractContextManager[object]:
        """Return a context that selects a separate stream on a GPU.

        TensorRT synchronises when it runs on the default stream.
        """
        device = self._program.device
        if device.type != "cuda":
            return nullcontext()
        if self._stream is None:
            self._stream = torch.cuda.Stream(device)
        # The weights were loaded on the default stream.
        self._stream.wait_stream(torch.cuda.default_stream(device))
        return torch.cuda.stream(self._stream)

    def _open(self) -> StageRunner:
        if self._runner is None:
            raise RuntimeError("the engine is closed")
        return self._runner


def named_outputs(segment: Segment, outputs: Any) -> dict[str, Tensor]:
    """Return the outputs of an executor by name; `outputs` is a tuple, or a single tensor."""
    several = (outputs,) if isinstance(outputs, Tensor) else outputs
    return dict(zip((t.name for t in segment.outputs), several, strict=True))
