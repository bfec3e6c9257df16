"""One engine file, loaded: what it takes, what it gives, and one run on a stream."""

import mmap
from collections.abc import Mapping
from pathlib import Path

import tensorrt as trt
import torch

from groot_ros.runtime.contract import StageSpec, TensorSpec
from groot_ros.runtime.errors import TensorRtError
from groot_ros.runtime.precision import dtype_of
from groot_ros.runtime.tensorrt.buffers import Buffers
from groot_ros.runtime.tensorrt.dtypes import torch_dtype
from groot_ros.runtime.tensorrt.log import Log
from groot_ros.runtime.tensorrt.presence import require
from groot_ros.runtime.tensorrt.profile import Shape, Shapes


class Session:
    """An engine with its one execution context.

    Call `reserve` of all sessions that share buffers before `bind` of any: addresses are given to
    TensorRT once and never change.

    Attributes:
        stage: the contract that the engine follows.
        nbytes: what the engine holds on the device besides the buffers: weights and scratch
            memory, as far as TensorRT says.

    """

    def __init__(self, plan: Path, stage: StageSpec, weights: torch.dtype) -> None:
        """Load a file; `weights` is the element type that it was built from.

        Raises:
            TensorRtError: TensorRT cannot run here, or the file is not for this machine or not
                for this stage.

        """
        require()
        self.stage = stage
        self._plan = plan
        self._log = Log()
        self._runtime = self._new_runtime()
        self._engine = self._load()
        self.nbytes = plan.stat().st_size + self._engine.device_memory_size_v2
        self._require_contract(weights)
        self._spans = {spec.name: self._span(spec.name) for spec in stage.inputs}
        self._context = self._new_context()
        self._shapes: dict[str, Shape] = {}
        self._output_shapes: dict[str, Shape] = {}

    def reserve(self, buffers: Buffers) -> None:
        """Ask for room for every tensor at its largest."""
        self.set_shapes({name: span.largest for name, span in self._spans.items()})
        for name, shape in {**self._shapes, **self._output_shapes}.items():
            buffers.reserve(name, shape, self._dtype(name))

    def bind(self, buffers: Buffers) -> None:
        """Tell TensorRT the addresses, once."""
        for name in (*self._shapes, *self._output_shapes):
            if not self._context.set_tensor_address(name, buffers.address(name)):
                raise TensorRtError(f"{self._plan}: '{name}' takes no address")

    def set_shapes(self, shapes: Mapping[str, Shape]) -> Mapping[str, Shape]:
        """Shapes of the inputs of the next run; returns those of the outputs.

        TensorRT hears only of what changed.

        Raises:
            ValueError: a shape is outside what the engine was built for.

        """
        changed = {name: shape for name, shape in shapes.items() if shape != self._shapes.get(name)}
        for name, shape in changed.items():
            self._require_inside(name, shape)
        for name, shape in changed.items():
            if not self._context.set_input_shape(name, shape):
                raise TensorRtError(f"{self._plan}: '{name}' takes no shape {shape}")
            self._shapes[name] = shape
        if changed:
            missing = self._context.infer_shapes()
            if missing:
                raise TensorRtError(f"{self._plan}: no shapes for {', '.join(missing)}")
            self._output_shapes = {
                spec.name: tuple(self._context.get_tensor_shape(spec.name))
                for spec in self.stage.outputs
            }
        return self._output_shapes

    def enqueue(self, stream: int) -> None:
        """One run, on a stream that is not the default one; returns at once."""
        if not self._context.execute_async_v3(stream):
            raise TensorRtError(f"{self._plan}: {self._log.last_error()}")

    def close(self) -> None:
        """Context before engine before runtime; every graph with them inside is gone by now."""
        del self._context, self._engine, self._runtime

    def _new_runtime(self) -> trt.Runtime:
        try:
            return trt.Runtime(self._log)
        except TypeError:
            raise TensorRtError(f"TensorRT does not start: {self._log.last_error()}") from None

    def _load(self) -> trt.ICudaEngine:
        # Mapped, not read: where CPU and GPU share memory, a copy would count twice.
        with (
            self._plan.open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as m,
        ):
            engine = self._runtime.deserialize_cuda_engine(m)
        if engine is None:
            version = trt.__version__
            raise TensorRtError(
                f"{self._plan}: TensorRT {version} does not load it: {self._log.last_error()}; "
                "build it anew on this machine"
            )
        return engine

    def _new_context(self) -> trt.IExecutionContext:
        context = self._engine.create_execution_context()
        if context is None:
            raise TensorRtError(
                f"{self._plan}: no execution context: {self._log.last_error()} (often for lack of "
                "free memory)"
            )
        return context

    def _require_contract(self, weights: torch.dtype) -> None:
        names = {self._engine.get_tensor_name(i) for i in range(self._engine.num_io_tensors)}
        expected = {spec.name: dtype_of(spec, weights) for spec in self._specs()}
        if names != set(expected):
            raise TensorRtError(
                f"{self._plan}: its tensors are {', '.join(sorted(names))}; stage "
                f"'{self.stage.name}' has {', '.join(sorted(expected))}: export and build it anew"
            )
        for name, dtype in expected.items():
            if self._dtype(name) != dtype:
                raise TensorRtError(
                    f"{self._plan}: '{name}' is {self._dtype(name)} in the engine but {dtype} in "
                    "the contract: export and build it anew"
                )

    def _specs(self) -> tuple[TensorSpec, ...]:
        return (*self.stage.inputs, *self.stage.outputs)

    def _dtype(self, name: str) -> torch.dtype:
        return torch_dtype(self._engine.get_tensor_dtype(name))

    def _span(self, name: str) -> Shapes:
        smallest, usual, largest = self._engine.get_tensor_profile_shape(name, 0)
        return Shapes(tuple(smallest), tuple(usual), tuple(largest))

    def _require_inside(self, name: str, shape: Shape) -> None:
        low, _, high = self._spans[name]
        if len(shape) == len(low) and all(
            a <= size <= b for a, size, b in zip(low, shape, high, strict=True)
        ):
            return
        raise ValueError(
            f"{self._plan}: built for '{name}' from {list(low)} to {list(high)}, this "
            f"observation has {list(shape)}: build it for more (another camera size, or a longer "
            "instruction)"
        )
