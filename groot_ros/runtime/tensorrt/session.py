# SPDX-License-Identifier: Apache-2.0
"""A loaded TensorRT engine file, and the device buffers that engines share."""

import mmap
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

import tensorrt as trt
import torch
from torch import Tensor

from groot_ros.core.program import Segment, TensorSpec
from groot_ros.runtime.device import dtype_of
from groot_ros.runtime.engine import TensorRtError
from groot_ros.runtime.tensorrt.api import Log, Shape, Shapes, torch_dtype
from groot_ros.runtime.tensorrt.availability import require


class Buffers:
    """Device memory by tensor name, allocated once and shared between engines."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._storage: dict[str, Tensor] = {}

    def reserve(self, name: str, largest: Shape, dtype: torch.dtype) -> None:
        """Allocate a buffer for a tensor, or enlarge the one that another engine reserved.

        Args:
            name: name of the tensor.
            largest: its largest shape in this engine.
            dtype: its element type.

        Raises:
            ValueError: another engine uses the tensor with another element type.

        """
        found = self._storage.get(name)
        if found is not None and found.dtype != dtype:
            raise ValueError(f"one engine has '{name}' as {found.dtype}, another as {dtype}")
        if found is None or found.numel() < prod(largest):
            self._storage[name] = torch.empty(prod(largest), dtype=dtype, device=self.device)

    def tensor(self, name: str, shape: Shape) -> Tensor:
        """Return the beginning of a buffer as a tensor; its address does not depend on `shape`."""
        return self._storage[name][: prod(shape)].view(shape)

    def address(self, name: str) -> int:
        """Return the address of a buffer's first element."""
        return self._storage[name].data_ptr()

    def release(self) -> None:
        """Release all buffers."""
        self._storage.clear()

    @property
    def nbytes(self) -> int:
        """Return the memory of all buffers."""
        return sum(t.nbytes for t in self._storage.values())


class Session:
    """An engine with its execution context.

    Call `reserve` for all sessions that share buffers before `bind` for any of them: TensorRT gets
    the addresses once, and they must not change afterwards.

    Attributes:
        segment: specification of the engine's segment.
        nbytes: memory on the device besides the buffers: the size of the engine file plus the
            scratch memory that TensorRT reports.

    """

    def __init__(self, plan: Path, segment: Segment, weights: torch.dtype) -> None:
        """Load an engine file.

        Args:
            plan: the engine file.
            segment: specification of its segment.
            weights: element type in which the segment was exported.

        Raises:
            TensorRtError: TensorRT cannot run on this machine, or the file was built for another
                machine or another segment.

        """
        require()
        self.segment = segment
        self._plan = plan
        self._log = Log()
        self._runtime = self._new_runtime()
        self._engine = self._load()
        self.nbytes = plan.stat().st_size + self._engine.device_memory_size_v2
        self._require_contract(weights)
        self._spans = {spec.name: self._span(spec.name) for spec in segment.inputs}
        self._context = self._new_context()
        self._shapes: dict[str, Shape] = {}
        self._output_shapes: dict[str, Shape] = {}

    def reserve(self, buffers: Buffers) -> None:
        """Reserve a buffer for the largest shape of every tensor."""
        self.set_shapes({name: span.largest for name, span in self._spans.items()})
        for name, shape in {**self._shapes, **self._output_shapes}.items():
            buffers.reserve(name, shape, self._dtype(name))

    def bind(self, buffers: Buffers) -> None:
        """Set the addresses of all tensors in TensorRT; call once."""
        for name in (*self._shapes, *self._output_shapes):
            if not self._context.set_tensor_address(name, buffers.address(name)):
                raise TensorRtError(f"{self._plan}: TensorRT rejects the address of '{name}'")

    def set_shapes(self, shapes: Mapping[str, Shape]) -> Mapping[str, Shape]:
        """Set the input shapes of the next run; return the output shapes.

        Only shapes that differ from those of the last run are set in TensorRT.

        Raises:
            ValueError: a shape is outside the range that the engine was built for.

        """
        changed = {name: shape for name, shape in shapes.items() if shape != self._shapes.get(name)}
        for name, shape in changed.items():
            self._require_inside(name, shape)
        for name, shape in changed.items():
            if not self._context.set_input_shape(name, shape):
                raise TensorRtError(f"{self._plan}: TensorRT rejects shape {shape} of '{name}'")
            self._shapes[name] = shape
        if changed:
            missing = self._context.infer_shapes()
            if missing:
                raise TensorRtError(
                    f"{self._plan}: TensorRT cannot infer the output shapes without the shapes of "
                    f"{', '.join(missing)}"
                )
            self._output_shapes = {
                spec.name: tuple(self._context.get_tensor_shape(spec.name))
                for spec in self.segment.outputs
            }
        return self._output_shapes

    def enqueue(self, stream: int) -> None:
        """Start a run on a stream, which must not be the default one; does not wait for it."""
        if not self._context.execute_async_v3(stream):
            raise TensorRtError(f"{self._plan}: {self._log.last_error()}")

    def close(self) -> None:
        """Release the context, then the engine, then the runtime.

        CUDA graphs that contain them must be released before.
        """
        del self._context, self._engine, self._runtime

    def _new_runtime(self) -> trt.Runtime:
        try:
            return trt.Runtime(self._log)
        except TypeError:
            raise TensorRtError(f"TensorRT does not start: {self._log.last_error()}") from None

    def _load(self) -> trt.ICudaEngine:
        # Mapped instead of read: if CPU and GPU share memory, a copy would occupy it twice.
        with (
            self._plan.open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as m,
        ):
            engine = self._runtime.deserialize_cuda_engine(m)
        if engine is None:
            version = trt.__version__
            raise TensorRtError(
                f"{self._plan}: TensorRT {version} does not load it: {self._log.last_error()}; "
                "rebuild it on this machine"
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
                f"{self._plan}: its tensors are {', '.join(sorted(names))}; segment "
                f"'{self.segment.name}' has {', '.join(sorted(expected))}: export and build it "
                "again"
            )
        for name, dtype in expected.items():
            if self._dtype(name) != dtype:
                raise TensorRtError(
                    f"{self._plan}: '{name}' is {self._dtype(name)} in the engine but {dtype} in "
                    "the specification: export and build it again"
                )

    def _specs(self) -> tuple[TensorSpec, ...]:
        return (*self.segment.inputs, *self.segment.outputs)

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


class TensorRtSegment:
    """Executes a segment on the current stream; takes tensors in the order of its specification.

    Outputs are views of the shared buffers: the next run of the segment overwrites them. An input
    that is already in the buffer of its name is not copied.
    """

    def __init__(self, session: Session, buffers: Buffers) -> None:
        self._session, self._buffers = session, buffers
        self._names = [spec.name for spec in session.segment.inputs]

    def __call__(self, *inputs: Tensor) -> Any:
        """Run the segment; return one output as a tensor, several as a tuple."""
        given = dict(zip(self._names, inputs, strict=True))
        shapes = {name: tuple(tensor.shape) for name, tensor in given.items()}
        self._session.segment.sizes(shapes)
        outputs = self._session.set_shapes(shapes)
        for name, tensor in given.items():
            if tensor.data_ptr() != self._buffers.address(name):
                self._buffers.tensor(name, shapes[name]).copy_(tensor, non_blocking=True)
        self._session.enqueue(torch.cuda.current_stream(self._buffers.device).cuda_stream)
        result = tuple(self._buffers.tensor(name, shape) for name, shape in outputs.items())
        return result[0] if len(result) == 1 else result
